"""The record, and what people add to it: ledger, held releases, decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from setpoint.cli.common import (
    PlainTable,
    ProjectFile,
    Root,
    app,
    check_writable,
    console,
    person_of,
    workspace_of,
)


@app.command()
def audit(
    project: ProjectFile = None,
    root: Root = None,
    last: Annotated[int, typer.Option(help="How many of the newest entries to list.")] = 40,
    verify: Annotated[bool, typer.Option("--verify", help="List nothing.")] = False,
    seal: Annotated[bool, typer.Option("--seal", help="Seal the ledger if it holds.")] = False,
    seals: Annotated[Path | None, typer.Option(help="Another copy of the seals.")] = None,
    unsigned_until: Annotated[
        int, typer.Option(help="Number of the last entry of before entries were signed.")
    ] = 0,
) -> None:
    """List the ledger and verify its chain, signatures and seals; ends non-zero if one fails."""
    from setpoint.adapters.seal_file import read_lines
    from setpoint.stages import sealing

    workspace = workspace_of(project, root, "audit")
    if not verify:
        _list(workspace.state.ledger(), last)
    lines = read_lines(seals) if seals is not None else None
    found = sealing.audit(workspace, lines, unsigned_until)
    for one in found.breaks:
        console.print(f"[red]{one.title}[/red]:", end=" ")
        console.print(one.reason, markup=False, soft_wrap=True)
    for caveat in found.caveats:
        console.print(f"[yellow]warning[/yellow]: {caveat}", soft_wrap=True)
    console.print(f"{found.counts}; not verified" if found.breaks else f"{found.counts} verified")
    if seal and not found.altered:  # void entries stay for good, and what follows is sealed too
        made = sealing.seal(workspace, workspace.clock.now(), at_once=True)
        said = "nothing new to seal" if made is None else f"sealed at entry {made.seq}"
        console.print(f"{said}, in {workspace.seals.path}", markup=False, soft_wrap=True)
    if found.breaks:
        raise typer.Exit(1)


def _list(entries: list[Any], last: int) -> None:
    table = PlainTable()
    for name in ("#", "event time", "what", "subject", "evidence", "digest", "key"):
        table.add_column(
            name,
            overflow="fold",
            no_wrap=name != "evidence",
            justify="right" if name == "#" else "left",
        )
    for e in entries[-last:]:
        when, key = e.time[:16].replace("T", " "), e.key[:8] or "unsigned"
        told = _evidence(e.evidence)
        table.add_row(str(e.seq), when, e.kind, e.subject, told, e.digest[:8], key)
    console.print(table)


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
    by = content.get("by") or content.get("person")
    told = str(content.get("note") or content.get("stage") or "")
    return f"{by}: {told}" if by else told


@app.command()
def replay(
    decision: Annotated[str, typer.Argument(help="Id of a served decision.")],
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Compute a past decision again from the record.

    Ends with 1 where it comes out otherwise, with 3 where the record does not reach all of it.
    """
    from setpoint.stages.replay import replay as again

    found = again(workspace_of(project, root, "audit"), decision)
    made = found.decision
    console.print(
        f"{made.id}: {made.action}, score {made.score:.6f}, by {made.version} at "
        f"{made.event_time:%Y-%m-%d %H:%M:%S}, trace {made.trace_id or '-'}",
        markup=False,
    )
    if found.override is not None:
        console.print(f"  a person decided otherwise: {found.override}", markup=False)
    marks = {True: "equal", False: "differs", None: "not shown"}
    for part in found.parts:
        console.print(
            f"  {part.name:9} {marks[part.equal]:9} {part.note}", markup=False, soft_wrap=True
        )
    if found.differs:
        console.print("[red]not equal to the record[/red]")
        raise typer.Exit(1)
    if not found.equal:
        console.print("[yellow]equal as far as the record reaches, which is not all of it[/yellow]")
        raise typer.Exit(3)
    console.print("equal, bit for bit")


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
    from setpoint.stages.release import answer as tell

    workspace = workspace_of(project, root, "approve" if promote else "release", person)
    told = tell(workspace, version, person_of(person), note, promote=promote)
    console.print(f"{version}: {told.label}; the next sweep goes on with it", markup=False)


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

    workspace = workspace_of(project, root, "audit")
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
def report(
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    incident: Annotated[str | None, typer.Option(help="Only the time of this incident.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Event time (ISO) from.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Event time (ISO) to, exclusive.")] = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Write one page about what the loop did: drift, releases, performance, money, traffic."""
    from setpoint.domain.calendar import parse_utc
    from setpoint.report.loop import write_loop_report

    check_writable(out)
    page = write_loop_report(
        workspace_of(project, root, "audit"),
        out,
        incident=incident,
        start=parse_utc(start, "--from") if start else None,
        end=parse_utc(end, "--to") if end else None,
    )
    console.print(f"open {page} in a browser", markup=False, soft_wrap=True)
