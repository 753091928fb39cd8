"""When did a rate of errors rise? A sequential test that may look at every row.

Page's CUSUM (1954) on the log-likelihood ratio of two Bernoulli rates: ``base``, as it was, and
``ratio * base``, as it must not become. It adds up the evidence row by row, never below 0, and
alarms above a threshold. Of all tests that alarm as rarely without a change it has the shortest
worst delay (Moustakides 1986).

Without a change the expected number of rows to an alarm is at least
``(e^h - h - 1) / |mean step|`` for the threshold ``h`` (Siegmund 1985, 2.6, without the overshoot,
which makes it longer), so the threshold follows from the rate of false alarms that one accepts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from setpoint.domain.bounds import proportion_bounds
from setpoint.errors import DataError

RATIO = 2.0
"""A doubling is what must be found soonest."""
MOST_BASE = 0.9
"""From a base above it a rise cannot be told; the design rate is kept off 1."""


@dataclass(frozen=True)
class Cusum:
    """A test, and how far it is.

    Attributes:
        base: Rate of errors before, 0 to 1, exclusive.
        raised: The rate it is set against, above ``base``, below 1.
        threshold: Evidence above which it alarms, > 0.
        evidence: Log-likelihood ratio since ``since``, >= 0.
        rows: Rows seen.
        since: Row from which the evidence adds up, from 0: where a change began, if there is one.
        alarm_at: Row that raised the alarm; ``None`` while there is none. It stays.
    """

    base: float
    raised: float
    threshold: float
    evidence: float = 0.0
    rows: int = 0
    since: int = 0
    alarm_at: int | None = None

    @property
    def delay(self) -> float:
        """Rows in which a rise to ``raised`` is found, about; fewer say nothing (Wald)."""
        hit, miss = _steps(self.base, self.raised)
        return self.threshold / (self.raised * hit + (1 - self.raised) * miss)

    def after(self, errors: Any) -> Cusum:
        """The test after more rows; the same however they are cut into pieces.

        Args:
            errors: Whether each row was an error, in order, [n]; 0 or 1.

        Raises:
            DataError: A value is neither 0 nor 1.
        """
        x = np.asarray(errors, dtype=np.float64)
        if not np.isin(x, (0.0, 1.0)).all():
            raise DataError(
                "an error is neither 0 nor 1", where="errors", fix="leave out rows without a label"
            )
        if not len(x):
            return self
        hit, miss = _steps(self.base, self.raised)
        walk = self.evidence + np.cumsum(np.where(x == 1.0, hit, miss))
        # the walk kept above 0 is the walk less its lowest point so far, where that is under 0
        lowest = np.minimum(np.minimum.accumulate(walk), 0.0)
        evidence = walk - lowest
        zeros = np.flatnonzero(evidence <= 0.0)
        since = self.rows + int(zeros[-1]) + 1 if len(zeros) else self.since
        over = np.flatnonzero(evidence > self.threshold)
        if self.alarm_at is None and len(over):
            first = int(over[0])
            before = zeros[zeros < first]
            begun = self.rows + int(before[-1]) + 1 if len(before) else self.since
            return replace(
                self,
                evidence=float(evidence[-1]),
                rows=self.rows + len(x),
                since=begun,
                alarm_at=self.rows + first,
            )
        return replace(
            self,
            evidence=float(evidence[-1]),
            rows=self.rows + len(x),
            since=self.since if self.alarm_at is not None else since,
        )


def watch_errors(
    errors: int, rows: int, false_alarm_rows: float, ratio: float = RATIO, caution: float = 0.05
) -> Cusum:
    """A test of a rate that was seen before.

    The base is the upper bound of the rate that was seen, so that a base that came out low by
    chance does not alarm.

    Args:
        errors: Errors seen before.
        rows: Rows they were seen in, >= 1.
        false_alarm_rows: Expected rows between false alarms, at least, > 1.
        ratio: The rise that is to be found soonest, > 1.
        caution: Chance that the true rate is above the base.

    Raises:
        DataError: An argument is out of its range, or the base leaves no room for a rise.
    """
    if rows < 1 or not 0 <= errors <= rows or false_alarm_rows <= 1 or ratio <= 1:
        raise DataError(
            f"{errors} errors of {rows} rows, {false_alarm_rows:g} rows, ratio {ratio:g}",
            where="watch_errors",
            fix="give errors of at least one row, more than one row between alarms, a ratio over 1",
        )
    base = proportion_bounds(errors, rows, caution)[1]
    if base > MOST_BASE:
        raise DataError(
            f"of {rows} rows {errors} were errors: no rise can be told from that",
            where="watch_errors",
            fix="watch the rate of what went well, or gather more rows",
        )
    raised = min(ratio * base, (base + 1) / 2)
    return Cusum(base, raised, threshold(base, raised, false_alarm_rows))


def caught_up(
    test: Cusum,
    anew: Cusum,
    errors: Any,
    ripe: npt.NDArray[np.int64],
    now: int,
    *,
    told: int | None,
    stands: int,
    between: int,
) -> tuple[Cusum, int | None]:
    """A test after rows of which some may have waited long to be judged.

    An alarm is told at the look after its row is ripe and stands for a while; then the test begins
    anew with the rows that this look did not have. Rows that waited are taken as if they had not:
    an alarm of theirs that would be over stands no more, for nobody can act on it. Where the rise
    went on, the test that began anew finds it in the rows since.

    Args:
        test: As the rows before left it.
        anew: The test that begins where an alarm is over.
        errors: Whether each row was an error, in order of ``ripe``, [n]; 0 or 1.
        ripe: When each row could first be judged, microseconds, [n].
        now: The look, microseconds like the rest.
        told: When the alarm of ``test`` was told; ``None`` if it has none.
        stands: For how long an alarm stands, > 0.
        between: Time between two looks.

    Returns:
        The test, and when the alarm that stands was told, no later than ``now``; ``None`` if none
        stands.

    Raises:
        DataError: An error is neither 0 nor 1, or ``told`` and ``test`` contradict each other.
    """
    if (told is None) != (test.alarm_at is None):
        raise DataError(
            "an alarm without the time when it was told, or the reverse",
            where="caught_up",
            fix="keep both together",
        )
    rest = np.asarray(errors)
    while True:
        after = test.after(rest)
        if after.alarm_at is None:
            return after, None
        if told is None:
            told = min(int(ripe[after.alarm_at - test.rows]) + between, now)
        if now - told < stands:
            return after, told
        since = ripe >= told + stands - between
        rest, ripe, test, told = rest[since], ripe[since], anew, None


def rise_at(values: Any, least: int = 1) -> int:
    """Where a mean most likely rose: the split that explains most of the squares (Hinkley 1970).

    Args:
        values: In order of time, [n], n >= 2.
        least: Rows that both sides have at least, >= 1.

    Returns:
        The first row after the rise, ``least`` to ``n - least``; ``least`` where it never rose.

    Raises:
        DataError: There are too few rows for two sides.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if least < 1 or n < 2 * least:
        raise DataError(
            f"{n} rows for two sides of {least}",
            where="rise_at",
            fix="give two rows at least, and no more of them to a side than there are",
        )
    k = np.arange(least, n - least + 1)
    below = k * x.mean() - np.cumsum(x)[k - 1]
    rise = below / np.sqrt(k * (n - k))
    best = int(np.argmax(rise))
    # a constant leaves no more than what rounding does to the sums
    return int(k[best]) if rise[best] > 1e-9 * np.abs(x).max() else least


def threshold(base: float, raised: float, false_alarm_rows: float) -> float:
    """Evidence that is reached without a change once in ``false_alarm_rows`` rows, at most."""
    hit, miss = _steps(base, raised)
    drift = -(base * hit + (1 - base) * miss)
    target = false_alarm_rows * drift
    found = brentq(lambda h: math.exp(h) - h - 1 - target, 1e-9, 700.0)
    return float(found)


def _steps(base: float, raised: float) -> tuple[float, float]:
    return math.log(raised / base), math.log((1 - raised) / (1 - base))
