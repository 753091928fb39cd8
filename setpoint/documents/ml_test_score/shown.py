"""What a test shows, and how it is read off findings of gates, windows and releases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from setpoint.documents.evidence import Evidence
from setpoint.documents.record import link, moment, number
from setpoint.domain.ledger import Entry
from setpoint.domain.outcome import Finding, Outcome


@dataclass(frozen=True)
class Shown:
    """What a test found.

    Attributes:
        points: 0, 0.5 or 1.
        evidence: What shows it; empty for 0.
        fault: What speaks against it; empty where there is only nothing to show.
    """

    points: float
    evidence: str
    fault: str = ""


@dataclass(frozen=True)
class TestCase:
    """One test.

    Attributes:
        name: As the paper has it.
        look: Reads it off the evidence.
        missing: What would show it as automated.
    """

    __test__ = False  # not one of pytest's

    name: str
    look: Callable[[Evidence], Shown]
    missing: str


NOTHING = Shown(0.0, "")


def shown_if(shown: bool, evidence: str, points: float = 1.0) -> Shown:
    """Points for what is shown, none for what is not."""
    return Shown(points, evidence) if shown else NOTHING


def told_of(finding: Finding) -> str:
    """A finding in words."""
    setpoint = number(finding.setpoint)
    held = f" against {setpoint}" if setpoint else ""
    return f"{finding.label} {number(finding.value)}{held}, {finding.sample:,} rows"


def judged(found: Iterable[Finding]) -> list[Finding]:
    """Measured, and held or broken: what could not be decided is no evidence."""
    sure = (Outcome.PASSED, Outcome.FAILED)
    return [f for f in found if f.value is not None and f.outcome in sure]


def broken(found: Iterable[Finding], where: str) -> Shown | None:
    """No points where one of them failed, and which."""
    told = "; ".join(told_of(f) for f in found if f.outcome == Outcome.FAILED)
    return Shown(0.0, "", f"failed: {told} ({where})") if told else None


def held(found: list[Finding], where: Entry | None) -> Shown:
    """Findings of a verdict, none of which failed, the first of them in words."""
    known = judged(found)
    if not known or where is None:
        return NOTHING
    more = f" and {len(known) - 1} more" if len(known) > 1 else ""
    shown = Shown(1.0, f"{told_of(known[0])}{more} ({link(where)})")
    return broken(known, link(where)) or shown


def gate(*patterns: str) -> Callable[[Evidence], Shown]:
    """Findings of the version's gates whose names match, none of which failed."""
    return lambda e: held(e.gate(*patterns), e.record.verdict_entry)


def windows(*patterns: str) -> Callable[[Evidence], Shown]:
    """The newest of each finding in windows of the version itself, none of which failed."""

    def look(e: Evidence) -> Shown:
        seen = [(w, f) for w, f in e.watched(*patterns) if judged([f])]
        newest = {f.label: (w, f) for w, f in seen}
        if not newest:
            whose = f"{len(e.record.watched)} windows of {e.record.version} so far"
            told = f"{', '.join(patterns)}: judged in none of {whose}"
            return Shown(0.0, "", told if e.record.watched else "")
        bad = [broken([f], f"window that ends {moment(w.end)}") for w, f in newest.values()]
        window, last = list(newest.values())[-1]
        last_told = (
            f"{told_of(last)} in the window of {e.record.version} that ends {moment(window.end)}"
        )
        more = f"none of {len(newest)} failed when last judged" if len(newest) > 1 else "it held"
        told = f"{last_told}; {more}; judged {len(seen):,} times in its windows"
        return next((b for b in bad if b), None) or Shown(1.0, told)

    return look


def released(*patterns: str) -> Callable[[Evidence], Shown]:
    """The newest finding of the version's release whose name matches."""

    def look(e: Evidence) -> Shown:
        found = [(x, f) for x, f in e.released(*patterns) if judged([f])]
        if not found:
            return NOTHING
        entry, last = found[-1]
        told = f"{told_of(last)}, {len(found)} times in its release ({link(entry)})"
        return broken([last], link(entry)) or Shown(1.0, told)

    return look
