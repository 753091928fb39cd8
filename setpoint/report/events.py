"""What the loop did, from the ledger: in lanes for the eye, and in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from setpoint.domain.faults import FAULT
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.ledger import Entry
from setpoint.domain.windows import WindowRecord
from setpoint.report.charts import Mark, Stretch, TimeAxis

GOOD, BAD, MIXED, PLAIN = "#1a7f37", "#b42318", "#d29922", "#57606a"
PSI = "psi"
"""Name of the findings about how a column is distributed."""

_LANES = {
    "incident_opened": "alarm",
    "incident_needs_person": "alarm",
    "accepted": "retrained",
    "refused": "retrained",
    "incident_resolved": "healed",
}
_TONES = {
    "incident_opened": BAD,
    "incident_needs_person": BAD,
    "accepted": GOOD,
    "refused": BAD,
    "promoted": GOOD,
    "roll_back": MIXED,
    "fell_back": MIXED,
    "rolled_back": BAD,
    "release_held": MIXED,
    "incident_resolved": GOOD,
    "approval_refused": BAD,
    "approval_expired": MIXED,
    "stopped": BAD,
    "resumed": GOOD,
    "suspect_data": BAD,
    "access_refused": MIXED,
    "requests_refused": MIXED,
}
_RELEASE = ("release_started", "release_step", "release_held", "release_answered")
SERVES = ("promoted", "roll_back", "fell_back")
"""Entries after which the version that they are about is in service."""
_ENDS = (*SERVES, "rolled_back")


def public(findings: Sequence[Finding], personal: Collection[str]) -> tuple[Finding, ...]:
    """Findings without those about the values of personal columns."""
    return tuple(f for f in findings if f.name not in (PSI, FAULT) or f.slice not in personal)


@dataclass(frozen=True)
class Event:
    """One entry of the ledger, told to people.

    Attributes:
        at: Event time.
        kind: As in the ledger.
        subject: What it happened to.
        text: What happened.
        evidence: What the entry rests on.
    """

    at: datetime
    kind: str
    subject: str
    text: str
    evidence: Mapping[str, Any]

    @property
    def color(self) -> str:
        """Green for what went well, red for what did not."""
        if self.kind == "incident_opened" and self.evidence.get("cause") == "drift":
            return MIXED
        return _TONES.get(self.kind, PLAIN)

    @property
    def version(self) -> str:
        """The version that it is about, of a subject such as ``cards/v3``."""
        return self.subject.rpartition("/")[2]


def event_of(entry: Entry, personal: Collection[str] = ()) -> Event:
    """An entry in words, without what was found in personal columns."""
    evidence = dict(entry.evidence)
    if "findings" in evidence:
        of_columns = (PSI, FAULT)
        evidence["findings"] = [
            f
            for f in evidence["findings"]
            if f["name"] not in of_columns or f["slice"] not in personal
        ]
    at = datetime.fromisoformat(entry.time)
    return Event(at, entry.kind, entry.subject, _words(entry, evidence), evidence)


def _words(entry: Entry, evidence: Mapping[str, Any]) -> str:
    if entry.kind == "incident_opened":
        findings = evidence.get("findings", [])
        first = f"{_named(findings[0])}: {findings[0]['reason']}" if findings else ""
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        return f"{evidence.get('cause', '')}: {first}{more}"
    if entry.kind in ("accepted", "refused"):
        return f"by its gates: {_passed(evidence.get('verdict', {}))}"
    if entry.kind in (*_RELEASE, *_ENDS):
        stage = "" if entry.kind in _ENDS else evidence.get("stage", "")
        told = [stage, evidence.get("reason", "")]
        if entry.kind == "release_step":
            told.append(_passed(evidence.get("evidence", {})))
        return ": ".join(part for part in told if part)
    return str(evidence.get("note") or "")


def _named(finding: Mapping[str, Any]) -> str:
    return f"{finding['name']} {finding.get('slice', '')}".strip()


def _passed(verdict: Mapping[str, Any]) -> str:
    findings = verdict.get("findings", [])
    bad = [f for f in findings if f["outcome"] != "passed"]
    first = f"; {_named(bad[0])}: {bad[0]['reason']}" if bad else ""
    return f"{len(findings) - len(bad)} of {len(findings)} findings passed{first}"


def lanes(
    events: Sequence[Event],
    windows: Sequence[WindowRecord],
    axis: TimeAxis,
    colors: Mapping[str, str],
) -> dict[str, list[Mark | Stretch]]:
    """The loop from drift to healed, one lane a stage.

    Args:
        events: Of all time, oldest first: who is in service was decided before the span.
        windows: Of the span.
        axis: The span.
        colors: Of the versions.
    """
    found: dict[str, list[Mark | Stretch]] = {
        "drift": [mark for window in windows if (mark := _drift_mark(window)) is not None],
        "alarm": [],
        "retrained": [],
        "release": [*_steps(events, axis, colors)],
        "in service": [*_in_service(events, axis, colors)],
        "healed": [],
    }
    for event in events:
        if not axis.start <= event.at <= axis.end:
            continue
        told = f": {event.text}" if event.text else ""
        mark = Mark(event.at, event.color, f"{event.subject} {_said(event.kind)}{told}")
        if event.kind in _LANES:
            found[_LANES[event.kind]].append(mark)
        elif event.kind in _ENDS:
            found["release"].append(mark)
    return found


def _said(kind: str) -> str:
    return kind.replace("incident_", "").replace("_", " ")


def _drift_mark(window: WindowRecord) -> Mark | None:
    drifted = [f for f in window.findings if f.name == PSI and f.outcome == Outcome.FAILED]
    if not drifted:
        return None
    worst = max(drifted, key=lambda f: f.value or 0.0)
    more = f", and {len(drifted) - 1} more columns" if len(drifted) > 1 else ""
    return Mark(window.end, MIXED, f"{worst.slice}: {worst.reason}{more}")


def _steps(events: Sequence[Event], axis: TimeAxis, colors: Mapping[str, str]) -> list[Stretch]:
    """Each step of a release until the next entry about the same version, as high as its share."""
    found = []
    walked = [e for e in events if e.kind in (*_RELEASE, *_ENDS)]
    for i, event in enumerate(walked):
        if event.kind in _ENDS:
            continue
        after = (e.at for e in walked[i + 1 :] if e.subject == event.subject)
        until = next(after, axis.end)
        stage = str(event.evidence.get("stage", ""))
        share = re.search(r"(\d+) %", stage)
        if event.at < axis.end and until > axis.start:
            found.append(Stretch(event.at, until, colors.get(event.version, PLAIN),
                                 f"{event.version} {stage}",
                                 int(share[1]) / 100 if share else 0.08))  # fmt: skip
    return found


def _in_service(
    events: Sequence[Event], axis: TimeAxis, colors: Mapping[str, str]
) -> list[Stretch]:
    promoted = [e for e in events if e.kind in SERVES and e.at < axis.end]
    found = []
    for i, event in enumerate(promoted):
        until = promoted[i + 1].at if i + 1 < len(promoted) else axis.end
        if until > axis.start:
            found.append(Stretch(event.at, until, colors.get(event.version, PLAIN),
                                 f"{event.version} in service", name=event.version))  # fmt: skip
    return found
