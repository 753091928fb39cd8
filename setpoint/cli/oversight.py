"""What people say: approve a version, stop one or all, resume, override a decision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from setpoint.cli.common import ProjectFile, Root, app, console, person_of, workspace_of

Scope = Annotated[str | None, typer.Argument(help="A version, such as v3.")]
Everything = Annotated[bool, typer.Option("--all", help="Every model, instead of a version.")]
Note = Annotated[str, typer.Option(help="Why.")]
Person = Annotated[str | None, typer.Option(help="Who orders it; default: the user.")]


def _scope(version: str | None, everything: bool) -> str:
    from setpoint.domain.oversight import ALL

    if (version is None) != everything:
        raise typer.BadParameter("name a version, or say --all")
    return version or ALL


@app.command()
def stop(
    note: Note,
    version: Scope = None,
    everything: Everything = False,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Take a version, or every model, out of the traffic at once; another answers meanwhile."""
    from setpoint.stages.oversight import stop as order

    workspace = workspace_of(project, root, "release", person)
    made = order(workspace, _scope(version, everything), person_of(person), note)
    console.print(f"{made.scope} is stopped; {made.stand_in} answers", markup=False)


@app.command()
def resume(
    note: Note,
    version: Scope = None,
    everything: Everything = False,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """End a stop."""
    from setpoint.stages.oversight import resume as order

    workspace = workspace_of(project, root, "release", person)
    ended = order(workspace, _scope(version, everything), person_of(person), note)
    console.print(f"{ended.scope} may answer again", markup=False)


@app.command()
def approve(
    version: Annotated[str, typer.Argument(help="A version that waits for approval.")],
    note: Annotated[str | None, typer.Option(help="Why; without it the evidence is shown.")] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="It may not serve.")] = False,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Show what a version's gates found, or say whether it may serve."""
    from rich.markdown import Markdown

    from setpoint.config import read_login
    from setpoint.stages import approval

    workspace = workspace_of(project, root, "audit" if note is None else "approve", person)
    if note is None:
        request = approval.request_of(workspace, version)
        console.print(Markdown(approval.evidence(workspace, request)))
        return
    now = datetime.now(UTC)
    who = person_of(person)
    after = approval.say(
        workspace, version, who, note, approves=not refuse, now=now, login=read_login()
    )
    told = f"{version} is {after.standing(now)}, {after.people} of {after.wanted} people"
    console.print(f"{told}; the next sweep goes on with it", markup=False)


@app.command()
def review(
    digest: Annotated[
        str | None, typer.Argument(help="Digest of the project file that was read.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Why it may be used.")] = None,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Show what changed in the project file, or record that a person stands by it."""
    from rich.syntax import Syntax

    from setpoint.config import read_login
    from setpoint.stages import review as reviews

    if (digest is None) != (note is None):
        raise typer.BadParameter("name the digest of what was read and a --note, or neither")
    workspace = workspace_of(project, root, "audit" if note is None else "approve", person)
    if digest is not None and note is not None:
        entry = reviews.review(workspace, digest, person_of(person), note, read_login())
        told = f"{entry.evidence['by']} stands by {entry.evidence['project'][:16]}"
        console.print(f"{told}, ledger entry {entry.seq}", markup=False)
        return
    read = reviews.reading(workspace)
    if read.diff:
        console.print(Syntax(read.diff, "diff", background_color="default", word_wrap=True))
    else:
        console.print(f"equal to the project file of {read.version}")
    word = reviews.standing_review(workspace, read.digest)
    said = "nobody has reviewed it"
    if word is not None:
        said = f"{word.evidence['by']} has reviewed it (ledger entry {word.seq})"
    console.print(f"digest {read.digest[:16]}; {said}", markup=False)


@app.command()
def override(
    decision: Annotated[str, typer.Argument(help="Id of a served decision.")],
    action: Annotated[str, typer.Option(help="What is done instead.")],
    note: Note,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Record that a person decides otherwise than the model did."""
    from setpoint.stages.oversight import override as order

    workspace = workspace_of(project, root, "approve", person)
    entry = order(workspace, decision, action, person_of(person), note)
    was, now = entry.evidence["was"], entry.evidence["action"]
    console.print(f"{decision}: {now} instead of {was}, ledger entry {entry.seq}", markup=False)
