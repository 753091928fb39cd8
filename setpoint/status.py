"""``setpoint status``: one screen."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from setpoint.adapters.mlflow_registry import CHALLENGER, CHAMPION
from setpoint.adapters.services import status as services
from setpoint.adapters.services import supervisor_pid
from setpoint.domain.findings import Outcome
from setpoint.domain.incidents import Cause, Status, cause_of
from setpoint.domain.rollout import Stage
from setpoint.domain.selection import BLIND_SPOT, LABEL_COVERAGE
from setpoint.errors import StateError
from setpoint.stages import approval, sealing
from setpoint.stages.fallback import RULE
from setpoint.stages.ingest import quarantined
from setpoint.stages.traffic import stops
from setpoint.workspace import Workspace

STYLES = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.ERROR: "red",
    Outcome.INCONCLUSIVE: "yellow",
}


def show(workspace: Workspace, console: Console) -> None:
    """Print what is in service, what is watched and what needs a person."""
    project = workspace.project
    told = escape(project.description)
    console.print(f"[bold]{project.name}[/bold]  {told}", highlight=False)
    console.print(f"owner {project.owner.team} <{project.owner.contact}>", markup=False)
    _service(workspace, console)
    _watched(workspace, console)
    console.print("\n[bold]needs a person[/bold]")
    for line in _needs(workspace) or ["nothing"]:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _needs(workspace: Workspace) -> list[str]:
    state, needs = workspace.state, []
    for incident in state.incidents(only_open=True):
        if incident.status == Status.NEEDS_PERSON:
            needs.append(f"incident {incident.id} ({incident.cause}): {incident.note}")
            also = "--sound" if incident.cause == Cause.FAULT else "--retry"
            needs.append(f"  setpoint resolve {incident.id} --note WHY   (or {also})")
    for rollout in state.unsettled_releases():
        if rollout.stage == Stage.HELD:
            needs.append(f"release of {rollout.challenger} is held: {rollout.reason}")
            needs.append(f"  setpoint answer {rollout.challenger} --promote --note WHY")
            needs.append("  (or --roll-back)")
    for request in approval.waiting(workspace):
        who = f"{request.people} of {request.wanted} people"
        until = f"until {request.expires_at:%Y-%m-%d %H:%M}"
        needs.append(f"{request.version} waits for approval, {who}, {until}")
        needs.append(f"  setpoint approve {request.version} --note WHY   (or --refuse)")
    needs += [f"batch refused: {p}" for p in quarantined(workspace)]
    last = state.newest_window()
    unseen = [f for f in last.findings if f.outcome == Outcome.ERROR] if last else []
    needs += [f"cannot be watched: {f.label}: {f.reason}" for f in unseen]
    needs += [f"the ledger is {one}" for one in sealing.vouched(workspace).breaks]
    try:
        workspace.champion()
    except StateError as err:
        needs.append(str(err))
    return needs


def _named(workspace: Workspace, champion: str | None) -> str:
    if champion is None:
        return "none: run setpoint deliver"
    rule = workspace.registry.tags(champion).get(RULE)
    return champion if rule is None else f"{champion}, the fallback rule: {rule}"


def _service(workspace: Workspace, console: Console) -> None:
    champion = workspace.registry.version_of(CHAMPION)
    challenger = workspace.registry.version_of(CHALLENGER)
    releases = workspace.state.unsettled_releases()
    console.print("\n[bold]in service[/bold]")
    console.print(f"  champion    {_named(workspace, champion)}", markup=False)
    for one in stops(workspace):
        told = f"{one.scope}: {one.stand_in} answers, by {one.person}: {one.note}"
        console.print(f"  stopped     {told}", markup=False, soft_wrap=True)
    for rollout in releases:
        console.print(f"  releasing   {rollout.challenger}: {rollout.label}")
    if challenger and not releases:
        console.print(f"  challenger  {challenger}")
    running = services(workspace.root)
    if supervisor_pid(workspace.root) is None or not running:
        console.print("  platform    down: run setpoint up")
        return
    table = Table(box=None, padding=(0, 2))
    for name in ("process", "state", "restarts", "pid"):
        table.add_column(name, style="dim" if name == "pid" else "")
    for name, s in sorted(running.items()):
        table.add_row(name, s.state, str(s.restarts), str(s.pid or ""))
    console.print(table)
    ports = workspace.ports
    for name, port in (
        ("gateway", ports.gateway),
        ("Prefect UI", ports.prefect),
        ("MLflow UI", ports.mlflow),
    ):
        if name != "MLflow UI" or "mlflow" in running:
            console.print(f"  {name:<11} http://127.0.0.1:{port}")


def _watched(workspace: Workspace, console: Console) -> None:
    console.print("\n[bold]watched[/bold]")
    last = workspace.state.newest_window()
    findings = last.findings if last else ()
    if last is None:
        console.print("  nothing was looked at yet")
    else:
        console.print(f"  newest window ends {last.end:%Y-%m-%d %H:%M} event time ({last.version})")
    declared = workspace.project.setpoints
    table = Table(box=None, padding=(0, 2), show_header=False)
    for finding in (f for f in findings if f.name in declared):
        value = "-" if finding.value is None else f"{finding.value:.4g}"
        side = "≥" if finding.direction == "floor" else "≤"
        table.add_row(
            finding.name,
            f"{value} {side} {finding.setpoint:g}" if finding.setpoint is not None else value,
            f"of {finding.sample:,}",
            f"[{STYLES[finding.outcome]}]{finding.outcome}[/]",
        )
    audits = [f for f in findings if f.name in (BLIND_SPOT, LABEL_COVERAGE)]
    for finding in audits:
        value = "-" if finding.value is None else f"{finding.value:.4g}"
        outcome = f"[{STYLES[finding.outcome]}]{finding.outcome}[/]"
        table.add_row(finding.name, value, f"of {finding.sample:,}", outcome)
    by_cause: dict[str, list[Outcome]] = {}
    for finding in (f for f in findings if f.name not in declared and f not in audits):
        by_cause.setdefault(cause_of(finding), []).append(finding.outcome)
    for cause, outcomes in by_cause.items():
        counts = {o: outcomes.count(o) for o in Outcome}
        told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
        table.add_row(cause, f"{len(outcomes)} findings", "", told)
    console.print(table)
    for incident in workspace.state.incidents(only_open=True):
        if incident.status != Status.NEEDS_PERSON:
            console.print(
                f"  incident {incident.id} {incident.status}: {incident.cause}, "
                f"{len(incident.findings)} findings, since {incident.opened_at:%Y-%m-%d %H:%M}"
            )
