"""What every command shares: the program, its output, its options, its workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from setpoint.errors import StateError

if TYPE_CHECKING:
    from setpoint.domain.access import Permission

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps a tabular decision model at its setpoint.",
)
console = Console(highlight=False)


class PlainTable(Table):
    """A table whose cells are text, whatever brackets a person wrote into them."""

    def __init__(self) -> None:
        super().__init__(header_style="bold", box=None, pad_edge=False)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; text is taken as it is."""
        super().add_row(*(Text(one) if isinstance(one, str) else one for one in cells), **options)


ProjectFile = Annotated[
    Path | None,
    typer.Option("--project", help="Project file; default: SETPOINT_PROJECT or setpoint.yaml"),
]
Root = Annotated[
    Path | None, typer.Option("--root", help="State folder; default: SETPOINT_ROOT or .setpoint")
]


def person_of(person: str | None) -> str:
    """Who gives a command: as named, by ``SETPOINT_PERSON``, or the user of the machine."""
    from setpoint.config import read_environment, read_login

    return person or read_environment().person or read_login()


def workspace_of(
    project: Path | None,
    root: Path | None,
    needs: Permission | None,
    person: str | None = None,
) -> Any:
    """The workspace that a command is about, for somebody who may give it.

    Args:
        project: Project file, as given.
        root: State folder, as given.
        needs: The permission that the command needs; ``None`` for none.
        person: Who gives it, as given.

    Raises:
        AccessError: They may not; the ledger says so.
    """
    from setpoint.config import read_login
    from setpoint.domain.access import Actor
    from setpoint.stages.access import check

    workspace = _open(project, root)
    if needs is not None:
        actor = Actor(person_of(person), "person", read_login())
        check(workspace, actor, needs, f"setpoint {_command()}")
    return workspace


def _command() -> str:
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


def _open(project: Path | None, root: Path | None) -> Any:
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
