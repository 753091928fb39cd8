"""The account: a version trained again from its record, and questions about the past."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setpoint.cli.common import PlainTable, ProjectFile, Root, app, console, workspace_of

if TYPE_CHECKING:
    from setpoint.domain.account import Told
    from setpoint.domain.findings import Finding
    from setpoint.domain.ledger_audit import Audit
    from setpoint.ports import DecisionCount
    from setpoint.stages.account import Data


@app.command()
def rebuild(
    version: Annotated[str, typer.Argument(help="Model version, e.g. v3.")],
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Train a version again from its record alone; ends non-zero where it comes out otherwise."""
    from setpoint.stages.rebuild import rebuild as again

    made = again(workspace_of(project, root, "audit"), version)
    for name, expected in made.expected.items():
        if name not in made.found:
            continue
        found = made.found[name]
        word = "equal" if found == expected else f"differs, now {found[:16]}"
        console.print(f"  {name:14} {expected[:16]} {word}", markup=False)
    took = f"trained again on {made.rows:,} rows in {made.seconds:.1f} s; " if made.found else ""
    console.print(f"{version}: {took}{made.reason}", markup=False, soft_wrap=True)
    if not made.equal:
        console.print("[red]not equal to the record[/red]")
        raise typer.Exit(1)


questions = typer.Typer(
    no_args_is_help=True, help="Questions about the past, answered from the record."
)
app.add_typer(questions, name="account")

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@questions.command("at")
def standing(
    time: Annotated[str, typer.Argument(help="Event time (ISO), UTC where it names no zone.")],
    as_json: AsJson = False,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """What was in production at a moment of event time, and why."""
    from setpoint.domain.calendar import parse_utc
    from setpoint.stages.account import at

    found = at(workspace_of(project, root, "audit"), parse_utc(time, "time"))
    if as_json:
        _print_json(found)
        return
    service, releasing = found.service, found.releasing
    if service is None:
        console.print(f"{found.time:%Y-%m-%d %H:%M}: nothing was in service yet")
    else:
        back = ", brought back" if service.back else ""
        _rows(
            ("in service", f"{service.version} since {service.since:%Y-%m-%d %H:%M}{back}"),
            ("cause", found.incident or service.cause),
            ("gates", found.verdict or "no verdict in the ledger"),
        )
    for one in found.stopped:
        who = f"{one.scope}: {one.stand_in} answers, by {one.person}: {one.note}"
        _rows(("stopped", f"{who} (ledger #{one.entry})"))
    if releasing is not None:
        share = "" if releasing.percent is None else f", {releasing.percent} % of the traffic"
        cause = f"{releasing.stage}{share}, for {releasing.cause}"
        _rows(("releasing", f"{releasing.version}: {cause}"))
    _counts("answered in the hour before", found.answered)
    _ledger(found.entries, found.audit)


@questions.command("version")
def of_version(
    version: Annotated[str, typer.Argument(help="Model version, e.g. v3.")],
    as_json: AsJson = False,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Who approved a version on which evidence, what trained it, and what it decided."""
    from setpoint.stages import account

    found = account.version(workspace_of(project, root, "audit"), version)
    if as_json:
        _print_json(found)
        return
    spans = [f"{s.since:%Y-%m-%d %H:%M} to {_until(s.until)}" for s in found.served]
    _rows(
        ("bundle", found.bundle),
        ("approved by", found.approved_by or "nobody: it never was in service"),
        ("in service", "; ".join(spans) or "never"),
        *((name, value) for name, value in found.conditions.items()),
        ("parameters", _pairs(found.parameters)),
        ("seeds", _pairs(found.seeds)),
        ("metrics", _pairs(found.metrics)),
        *(("not readable", why) for why in found.missing),
    )
    if found.data is not None:
        _data(found.data)
    _findings(found.verdict, found.findings)
    _counts(f"decisions (all: setpoint export --version {version})", found.decisions)
    _counts("mirrored decisions", found.mirrored)
    _ledger(found.entries, found.audit)


@questions.command("compare")
def between(
    old: Annotated[str, typer.Argument(help="Model version, e.g. v1.")],
    new: Annotated[str, typer.Argument(help="Another one.")],
    as_json: AsJson = False,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """What changed from one version to another."""
    from setpoint.stages.account import compare

    found = compare(workspace_of(project, root, "audit"), old, new)
    if as_json:
        _print_json(found)
        return
    table = _table("part", "what", old, new)
    for part in ("data", "parameters", "features", "decision", "conditions", "metrics"):
        for name, values in getattr(found, part).items():
            table.add_row(part, name, *(_told(value) for value in values))
    console.print(table if table.row_count else "nothing that is recorded differs")
    for line in (*found.project, *found.uncovered):
        console.print(line, markup=False, soft_wrap=True)
    console.print("metrics are of the rows that judged each, so of different ones", style="dim")


def _print_json(found: object) -> None:
    import json

    from setpoint.domain.plain import to_plain

    typer.echo(json.dumps(_finite(to_plain(found)), allow_nan=False))


def _finite(value: Any) -> Any:
    """The same with infinities as text, as findings write them: JSON has none."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _table(*names: str) -> PlainTable:
    table = PlainTable()
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _rows(*rows: tuple[str, object]) -> None:
    for name, value in rows:
        console.print(f"{name:12} {value}", markup=False, soft_wrap=True)


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_told(value)}" for name, value in values.items()) or "none"


def _told(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return "-" if value is None else str(value)


def _until(moment: datetime | None) -> str:
    return "now" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _data(data: Data) -> None:
    since = f", judged from {data.judged_since:%Y-%m-%d %H:%M}" if data.judged_since else ""
    used = ", ".join(f"{rows:,} {part}" for part, rows in data.used.items())
    _rows(
        ("data", f"snapshot {data.snapshot}, digest {data.digest}"),
        ("", f"{data.events:,} events, {data.labels:,} labels; rows: {used}"),
        ("", f"known at {data.until:%Y-%m-%d %H:%M}{since}"),
        ("", f"{len(data.batches)} batches: {', '.join(data.batches)}"),
    )


def _findings(outcome: str, findings: Sequence[Finding]) -> None:
    from setpoint.domain.findings import Verdict

    console.print(f"\n[bold]gates[/bold]: {outcome or 'never asked'}")
    names = ("name", "outcome", "value", "setpoint", "sample", "error rate", "reason")
    table = _table(*names)
    for row in Verdict(tuple(findings)).table():
        table.add_row(*(row[name] for name in names))
    if findings:
        console.print(table)


def _counts(title: str, counts: Sequence[DecisionCount]) -> None:
    total = sum(one.decisions for one in counts)
    console.print(f"\n[bold]{title}[/bold]: {total:,}")
    table = _table("version", "action", "decisions", "share", "first", "last")
    for one in counts:
        times = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (one.first, one.last))
        share = f"{one.decisions / total:.1%}"
        table.add_row(one.version, one.action, f"{one.decisions:,}", share, *times)
    if counts:
        console.print(table)


def _ledger(entries: Sequence[Told], audit: Audit) -> None:
    console.print(f"\n[bold]ledger[/bold]: {len(entries)} entries about it")
    console.print(audit.told, markup=False, soft_wrap=True)
    table = _table("#", "event time", "what", "by", "evidence", "digest")
    for one in entries:
        when = f"{one.time:%Y-%m-%d %H:%M}"
        table.add_row(str(one.seq), when, one.kind, one.by, one.text, one.digest[:8])
    if entries:
        console.print(table)
