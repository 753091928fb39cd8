"""Who was in production when, read from the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from setpoint.domain.approval import APPROVED, ASKED, POLICY, VOICE
from setpoint.domain.findings import Verdict
from setpoint.domain.ledger import Entry

SERVES = ("promoted", "roll_back", "fell_back")
"""Entries after which the version that they are about is in service."""
STARTED, ANSWERED, ENDS = "release_started", "release_answered", (*SERVES, "rolled_back")
GATED = ("accepted", "refused")
STOPPED, RESUMED = "stopped", "resumed"
_SHARE = re.compile(r"(\d+) %")


@dataclass(frozen=True)
class Told:
    """An entry of the ledger in words.

    Attributes:
        seq: Its number.
        time: Event time.
        kind: As in the ledger.
        subject: What it happened to.
        by: The person, or else ``policy``: what the project file lays down decided.
        text: What it says.
        digest: Of the entry.
    """

    seq: int
    time: datetime
    kind: str
    subject: str
    by: str
    text: str
    digest: str


@dataclass(frozen=True)
class Service:
    """A time during which a version was the champion.

    Attributes:
        version: Which.
        since: Event time of its promotion.
        until: Event time at which another took over; ``None``: nobody has.
        cause: What the promotion answered: an incident's id, ``first``, ``manual`` ...
        entry: Number of the ledger entry that says so.
        back: Whether it was brought back.
    """

    version: str
    since: datetime
    until: datetime | None
    cause: str
    entry: int
    back: bool


@dataclass(frozen=True)
class Releasing:
    """A release that was going on at a moment.

    Attributes:
        version: The challenger.
        since: Event time at which it began.
        cause: What it answers.
        stage: The step, e.g. ``canary 25 %``; ``unknown`` where its run left none.
        percent: Share of the traffic that the challenger answered; ``None`` where unknown.
    """

    version: str
    since: datetime
    cause: str
    stage: str
    percent: int | None


@dataclass(frozen=True)
class Stopped:
    """A stop that was in force at a moment.

    Attributes:
        scope: The version that might not answer, or ``all``.
        stand_in: Version that answered in its place.
        person: Who had ordered it.
        note: Why.
        entry: Number of the ledger entry that says so.
    """

    scope: str
    stand_in: str
    person: str
    note: str
    entry: int


def time_of(entry: Entry) -> datetime:
    """Event time of an entry."""
    return datetime.fromisoformat(entry.time)


def version_of(entry: Entry) -> str:
    """The version that an entry is about, of a subject such as ``cards/v3``."""
    return entry.subject.rpartition("/")[2]


def told(entry: Entry) -> Told:
    """An entry in words."""
    evidence = entry.evidence
    verdict = evidence.get("verdict") or evidence.get("evidence") or {}
    parts = [str(evidence.get(name) or "") for name in ("stage", "answer", "reason", "note")]
    if isinstance(verdict, dict) and verdict.get("findings"):
        parts.append(Verdict.from_dict(verdict).summary())
    by = str(evidence.get("person") or evidence.get("by") or "policy")
    text = "; ".join(dict.fromkeys(part for part in parts if part))
    return Told(entry.seq, time_of(entry), entry.kind, entry.subject, by, text, entry.digest)


def about(entries: Iterable[Entry], version: str) -> list[Entry]:
    """Entries about a version, oldest first."""
    return [one for one in entries if "/" in one.subject and version_of(one) == version]


def services(entries: Iterable[Entry]) -> list[Service]:
    """Who was in service, oldest first; each until the next one."""
    promoted = [one for one in entries if one.kind in SERVES]
    after: list[Entry | None] = [*promoted[1:], None][: len(promoted)]
    return [
        Service(
            version_of(one),
            time_of(one),
            None if following is None else time_of(following),
            str(one.evidence.get("cause", "")),
            one.seq,
            one.kind != SERVES[0],
        )
        for one, following in zip(promoted, after, strict=True)
    ]


def service_at(entries: Iterable[Entry], moment: datetime) -> Service | None:
    """Who was in service at a moment; ``None`` before the first promotion."""
    before = [one for one in services(entries) if one.since <= moment]
    return before[-1] if before else None


def stopped_at(entries: Iterable[Entry], moment: datetime) -> list[Stopped]:
    """The stops that were in force at a moment, oldest first."""
    found: dict[str, Stopped] = {}
    for one in entries:
        if time_of(one) > moment or one.kind not in (STOPPED, RESUMED):
            continue
        said = {name: str(one.evidence[name]) for name in ("scope", "stand_in", "person", "note")}
        found.pop(said["scope"], None)
        if one.kind == STOPPED:
            found[said["scope"]] = Stopped(**said, entry=one.seq)
    return list(found.values())


def approved_by(entries: Iterable[Entry]) -> str:
    """Persons who let a version into production, else ``policy``: it is never told as a person's.

    Args:
        entries: Those about the version.
    """
    persons: set[str] = set()
    heard: set[str] = set()
    for one in entries:
        if one.kind == ASKED:
            heard = set()  # what was said to a request counts for no other one
        elif one.kind == VOICE:
            heard.add(str(one.evidence["by"]))
        elif one.kind == APPROVED:
            persons = {*heard, str(one.evidence["by"])}
        elif one.kind == ANSWERED and one.evidence.get("answer") == "promote":
            persons.add(str(one.evidence["person"]))
    return ", ".join(sorted(persons - {POLICY})) or POLICY


def releasing_at(entries: Sequence[Entry], moment: datetime, now: str = "") -> Releasing | None:
    """The release that was going on at a moment; there is never more than one.

    A step is written when it ends, so the step of a moment is that of the next entry about it.

    Args:
        entries: The ledger, oldest first.
        moment: Event time.
        now: The step that the release is in which has not ended yet; empty for none.
    """
    begun = None
    for i, one in enumerate(entries):
        if one.kind == STARTED and time_of(one) <= moment:
            begun = i
        elif one.kind in ENDS and time_of(one) <= moment:
            begun = None
    if begun is None:
        return None
    start = entries[begun]
    later = [
        one
        for one in entries[begun + 1 :]
        if one.subject == start.subject
        and time_of(one) > moment
        and ("stage" in one.evidence or one.kind == ANSWERED)
    ]
    stage = _step(later, now)
    share = _SHARE.search(stage)
    percent = int(share[1]) if share else (None if stage == "unknown" else 0)
    cause = str(start.evidence.get("cause", ""))
    return Releasing(version_of(start), time_of(start), cause, stage, percent)


def _step(later: Sequence[Entry], now: str) -> str:
    if not later:
        return now or "unknown"
    if later[0].kind == ANSWERED:
        return "held"
    # Killed before its step was judged, a release ends without one.
    return str(later[0].evidence["stage"]) if later[0].kind not in ENDS else "unknown"


def verdict_of(entries: Iterable[Entry]) -> tuple[Entry, Verdict] | None:
    """The newest verdict of gates among entries."""
    found = [one for one in entries if one.kind in GATED]
    if not found:
        return None
    return found[-1], Verdict.from_dict(found[-1].evidence.get("verdict", {}))


def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two mappings: old and new value by name, ``None`` where there is none.

    Names are sorted.
    """
    names = sorted(old.keys() | new.keys())
    return {n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)}
