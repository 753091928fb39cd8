"""What every command shares: the program, its output, its options, its workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from setpoint.errors import StateError

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


def workspace_of(project: Path | None, root: Path | None) -> Any:
    """The workspace that a command is about."""
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
