"""The command line: ``setpoint COMMAND``."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from setpoint.errors import SetpointError, StateError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps a tabular decision model at its setpoint.",
)
console = Console(highlight=False)

ProjectFile = Annotated[
    Path | None,
    typer.Option("--project", help="Project file; default: SETPOINT_PROJECT or setpoint.yaml"),
]
Root = Annotated[
    Path | None, typer.Option("--root", help="State folder; default: SETPOINT_ROOT or .setpoint")
]

STRATEGIES = ("canary", "blue_green", "shadow", "ab", "bandit")

STYLES = {
    "drift": ("✦", "yellow"),
    "alarm": ("▲", "red"),
    "watching": ("◦", "yellow"),
    "accepted": ("✓", "green"),
    "refused": ("✗", "red"),
    "step": ("→", "cyan"),
    "promoted": ("●", "green"),
    "rolled_back": ("↩", "red"),
    "healed": ("♥", "green"),
    "waits": ("…", "yellow"),
    "setup": ("·", "dim"),
}


def main() -> None:
    """Entry point: errors that are meant for people are shown without a trace."""
    try:
        app()
    except SetpointError as err:
        # Never wrapped: paths and commands in it can be copied.
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"[red]error[/red] {type(err).__name__}")
        errors.print(str(err), markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


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
) -> None:
    """Play the card world through the whole loop; ends non-zero if it did not do its job.

    Its job: heal what takes the model out of its setpoint, leave alone what does not, lose nothing.
    """
    from setpoint.demo import Script, run_demo, show_summary
    from setpoint.domain.world import DRIFT_NAMES
    from setpoint.platform import down

    if drift not in DRIFT_NAMES:
        raise typer.BadParameter(f"{drift!r}; allowed: {', '.join(DRIFT_NAMES)}")
    if strategy not in STRATEGIES:
        raise typer.BadParameter(f"{strategy!r}; allowed: {', '.join(STRATEGIES)}")
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
        figures, workspace = run_demo(Script(seed, drift, strategy), folder, say)
    finally:
        if not keep:
            down(folder)
    show_summary(figures, workspace, console, keep=keep)
    if summary is not None:
        summary.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    left_alone = figures["retrainings"] == 0 and not figures["hurt"]
    good = figures["healed"] or left_alone
    if not good or figures["lost"] or figures["wrong_version"]:
        raise typer.Exit(1)


def _workspace(project: Path | None, root: Path | None) -> Any:
    from setpoint.config import read_environment
    from setpoint.workspace import open_workspace, remembered_project

    environment = read_environment()
    folder = root or environment.root
    known = folder / "platform.json"
    nameless = root is not None or not environment.project_file.exists()
    if project is None and nameless and known.exists():
        # The state folder remembers which project it belongs to.
        project = remembered_project(folder)
    return open_workspace(project, root)


@app.command()
def up(project: ProjectFile = None, root: Root = None) -> None:
    """Start the platform for a project; what was in service is in service again."""
    from setpoint.platform import up as start

    workspace = _workspace(project, root)
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
    console.print("stopped" if stop(folder) else f"nothing is running in {folder}")


@app.command()
def deliver(
    cause: Annotated[str, typer.Option(help="Why.")] = "manual",
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Train on all that is known and release what is better; waits for the end."""
    from setpoint.adapters.prefect_api import PrefectApi

    workspace = _workspace(project, root)
    api = PrefectApi(workspace.ports.prefect)
    run = api.run("deliver/deliver", {"cause": cause})
    console.print(f"{api.base}/runs/flow-run/{run}")
    ended = api.wait(run, timeout=3600)
    console.print(f"{ended.state}: {ended.message}", markup=False)
    if ended.state != "Promoted":
        raise typer.Exit(1)


@app.command()
def status(project: ProjectFile = None, root: Root = None) -> None:
    """What is in service, what is being watched, what needs a person."""
    from setpoint.status import show

    show(_workspace(project, root), console)


@app.command()
def audit(
    project: ProjectFile = None,
    root: Root = None,
    last: Annotated[int, typer.Option(help="How many of the newest entries to list.")] = 40,
) -> None:
    """List the ledger and verify its chain; ends non-zero if it is broken."""
    workspace = _workspace(project, root)
    entries = workspace.state.ledger()
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("#", "event time", "what", "subject", "evidence", "digest"):
        table.add_column(
            name,
            overflow="fold",
            no_wrap=name != "evidence",
            justify="right" if name == "#" else "left",
        )
    for e in entries[-last:]:
        when = e.time[:16].replace("T", " ")
        table.add_row(str(e.seq), when, e.kind, e.subject, _evidence(e.evidence), e.digest[:8])
    console.print(table)
    broken = workspace.state.verify_ledger()
    if broken is not None:
        console.print(f"[red]broken at entry {broken.seq}[/red]: {broken.reason}")
        raise typer.Exit(1)
    console.print(f"{len(entries)} entries, chain verified")


def _evidence(content: Any) -> str:
    for key in ("verdict", "evidence"):
        if isinstance(content.get(key), dict) and content[key].get("findings"):
            found = content[key]["findings"]
            passed = sum(f["outcome"] == "passed" for f in found)
            bad = [f"{f['name']}: {f['reason']}" for f in found if f["outcome"] != "passed"]
            stage = f"{content['stage']}, " if "stage" in content else ""
            return f"{stage}{passed} of {len(found)} passed" + (f"; {bad[0]}" if bad else "")
    if "findings" in content:
        return "; ".join(f"{f['name']}: {f['reason']}" for f in content["findings"][:2])
    return str(content.get("note") or content.get("stage") or "")


@app.command()
def resolve(
    incident: Annotated[str, typer.Argument(help="Its id, as 'setpoint status' shows it.")],
    note: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    retry: Annotated[
        bool, typer.Option("--retry", help="Have it responded to again instead of ending it.")
    ] = False,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """End an incident that needs a person, or have it responded to again."""
    from setpoint.stages.respond import by_person

    moved = by_person(_workspace(project, root), incident, note, retry=retry)
    console.print(f"{moved.id} is {moved.status}: {moved.note}", markup=False)


@app.command()
def answer(
    version: Annotated[str, typer.Argument(help="Version whose release is held.")],
    note: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    promote: Annotated[
        bool, typer.Option("--promote/--roll-back", help="Go on with its next step, or end it.")
    ],
    person: Annotated[str | None, typer.Option(help="Who says so; default: the user.")] = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Say how a release goes on that is held; the next sweep walks it on."""
    from getpass import getuser

    from setpoint.stages.release import answer as tell

    told = tell(_workspace(project, root), version, person or getuser(), note, promote=promote)
    console.print(f"{version}: {told.label}; the next sweep goes on with it", markup=False)


def check_writable(file: Path | None) -> None:
    """Refuse a file that cannot be written before the work that it is for.

    Raises:
        StateError: Its folder is not there, or it is a folder.
    """
    if file is None or (file.absolute().parent.is_dir() and not file.is_dir()):
        return
    raise StateError(
        "nothing can be written there",
        where=str(file),
        fix="name a file in a folder that exists",
    )


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    start: Annotated[str | None, typer.Option("--from", help="Event time (ISO) from.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Event time (ISO) to, exclusive.")] = None,
    version: Annotated[str | None, typer.Option(help="Only this version's.")] = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Write served decisions to Parquet: whole records, with their inputs as columns."""
    from setpoint.adapters.decision_export import export as write
    from setpoint.domain.calendar import parse_utc
    from setpoint.ports import DecisionQuery

    workspace = _workspace(project, root)
    check_writable(out)
    names = workspace.project.feature_spec().names
    query = DecisionQuery(
        start=parse_utc(start, "--from") if start else None,
        end=parse_utc(end, "--to") if end else None,
        version=version,
        features=names,
    )
    console.print(f"{write(workspace.decisions, query, out):,} decisions in {out}")


@app.command()
def score(
    source: Annotated[str, typer.Argument(help="File, folder or Delta Lake table, or s3://.")],
    output: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    version: Annotated[str | None, typer.Option(help="Model version; default: champion.")] = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Score a table into a Parquet file, offline; what is refused is written beside it."""
    from setpoint.stages.score import score as write

    check_writable(output)
    console.print(str(write(_workspace(project, root), source, output, version)), markup=False)


@app.command()
def init(
    data: Annotated[Path, typer.Option("--from", help="A Parquet or CSV file of the data.")],
    out: Annotated[Path, typer.Option(help="Where to write the project file.")] = Path(
        "setpoint.yaml"
    ),
    target: Annotated[str | None, typer.Option(help="Label column; guessed if not given.")] = None,
    time_column: Annotated[str | None, typer.Option("--time", help="Event time column.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="Column that identifies a row.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
) -> None:
    """Write a commented project file from data."""
    from setpoint.init import write_project

    text = write_project(data, out, target, time_column, event_id, name)
    console.print(f"wrote {out}: {text}")


@app.command()
def backtest(
    project: ProjectFile = None,
    root: Root = None,
    summary: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    train_until: Annotated[
        str | None, typer.Option(help="Event time (ISO) up to which the first part trains.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder in which relative data addresses start.")
    ] = None,
    cron: Annotated[
        int | None,
        typer.Option(
            min=1, help="Looks between retrainings of the cron baseline; default: four in all."
        ),
    ] = None,
) -> None:
    """Play a history through the loop: what it would have done and been worth."""
    from setpoint.backtest import run_backtest, show_backtest
    from setpoint.config import load_project, read_environment

    check_writable(summary)
    file = project or read_environment().project_file
    folder = root or Path(".setpoint/backtest") / load_project(file).name
    if root is None:
        shutil.rmtree(folder, ignore_errors=True)
    workspace = _workspace(file, folder)
    if data is not None:
        environment = workspace.environment.model_copy(update={"data_root": data.absolute()})
        workspace = replace(workspace, environment=environment)
    figures = run_backtest(workspace, train_until, cron, lambda t: console.print(t, markup=False))
    show_backtest(figures, console)
    if summary is not None:
        summary.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the project file, for editors."""
    from setpoint.config import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def world(
    out: Annotated[
        Path, typer.Option(help="Folder to write setpoint.yaml, data/events and data/labels to.")
    ],
    days: Annotated[int, typer.Option(help="Length in days.")] = 90,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    drift: Annotated[str, typer.Option(help="Name of the drift, or none.")] = "none",
    drift_day: Annotated[float, typer.Option(help="Day on which it begins.")] = 60.0,
) -> None:
    """Write a simulated card world as a project: its file and its data."""
    from setpoint.stages.worldfiles import write_world

    rows, frauds = write_world(out, days, seed, drift, drift_day)
    console.print(
        f"{rows:,} payments, {frauds:,} frauds over {timedelta(days=days).days} days in {out}"
    )
