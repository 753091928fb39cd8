"""The demo, and the embedded platform: start, deliver, look, stop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, get_args

import typer

from setpoint.cli.common import ProjectFile, Root, app, check_writable, console, workspace_of
from setpoint.errors import AccessError, SetpointError
from setpoint.workspace import Workspace

STYLES = {
    "drift": ("✦", "yellow"),
    "alarm": ("▲", "red"),
    "watching": ("◦", "yellow"),
    "accepted": ("✓", "green"),
    "refused": ("✗", "red"),
    "step": ("→", "cyan"),
    "promoted": ("●", "green"),
    "roll_back": ("↩", "yellow"),
    "fell_back": ("↩", "yellow"),
    "rolled_back": ("↩", "red"),
    "healed": ("♥", "green"),
    "waits": ("…", "yellow"),
    "drill": ("⚠", "yellow"),
    "setup": ("·", "dim"),
}


@app.command()
def demo(
    drift: Annotated[str, typer.Option(help="Name of the drift, or none.")] = "concept",
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
    strategy: Annotated[
        str, typer.Option(help="How challengers are released, as in the project file.")
    ] = "canary",
    summary: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    root: Annotated[Path, typer.Option(help="State folder; emptied first.")] = Path(
        ".setpoint/demo"
    ),
    keep: Annotated[bool, typer.Option(help="Leave the platform up to look at.")] = False,
    reviewer: Annotated[
        str, typer.Option(help="Who has read the example's project file and stands by it.")
    ] = "",
) -> None:
    """Play the card world through the whole loop; ends non-zero if it did not do its job.

    Its job: heal what takes the model out of its setpoint, leave alone what does not, lose nothing,
    and make the champion and one of its decisions again from the record.
    """
    from setpoint.demo import Script, run_demo, show_summary
    from setpoint.domain.rollout import Strategy
    from setpoint.domain.world import DRIFT_NAMES
    from setpoint.platform import down

    if drift not in DRIFT_NAMES:
        raise typer.BadParameter(f"{drift!r}; allowed: {', '.join(DRIFT_NAMES)}")
    if strategy not in get_args(Strategy):
        raise typer.BadParameter(f"{strategy!r}; allowed: {', '.join(get_args(Strategy))}")
    start = time.monotonic()

    def say(kind: str, text: str, day: float) -> None:
        mark, style = STYLES.get(kind, ("·", "white"))
        spent = time.monotonic() - start
        when = f"day {day:5.1f}" if day else "         "
        console.print(f"{spent:6.1f} s  {when}  [{style}]{mark} {kind:<11}[/] ", end="")
        console.print(text[:160], markup=False, soft_wrap=True)

    check_writable(summary)
    folder = root.absolute()
    try:
        figures, workspace = run_demo(Script(seed, drift, strategy), folder, say, reviewer)
    finally:
        if not keep:
            down(folder)
    show_summary(figures, workspace, console, keep=keep)
    if summary is not None:
        summary.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    left_alone = figures["retrainings"] == 0 and not figures["hurt"]
    good = figures["healed"] or left_alone
    shown = figures["rebuilt"] and figures["replayed"]
    if not good or not shown or figures["lost"] or figures["wrong_version"]:
        raise typer.Exit(1)


@app.command()
def up(project: ProjectFile = None, root: Root = None) -> None:
    """Start the platform for a project; what was in service is in service again."""
    from setpoint.platform import up as start

    workspace = workspace_of(project, root, "admin")
    console.print(f"starting the platform of {workspace.project.name} in {workspace.root} ...")
    known = workspace.platform().get("clock", "wall")
    ports = start(workspace, clock=known)
    console.print(f"gateway     http://127.0.0.1:{ports.gateway}/v1/decisions")
    console.print(f"Prefect UI  http://127.0.0.1:{ports.prefect}")
    console.print(f"MLflow UI   http://127.0.0.1:{ports.mlflow}")
    if workspace.champion() is None:
        console.print("next: setpoint deliver   trains, gates and releases a first model")
    console.print("then: setpoint status    what is in service, what is watched; setpoint down")


@app.command()
def down(root: Root = None) -> None:
    """Stop the platform; its state stays."""
    from setpoint.config import read_environment
    from setpoint.platform import down as stop

    folder = (root or read_environment().root).absolute()
    _check_may_stop(folder)
    console.print("stopped" if stop(folder) else f"nothing is running in {folder}")


def _check_may_stop(folder: Path) -> None:
    """Ask for ``admin``; a state that is too broken to ask keeps nobody from stopping."""
    from setpoint.workspace import remembered_project

    if not (folder / "platform.json").exists():
        return
    try:
        workspace_of(remembered_project(folder), folder, "admin")
    except AccessError:
        raise
    except SetpointError:
        return


@app.command()
def deliver(
    cause: Annotated[str, typer.Option(help="Why.")] = "manual",
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Train on all that is known and release what is better; waits for the end."""
    workspace = workspace_of(project, root, "train")
    _run(workspace, "deliver/deliver", {"cause": cause}, "Promoted")


@app.command()
def drill(project: ProjectFile = None, root: Root = None) -> None:
    """Rehearse a roll-back: a former version is let in, fails under traffic, and is out again."""
    _run(workspace_of(project, root, "release"), "drill/drill", {}, "Rehearsed")


def _run(workspace: Workspace, deployment: str, parameters: dict[str, str], wanted: str) -> None:
    """Run a deployment and wait; any other end than the wanted one is a failure."""
    from setpoint.adapters.prefect_api import PrefectApi

    api = PrefectApi(workspace.ports.prefect)
    run = api.run(deployment, parameters)
    console.print(f"{api.base}/runs/flow-run/{run}")
    ended = api.wait(run, timeout=3600)
    console.print(f"{ended.state}: {ended.message}", markup=False)
    if ended.state != wanted:
        raise typer.Exit(1)


@app.command()
def status(project: ProjectFile = None, root: Root = None) -> None:
    """What is in service, what is being watched, what needs a person."""
    from setpoint.status import show

    show(workspace_of(project, root, None), console)
