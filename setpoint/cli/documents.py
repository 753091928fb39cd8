"""Documents made of the record, and how far the loop has come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from setpoint.cli.common import PlainTable, ProjectFile, Root, app, console, workspace_of


@app.command()
def documents(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    version: Annotated[
        str | None, typer.Option(help="Which version; default: the one in service.")
    ] = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Write model card, datasheet, EU AI Act pack, security map and assessment from the record."""
    from setpoint.documents import write_documents

    made = write_documents(workspace_of(project, root, "audit"), out, version)
    for file, document in made.items():
        lacks = len(document.missing)
        note = f"   {lacks} parts are missing" if lacks and file.suffix == ".html" else ""
        console.print(f"{file}{note}", markup=False, soft_wrap=True)


@app.command()
def assess(project: ProjectFile = None, root: Root = None) -> None:
    """Maturity level and ML Test Score, from what the last runs left; names what is missing."""
    from setpoint.documents import assess as look

    found = look(workspace_of(project, root, "audit"))
    table = PlainTable()
    for name in ("", "test", "points", "evidence"):
        table.add_column(name, overflow="fold", no_wrap=name == "points")
    for section, tests in found.sections.items():
        for test in tests:
            told = test.evidence if test.points else f"missing: {test.missing}"
            table.add_row(section, test.name, f"{test.points:g}", told)
    console.print(table)
    console.print(f"{found.points:g} of {found.most} points, {found.passing} of {found.most} tests")
    sums = ", ".join(f"{name} {points:g}" for name, points in found.sums.items())
    console.print(f"ML Test Score {found.score:g} (least of {sums})", markup=False)
    console.print(f"MLOps maturity level {found.level.number}: {found.level.name}", markup=False)
    for line in found.next:
        console.print(f"  for the next level: {line}", markup=False, soft_wrap=True)
