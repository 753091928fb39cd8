"""Incidents: findings of one cause, with a lifecycle.

``open → responding → resolved``; ``open → watching → resolved`` where nothing is to be done but
look; any of them ``→ needs_person``, which only a person ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from setpoint.domain.faults import FAULT
from setpoint.domain.findings import Finding, Outcome
from setpoint.errors import StateError


class Cause(StrEnum):
    """What the findings of an incident have in common."""

    PERFORMANCE = "performance"
    DRIFT = "drift"
    FAULT = "fault"
    ESTIMATE = "estimate"
    FAIRNESS = "fairness"
    SKEW = "skew"
    COVERAGE = "coverage"
    UNUSUAL = "unusual"
    MONITORING = "monitoring"
    EXTRACTION = "extraction"


CAUSES = {
    FAULT: Cause.FAULT,
    "psi": Cause.DRIFT,
    "domain_classifier": Cause.DRIFT,
    "estimated": Cause.ESTIMATE,
    "fairness": Cause.FAIRNESS,
    "skew": Cause.SKEW,
    "label_coverage": Cause.COVERAGE,
    "label_times": Cause.COVERAGE,
    "unusual": Cause.UNUSUAL,
    "misses": Cause.UNUSUAL,
    "heartbeat": Cause.MONITORING,
    "extraction": Cause.EXTRACTION,
    "window_age": Cause.MONITORING,
}
"""By the name of a finding, or its first word; all others are about performance."""


def cause_of(finding: Finding) -> Cause:
    """What a failed finding is a sign of."""
    first = finding.name.partition("_")[0]
    return CAUSES.get(finding.name) or CAUSES.get(first) or Cause.PERFORMANCE


class Severity(StrEnum):
    """How urgent: ``high`` starts a response, ``low`` is watched."""

    LOW = "low"
    HIGH = "high"


class Status(StrEnum):
    """Where an incident is in its life."""

    OPEN = "open"
    WATCHING = "watching"
    RESPONDING = "responding"
    RESOLVED = "resolved"
    NEEDS_PERSON = "needs_person"


def worse(one: Severity, other: Severity) -> Severity:
    """The more urgent of two."""
    return Severity.HIGH if Severity.HIGH in (one, other) else Severity.LOW


@dataclass(frozen=True)
class Attention:
    """Who looks after an incident, and how far up it has climbed.

    Attributes:
        turn: How often there was reason to say anew what is the matter; 0 since it was opened.
        level: Level of escalation in this turn, from 0.
        since: Wall time at which that level began; ``None`` until it is to be told.
        acknowledged_by: Who said to look after it; empty for nobody.
        acknowledged_at: Event time at which that was said.
        snoozed_by: Who asked for silence; empty for nobody.
        snoozed_until: Event time until which it is silent.
        settled: Whether its end was told to all who are to know.
    """

    turn: int = 0
    level: int = 0
    since: datetime | None = None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    snoozed_by: str = ""
    snoozed_until: datetime | None = None
    settled: bool = False

    def anew(self) -> Attention:
        """It is worse, or a snooze is over: it is told as at first, and nobody looks after it."""
        return Attention(turn=self.turn + 1)

    def moved(self, status: Status) -> Attention:
        """What becomes of it where the incident moves: a person's word holds until it is worse."""
        if status == Status.NEEDS_PERSON:
            return self.anew()
        if status == Status.RESOLVED:
            return replace(self, snoozed_by="", snoozed_until=None)
        return self


ALLOWED = {
    Status.OPEN: {Status.RESPONDING, Status.RESOLVED, Status.NEEDS_PERSON},
    Status.WATCHING: {Status.RESPONDING, Status.RESOLVED, Status.NEEDS_PERSON},
    Status.RESPONDING: {Status.RESOLVED, Status.NEEDS_PERSON, Status.OPEN},
    Status.NEEDS_PERSON: {Status.RESOLVED, Status.OPEN},
    Status.RESOLVED: set(),
}


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        id: ``<project>-<number>``.
        cause: What its findings have in common.
        severity: How urgent.
        status: Where it is in its life.
        opened_at: Event time of the window that opened it.
        version: Model version in service when it was opened.
        findings: The evidence, newest window.
        note: What was done about it, one sentence.
        closed_at: Event time at which it was resolved.
        taken_by: Id of the run that responds.
        headlines: First-level triage, three to five lines (``triage.headlines``).
        attention: Who looks after it, and how far up it has climbed.
    """

    id: str
    cause: Cause
    severity: Severity
    status: Status
    opened_at: datetime
    version: str
    findings: tuple[Finding, ...]
    note: str = ""
    closed_at: datetime | None = None
    taken_by: str = ""
    headlines: tuple[str, ...] = ()
    attention: Attention = Attention()

    @property
    def is_open(self) -> bool:
        """Whether it is not resolved."""
        return self.status != Status.RESOLVED

    @property
    def stops_training(self) -> bool:
        """Whether nothing but its answer is trained while it is open."""
        return self.cause == Cause.FAULT or self.status in (Status.OPEN, Status.RESPONDING)

    def move(self, status: Status, *, note: str = "", at: datetime | None = None) -> Incident:
        """The incident in its next status.

        Raises:
            StateError: ``status`` does not follow from the present one.
        """
        if status not in ALLOWED[self.status]:
            allowed = ", ".join(sorted(ALLOWED[self.status])) or "nothing"
            raise StateError(
                f"incident {self.id} cannot go from {self.status} to {status}",
                where="incidents",
                fix=f"from {self.status} it can go to: {allowed}",
            )
        closed = at if status == Status.RESOLVED else None
        return replace(
            self,
            status=status,
            note=note or self.note,
            closed_at=closed,
            attention=self.attention.moved(status),
        )

    def renewed(self, fresh: Incident) -> Incident:
        """This incident with the evidence of a newer window, and its severity if that is worse."""
        severity = worse(self.severity, fresh.severity)
        return replace(
            self,
            severity=severity,
            findings=fresh.findings,
            headlines=fresh.headlines,
            attention=self.attention if severity == self.severity else self.attention.anew(),
        )


@dataclass(frozen=True)
class Policy:
    """What each cause leads to, and how often.

    ``retrain``, ``roll_back`` and ``fall_back`` start a response, ``watch`` and ``watch_closer``
    look on (as often as ever, or more often), ``ask`` asks a person, ``nothing`` opens no incident.

    Attributes:
        actions: By cause.
        cooldown: Event time between responses, at least.
    """

    actions: Mapping[Cause, str]
    cooldown: timedelta

    def action(self, cause: Cause) -> str:
        """What is done about a cause; broken data, silence and copying are for a person."""
        return "ask" if cause in ALWAYS_ASK else self.actions[cause]

    def pause(self, incidents: Iterable[Incident], every: timedelta) -> timedelta:
        """Event time until the next look, less while something is watched closer.

        Args:
            incidents: All that are open.
            every: Event time between looks otherwise.
        """
        watched = (one.cause for one in incidents if one.status == Status.WATCHING)
        closer = any(self.action(cause) == "watch_closer" for cause in watched)
        return every / CLOSER if closer else every


ALWAYS_ASK = frozenset({Cause.FAULT, Cause.SKEW, Cause.MONITORING, Cause.EXTRACTION})
CLOSER = 4
"""So many times as often is looked while something is watched closer."""


def group(findings: Sequence[Finding]) -> dict[Cause, tuple[Finding, ...]]:
    """Failed findings by cause; a hundred drifting features are one cause.

    Where data are broken that is the one cause: what else fails is likely to follow from it, and
    must not be retrained on.

    Args:
        findings: All findings of a window.
    """
    failed = [f for f in findings if f.outcome == Outcome.FAILED]
    faults = tuple(f for f in failed if f.name == FAULT)
    if faults:
        return {Cause.FAULT: (*faults, *(f for f in failed if f.name != FAULT))}
    grouped: dict[Cause, tuple[Finding, ...]] = {}
    for finding in failed:
        cause = cause_of(finding)
        grouped[cause] = (*grouped.get(cause, ()), finding)
    return grouped


def opening(action: str) -> tuple[Severity, Status]:
    """Severity and first status of an incident whose policy is ``action``, not ``nothing``."""
    if action in ("retrain", "roll_back", "fall_back"):
        return Severity.HIGH, Status.OPEN
    if action == "ask":
        return Severity.HIGH, Status.NEEDS_PERSON
    return Severity.LOW, Status.WATCHING


def cooling(policy: Policy, last_response: datetime | None, now: datetime) -> bool:
    """Whether the last response is so recent that another one has to wait."""
    return last_response is not None and now - last_response < policy.cooldown
