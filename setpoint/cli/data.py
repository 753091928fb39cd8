"""Project files and data: write a project, replay its history, score a table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from setpoint.cli.common import ProjectFile, Root, app, check_writable, console, workspace_of


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
    console.print(
        str(write(workspace_of(project, root, "score"), source, output, version)), markup=False
    )


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
    workspace = workspace_of(file, folder, None)
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
