"""The account: a version trained again from its record, and questions about the past."""

from __future__ import annotations

from typing import Annotated

import typer

from setpoint.cli.common import ProjectFile, Root, app, console, workspace_of


@app.command()
def rebuild(
    version: Annotated[str, typer.Argument(help="Model version, e.g. v3.")],
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Train a version again from its record alone; ends non-zero where it comes out otherwise."""
    from setpoint.stages.rebuild import rebuild as again

    made = again(workspace_of(project, root), version)
    for name, expected in made.expected.items():
        found = made.found[name]
        word = "equal" if found == expected else f"differs, now {found[:16]}"
        console.print(f"  {name:14} {expected[:16]} {word}", markup=False)
    told = f"{version}: trained again on {made.rows:,} rows in {made.seconds:.1f} s; {made.reason}"
    console.print(told, markup=False, soft_wrap=True)
    if not made.equal:
        console.print("[red]not equal to the record[/red]")
        raise typer.Exit(1)
