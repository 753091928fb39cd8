"""``setpoint status``: one screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from setpoint.adapters.mlflow_registry import CHALLENGER, CHAMPION
from setpoint.adapters.services import status as services
from setpoint.domain.incidents import Status
from setpoint.stages.ingest import quarantined
from setpoint.workspace import Workspace


def show(workspace: Workspace, console: Console) -> None:
    """Print what is in service, what is watched and what needs a person."""
    project, state = workspace.project, workspace.state
    console.print(f"[bold]{project.name}[/bold]  {project.description}", highlight=False)
    console.print(f"owner {project.owner.team} <{project.owner.contact}>", markup=False)
    _service(workspace, console)
    _watched(workspace, console)
    needs = []
    for incident in state.incidents(only_open=True):
        if incident.status == Status.NEEDS_PERSON:
            needs.append(f"incident {incident.id} ({incident.cause}): {incident.note}")
    needs += [f"batch refused: {p}" for p in quarantined(workspace)]
    broken = state.verify_ledger()
    if broken:
        needs.append(f"the ledger is broken at entry {broken.seq}: {broken.reason}")
    console.print("\n[bold]needs a person[/bold]")
    for line in needs or ["nothing"]:
        console.print(f"  {line}", markup=False)


def _service(workspace: Workspace, console: Console) -> None:
    champion = workspace.registry.version_of(CHAMPION)
    challenger = workspace.registry.version_of(CHALLENGER)
    console.print("\n[bold]in service[/bold]")
    console.print(f"  champion    {champion or 'none: run setpoint deliver'}")
    for rollout in workspace.state.unfinished_releases():
        console.print(f"  releasing   {rollout.challenger}: {rollout.label}")
    if challenger and not workspace.state.unfinished_releases():
        console.print(f"  challenger  {challenger}")
    running = services(workspace.root)
    if not running:
        console.print("  platform    down: run setpoint up")
        return
    table = Table(box=None, padding=(0, 2))
    for name in ("process", "state", "restarts", "pid"):
        table.add_column(name, style="dim" if name == "pid" else "")
    for name, s in sorted(running.items()):
        table.add_row(name, s.state, str(s.restarts), str(s.pid or ""))
    console.print(table)
    platform = workspace.platform()
    if platform:
        ports = workspace.ports
        console.print(
            f"  gateway http://127.0.0.1:{ports.gateway}  Prefect http://127.0.0.1:{ports.prefect}"
            f"  MLflow http://127.0.0.1:{ports.mlflow}"
        )


def _watched(workspace: Workspace, console: Console) -> None:
    console.print("\n[bold]watched[/bold]")
    last = workspace.state.recall("watched_until")
    console.print(f"  newest window ends {last or 'never: nothing was looked at yet'} (event time)")
    for name, s in workspace.project.setpoints.items():
        side = f"≥ {s.floor:g}" if s.floor is not None else f"≤ {s.ceiling:g}"
        console.print(f"  {name}: {s.metric} {side}")
    for incident in workspace.state.incidents(only_open=True):
        if incident.status != Status.NEEDS_PERSON:
            console.print(
                f"  incident {incident.id} {incident.status}: {incident.cause}, "
                f"{len(incident.findings)} findings, since {incident.opened_at:%Y-%m-%d %H:%M}"
            )
