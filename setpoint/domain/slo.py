"""Service-level objectives: error budgets and how fast they burn; and the budget of model quality.

Alerting on several burn rates, each over a long and a short window, is that of the Site
Reliability Workbook (Google 2018), chapter 5. The rules of Prometheus in ``infra/compose`` hold the
same numbers; a test reads both.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from setpoint.domain.features import duration_label
from setpoint.domain.outcome import Direction, Finding, Outcome, Verdict, not_measured
from setpoint.domain.windows import WindowRecord
from setpoint.errors import DataError

SLOW_SECONDS = 0.05
"""An answer that takes longer is bad for the objective of latency."""
MIN_BAD = 5
"""A window is judged where a burn at the alert's rate would show as many bad answers: with fewer,
one answer more or less decides."""
FULL = 0.8
"""Share of a resource from which it is saturated: queues grow without bound towards 1."""
QUALITY_BUDGET = "quality_budget"
_CEILING: Direction = "ceiling"
_NEITHER: Direction = ""


@dataclass(frozen=True)
class Slo:
    """What share of the answers must be good.

    Attributes:
        name: ``availability``, ``latency``.
        objective: That share, above 0 and below 1.
        period: Time over which it is promised.

    Raises:
        DataError: Objective or period is impossible.
    """

    name: str
    objective: float
    period: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        if not 0 < self.objective < 1 or self.period <= timedelta(0):
            raise DataError(
                f"an objective of {self.objective} over {self.period} leaves no error budget",
                where=self.name,
                fix="promise a share above 0 and below 1 over a period of some length",
            )

    @property
    def allowed(self) -> float:
        """Share of the answers that may be bad; rounded, since 1 - .999 is not .001."""
        return round(1 - self.objective, 12)


AVAILABILITY = Slo("availability", 0.999)
"""Bad is an answer with 5xx; what the client did wrong, 4xx, is no answer at all."""
LATENCY = Slo("latency", 0.99)
"""Bad is an answer after ``SLOW_SECONDS``: a 99th percentile of at most 50 ms, as a share."""


@dataclass(frozen=True)
class Answers:
    """Answers of a time window.

    Raises:
        DataError: There are more bad ones than answers, or fewer than none.
    """

    bad: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.total:
            raise DataError(
                f"{self.bad} bad answers of {self.total}",
                where="answers",
                fix="count bad answers among the answers: 0 <= bad <= total",
            )


@dataclass(frozen=True)
class BurnAlert:
    """A burn rate that is told of while both windows show it.

    The long window is the evidence; the short one ends the alert soon after the cause has ended.

    Attributes:
        severity: ``page`` wakes a person, ``ticket`` waits for one.
        rate: Times the rate that spends the budget exactly within the period.
        long: Length of the long window.
        short: Length of the short window.
    """

    severity: Literal["page", "ticket"]
    rate: float
    long: timedelta
    short: timedelta


BURN_ALERTS = (
    BurnAlert("page", 14.4, timedelta(hours=1), timedelta(minutes=5)),
    BurnAlert("page", 6.0, timedelta(hours=6), timedelta(minutes=30)),
    BurnAlert("ticket", 1.0, timedelta(days=3), timedelta(hours=6)),
)
"""They spend 2, 5 and 10 % of a budget of 30 days within their long window."""


def burn_rate(slo: Slo, answers: Answers) -> float | None:
    """Bad share over the allowed share: 1 spends the budget exactly within the period.

    Returns:
        0 to ``1 / slo.allowed``; ``None`` where nothing was answered.
    """
    return answers.bad / answers.total / slo.allowed if answers.total else None


def least_answers(slo: Slo, rate: float) -> int:
    """Answers of which ``MIN_BAD`` are bad at that burn rate."""
    return math.ceil(MIN_BAD / (rate * slo.allowed))


def budget_left(slo: Slo, period: Answers) -> Finding:
    """Share of the error budget that is left at the end of a period.

    Args:
        slo: The objective.
        period: Answers of the whole period.

    Returns:
        Failed if more than the budget is spent (under 0), passed otherwise; inconclusive where
        the budget is less than ``MIN_BAD`` answers. At most 1.
    """
    name, needed = f"{slo.name}_budget", least_answers(slo, 1.0)
    burnt = burn_rate(slo, period)
    left = None if burnt is None else 1 - burnt
    if left is None or period.total < needed:
        outcome, reason = Outcome.INCONCLUSIVE, f"{period.total} answers, {needed} needed"
    else:
        outcome = Outcome.FAILED if left < 0 else Outcome.PASSED
        reason = f"{period.bad} bad of {period.total}, {slo.allowed * period.total:.0f} allowed"
    return Finding(name, outcome, left, 0.0, "floor", period.total, None, reason)


def burn_finding(slo: Slo, alert: BurnAlert, long: Answers, short: Answers) -> Finding:
    """Whether a budget burns faster than an alert's rate, in its long and its short window.

    Args:
        slo: The objective.
        alert: Rate and windows.
        long: Answers of the long window.
        short: Those of its newest part, the short window.

    Returns:
        Failed if both burn faster than ``alert.rate``, passed if one does not; inconclusive where
        the long window has fewer answers than ``least_answers``, or burns while the short one has
        none. The value is the slower burn, the sample the answers of the long window.

    Raises:
        DataError: The short window holds more than the long one.
    """
    if short.total > long.total or short.bad > long.bad:
        raise DataError(
            f"{short} of the short window are not among {long} of the long one",
            where=slo.name,
            fix="count both up to the same moment",
        )
    rates = [r for r in (burn_rate(slo, long), burn_rate(slo, short)) if r is not None]
    value = min(rates, default=None)
    words = f"{duration_label(_seconds(alert.long))} and {duration_label(_seconds(alert.short))}"
    needed = least_answers(slo, alert.rate)
    if value is None or long.total < needed:
        outcome, reason = Outcome.INCONCLUSIVE, f"{long.total} answers, {needed} needed"
    elif value <= alert.rate:
        outcome, reason = Outcome.PASSED, f"burns {value:.3g} times over {words}"
    elif short.total == 0:
        outcome, reason = Outcome.INCONCLUSIVE, f"burns {value:.3g} times, now nothing is asked"
    else:
        outcome, reason = Outcome.FAILED, f"burns {value:.3g} times over {words}: {alert.severity}"
    where = f"window={duration_label(_seconds(alert.long))}"
    return Finding(
        f"{slo.name}_burn",
        outcome,
        value,
        alert.rate,
        "ceiling",
        long.total,
        None,
        reason,
        slice=where,
    )


def _seconds(length: timedelta) -> int:
    return int(length.total_seconds())


def burn_findings(
    slo: Slo, answers: Mapping[timedelta, Answers]
) -> list[tuple[BurnAlert, Finding]]:
    """Every alert of ``BURN_ALERTS`` with its finding; a window that nobody counted is an error.

    Args:
        slo: The objective.
        answers: By length of the window that ends now.

    Raises:
        DataError: A short window holds more than a long one.
    """
    found = []
    for alert in BURN_ALERTS:
        long, short = answers.get(alert.long), answers.get(alert.short)
        if long is None or short is None:
            gone = duration_label(_seconds(alert.long if long is None else alert.short))
            finding = not_measured(f"{slo.name}_burn", f"nobody counted the newest {gone}")
        else:
            finding = burn_finding(slo, alert, long, short)
        found.append((alert, finding))
    return found


def saturation_finding(resource: str, used: float, limit: float, *, sample: int) -> Finding:
    """Whether a resource has room.

    Args:
        resource: ``cpu``, ``files``.
        used: What is used of it, in the unit of ``limit``.
        limit: All there is of it.
        sample: Measurements that ``used`` rests on; without one it is inconclusive.

    Returns:
        Failed above ``FULL`` of the limit; an error where there is no such limit.
    """
    name = f"{resource}_saturation"
    if not (math.isfinite(used) and used >= 0 and math.isfinite(limit) and limit > 0):
        return not_measured(name, f"{used:g} of {limit:g} is no share")
    share = used / limit
    outcome = Outcome.FAILED if share > FULL else Outcome.PASSED
    reason = f"{used:.4g} of {limit:.4g} is used"
    if sample < 1:
        outcome, reason = Outcome.INCONCLUSIVE, "it was not measured once"
    return Finding(name, outcome, share, FULL, "ceiling", sample, None, reason)


def window_outcome(window: WindowRecord, setpoints: Collection[str]) -> Outcome:
    """How a window stood to the setpoints: the worst of them; without any it is inconclusive."""
    return Verdict(tuple(f for f in window.findings if f.name in setpoints and not f.slice)).outcome


def quality_budget(
    outcomes: Sequence[Outcome], *, windows: int, failed: int, spared: str = ""
) -> Finding:
    """Whether the model broke its setpoints so often that nothing but a cure may be promoted.

    It freezes on proof: a window that could not be judged spends nothing. Windows that overlap
    fail together, so one breach spends about as many as overlap.

    Args:
        outcomes: How each window stood to the setpoints, oldest first.
        windows: How many of the newest count, 1 or more.
        failed: How many of these may fail, 0 to ``windows``.
        spared: Why a spent budget is not held against this candidate; empty if it is.

    Returns:
        Failed if more than ``failed`` windows failed, passed otherwise; inconclusive where no
        window could be judged. The value is the number that failed, the sample those judged. Of
        a candidate that is spared the setpoint stands beside the value without a direction.

    Raises:
        DataError: The budget is impossible.
    """
    if windows < 1 or not 0 <= failed <= windows:
        raise DataError(
            f"{failed} of {windows} windows may fail",
            where=QUALITY_BUDGET,
            fix="let 0 to all of 1 or more windows fail",
        )
    recent = outcomes[-windows:]
    judged = [o for o in recent if o in (Outcome.PASSED, Outcome.FAILED)]
    if not judged:
        reason = f"none of {len(recent)} windows could be judged"
        return not_measured(QUALITY_BUDGET, reason, outcome=Outcome.INCONCLUSIVE)
    lost = judged.count(Outcome.FAILED)
    reason = f"{lost} of the last {len(recent)} windows failed a setpoint, {failed} may"
    if len(judged) < len(recent):
        reason += f"; {len(recent) - len(judged)} could not be judged"
    outcome, direction = Outcome.PASSED, _CEILING
    if lost > failed:
        outcome, direction = (Outcome.PASSED, _NEITHER) if spared else (Outcome.FAILED, _CEILING)
        reason = f"spent: {reason}" + (f"; not held against it: {spared}" if spared else "")
    return Finding(
        QUALITY_BUDGET, outcome, float(lost), float(failed), direction, len(judged), None, reason
    )
