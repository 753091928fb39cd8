"""What the record can show of a duty, each with a link to where it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

from setpoint.documents.record import Record, link, moment, number
from setpoint.documents.threats import THREATS
from setpoint.documents.words import finding_row
from setpoint.domain.approval import POLICY
from setpoint.domain.features import duration_label
from setpoint.domain.ledger import Entry


@dataclass(frozen=True)
class Proof:
    """One thing that can be shown.

    Attributes:
        text: What it shows.
        where: Ledger entry with digest, gate finding, artifact, test, or field.
    """

    text: str
    where: str


Shows = Callable[[Record], list[Proof]]
"""Reads a record; nothing to show is an empty list."""

FILE = "of the project file of its training"
"""Where what is declared is read."""
MOST = 6
"""Findings that are told one by one; of more, how many there are."""


def entries(*kinds: str, mine: bool = False) -> Shows:
    """Ledger entries of a kind, of this version alone if ``mine``."""

    def read(record: Record) -> list[Proof]:
        found = record.told(*kinds) if mine else record.of(*kinds)
        return [_counted(kind, [e for e in found if e.kind == kind]) for kind in kinds
                if any(e.kind == kind for e in found)]  # fmt: skip

    return read


def _counted(kind: str, found: list[Entry]) -> Proof:
    last = found[-1]
    told = f"{len(found):,} × {kind.replace('_', ' ')}, last of {last.subject} at {last.time[:16]}"
    return Proof(told, link(last))


def acts(*kinds: str) -> Shows:
    """Of ledger entries of a kind, those that a person is named for; the policy is none."""

    def read(record: Record) -> list[Proof]:
        found = [e for e in record.of(*kinds) if _person(e)]
        told = [(kind, [e for e in found if e.kind == kind]) for kind in kinds]
        return [_counted(f"{kind} by a person", mine) for kind, mine in told if mine]

    return read


def _person(entry: Entry) -> str:
    who = str(entry.evidence.get("person") or entry.evidence.get("by") or "").strip()
    return "" if who == POLICY else who


def findings(*patterns: str) -> Shows:
    """Findings of the verdict whose names match, e.g. ``fairness*``."""

    def read(record: Record) -> list[Proof]:
        entry = record.verdict_entry
        named = [f for f in record.findings if _named(f.name, patterns)]
        if entry is None or not named:
            return []
        where = f"gate finding in {link(entry)}"
        if len(named) > MOST:
            passed = sum(f.passed for f in named)
            return [Proof(f"{passed} of {len(named)} findings passed", where)]
        return [Proof(_told(finding_row(f)), where) for f in named]

    return read


def _told(row: tuple[str, ...]) -> str:
    name, outcome, value, setpoint, bounds, rows, rate, reason = row
    parts = [
        f"{name} {outcome}",
        f"value {value}" if value else "",
        setpoint,
        f"bounds {bounds}" if bounds else "",
        f"{rows} rows",
        f"error rate {rate}" if rate else "",
        "" if value else reason,
    ]
    return ", ".join(part for part in parts if part)


def _named(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def watched(*patterns: str) -> Shows:
    """What was measured in windows of this version; what could not be measured shows nothing."""

    def read(record: Record) -> list[Proof]:
        measured = {
            w.end: [f.label for f in w.findings if f.value is not None and _named(f.name, patterns)]
            for w in record.watched
        }
        kept = {label for labels in measured.values() for label in labels}
        ends = [end for end, labels in measured.items() if labels]
        if not kept:
            return []
        names = ", ".join(sorted(kept)[:MOST])
        more = f" and {len(kept) - MOST} more" if len(kept) > MOST else ""
        span = f"{moment(ends[0])} to {moment(ends[-1])}"
        told = f"measured in {len(ends):,} of {len(measured):,} windows: {names}{more}"
        return [Proof(told, f"windows that end {span}")]

    return read


def words(*fields: str) -> Shows:
    """What a person has written in the project file."""

    def read(record: Record) -> list[Proof]:
        return [Proof(record.words(f), f"documents.{f} of today's project file")
                for f in fields if record.words(f)]  # fmt: skip

    return read


def artifacts(*patterns: str) -> Shows:
    """Files that the version's run keeps."""

    def read(record: Record) -> list[Proof]:
        kept = [p for p in record.artifacts if _named(p, patterns)]
        return [Proof(path.rpartition("/")[2], f"artifact {path} of MLflow run {record.run.id}")
                for path in kept]  # fmt: skip

    return read


def identity(record: Record) -> list[Proof]:
    """What determined the bytes of the bundle."""
    manifest = record.bundle.manifest
    seeds = ", ".join(f"{name} {seed}" for name, seed in sorted(manifest.seeds.items()))
    told = f"snapshot {manifest.snapshot.digest[:16]}, commit {manifest.commit[:16]}, " + (
        f"environment {manifest.environment_digest[:16]}, seeds {seeds}"
    )
    return [Proof(told, f"manifest.json of bundle {record.bundle.digest[:16]}")]


def inputs(record: Record) -> list[Proof]:
    """The schema that every batch and request is held to."""
    columns = record.bundle.table.columns
    personal = sum(c.personal for c in columns)
    told = f"{len(columns)} columns with kind, bounds and values, {personal} marked personal"
    return [Proof(told, f"schema.json of bundle {record.bundle.digest[:16]}")]


def snapshot(record: Record) -> list[Proof]:
    """The training data, by version and digest."""
    found = record.bundle.manifest.snapshot
    return [Proof(f"snapshot {found.version}", f"digest {found.digest}")]


def reasons(record: Record) -> list[Proof]:
    """What is answered with an adverse decision."""
    told = len(record.bundle.decision.reasons)
    if not told:
        return []
    return [Proof(f"reason codes of {told} inputs with each {record.project.actions.positive}",
                  f"decision.json of bundle {record.bundle.digest[:16]}")]  # fmt: skip


def chain(record: Record) -> list[Proof]:
    """The ledger as a whole."""
    if not record.entries and not record.audit.breaks:
        return []
    return [Proof(record.audit.told, record.head)]


def retention(record: Record) -> list[Proof]:
    """How long decisions are kept."""
    keep = record.project.decisions.keep
    kept = "" if keep is None else duration_label(int(keep.total_seconds()))
    told = f"decisions are kept for {kept}" if kept else "decisions are never dropped"
    return [Proof(told, f"decisions.keep {FILE}")]


def setpoints(record: Record) -> list[Proof]:
    """What the model must hold, as declared."""
    found = [
        f"{name}: {s.metric} {'≥' if s.floor is not None else '≤'} "
        f"{number(s.floor if s.floor is not None else s.ceiling)}"
        for name, s in record.project.setpoints.items()
    ]
    return [Proof("; ".join(found), f"setpoints {FILE}")]


def owner(record: Record) -> list[Proof]:
    """Who answers for the model."""
    who = record.project.owner
    return [Proof(f"{who.team}, {who.contact}", f"owner {FILE}")]


def costs(record: Record) -> list[Proof]:
    """What decides the threshold."""
    threshold = number(record.bundle.decision.threshold)
    return [Proof(f"threshold {threshold}, of least cost by the declared costs",
                  f"costs {FILE}")]  # fmt: skip


def policy(record: Record) -> list[Proof]:
    """What an incident leads to."""
    respond = record.project.respond
    told = f"what an incident leads to: performance: {respond.performance}, drift: "
    rest = f"{respond.drift}, fairness: {respond.fairness}"
    return [Proof(f"{told}{rest}", f"respond {FILE}")]


def oversight(record: Record) -> list[Proof]:
    """What a person may do: what the program offers, and whom approval asks."""
    rule = record.project.approval
    asks = f"{rule.persons} named" if record.project.asks_people else "the policy, no person"
    return [
        Proof("commands that stop or resume a version or all, override a decision, answer a held "
              "release or an incident", "setpoint stop, resume, override, release, resolve"),
        Proof(f"a release is approved by: {asks}", f"approval {FILE}"),
    ]  # fmt: skip


def attacked(record: Record) -> list[Proof]:
    """Techniques of the security map that a test attacks."""
    tested = [threat for threat in THREATS if threat.tests]
    files = sorted({test.split("::")[0] for threat in tested for test in threat.tests})
    told = (
        f"{len(tested)} of {len(THREATS)} ATLAS techniques have a test of the program; which "
        "controls are on for this project is in the security map"
    )
    return [Proof(told, ", ".join(files))]
