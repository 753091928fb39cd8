"""The keys that sign: which there are, another one, one that is trusted no longer."""

from __future__ import annotations

from typing import Annotated

import typer

from setpoint.cli.common import ProjectFile, Root, app, console, person_of, workspace_of

keys = typer.Typer(no_args_is_help=True, help="The keys that sign ledger, bundles and snapshots.")
app.add_typer(keys, name="keys")

Person = Annotated[str | None, typer.Option(help="Who says so; default: the user.")]


@keys.command()
def show(project: ProjectFile = None, root: Root = None) -> None:
    """Say which key is in force, and which are trusted or revoked."""
    workspace = workspace_of(project, root, "audit")
    current = workspace.state.signing_key()
    trusted = workspace.keys.trusted.ids()
    for key in workspace.keys.known.ids():
        state = "in force" if key == current else "trusted" if key in trusted else "revoked"
        console.print(f"{key}  {state}")
    console.print(f"in {workspace.keys.folder}", markup=False, soft_wrap=True)


@keys.command()
def rotate(person: Person = None, project: ProjectFile = None, root: Root = None) -> None:
    """Have a fresh key sign from now on; what the old one signed stays trusted."""
    workspace = workspace_of(project, root, "admin", person)
    old, new = workspace.state.rotate_key(workspace.clock.now(), person_of(person))
    console.print(f"{new} signs from now on, {old} no longer; the ledger says so")


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of a key that is not in force.")],
    since: Annotated[str, typer.Option(help="Time (ISO) from which it is void.")],
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Trust a key no longer: entries it signed since a time, and all its bundles and snapshots."""
    from setpoint.domain.calendar import parse_utc

    workspace = workspace_of(project, root, "admin", person)
    now, who = workspace.clock.now(), person_of(person)
    workspace.state.revoke_key(key, parse_utc(since, "--since"), now, who)
    console.print(f"{key} is trusted no longer; what it signed is refused")
