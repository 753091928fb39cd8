"""Findings: a measured value beside its setpoint, with sample size, error rate and outcome.

Two readings of the same one-sided bounds (exact, Clopper-Pearson):

* a **gate** (``check_*``) opens only on proof: passed if even the pessimistic bound holds the
  setpoint, failed if even the optimistic one does not, else inconclusive;
* a **watch** (``watch_*``) alarms only on proof: failed if even the optimistic bound does not
  hold the setpoint, passed otherwise where the sample is large enough, else inconclusive.

An error rate is one-sided: the chance that a true value exactly at the setpoint passes a gate, or
fails a watch. Rows are taken to be independent.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from setpoint.domain.bounds import (
    FloatArray,
    check_error_rate,
    effective_rows,
    mean_bounds,
    proportion_bounds,
)
from setpoint.domain.outcome import Direction, Finding, Outcome, Verdict, not_measured
from setpoint.errors import DataError

__all__ = [
    "MIN_EFFECTIVE",
    "MIN_LOSING",
    "Direction",
    "Finding",
    "Outcome",
    "Verdict",
    "check_ceiling",
    "check_floor",
    "check_mean_difference",
    "check_value",
    "effective_rows",
    "mean_bounds",
    "not_measured",
    "proportion_bounds",
    "too_thin",
    "watch_ceiling",
    "watch_floor",
]

MIN_EFFECTIVE = 20.0
"""A mean that fewer effective rows than this carry is not judged: no bound of it can be trusted."""

MIN_LOSING = 20.0
"""Likewise for the losses alone, where they make up more than a tenth of the gains."""


def check_value(
    name: str,
    value: float | None,
    setpoint: float,
    direction: Literal["floor", "ceiling"],
    *,
    sample: int,
    min_sample: int = 1,
    slice: str = "",
) -> Finding:
    """Compare a value that has no sampling error of its own (a latency budget, a size).

    Args:
        name: What was measured.
        value: The value; ``None`` or NaN is an error finding.
        setpoint: What it must hold, in the unit of ``value``; reached exactly counts as held.
        direction: ``floor`` or ``ceiling``.
        sample: Rows it rests on.
        min_sample: Fewer rows are inconclusive.
        slice: The part of the rows.
    """
    if value is None or math.isnan(value):
        return not_measured(name, "there is no value", slice=slice)
    held = value >= setpoint if direction == "floor" else value <= setpoint
    outcome = Outcome.PASSED if held else Outcome.FAILED
    word = "holds" if held else "does not hold"
    reason = f"{value:.4g} {word} the {direction} {setpoint:.4g}"
    if sample < min_sample:
        outcome, reason = Outcome.INCONCLUSIVE, f"{sample} rows, {min_sample} needed"
    return Finding(name, outcome, value, setpoint, direction, sample, None, reason, slice=slice)


def _proportion(
    name: str,
    counts: tuple[int, int],
    setpoint: float,
    direction: Literal["floor", "ceiling"],
    rules: tuple[float, int, bool],
    slice: str,
) -> Finding:
    successes, n = counts
    error_rate, min_sample, watching = rules
    low, high = proportion_bounds(successes, n, error_rate)
    value = successes / n if n else None
    outcome = _judge(low, high, setpoint, direction)
    if watching and outcome == Outcome.INCONCLUSIVE:
        outcome = Outcome.PASSED
    side = f"bounds {low:.4g} to {high:.4g} against the {direction} {setpoint:.4g}"
    reason = {
        Outcome.PASSED: f"holds: {side}" if not watching else f"no proof of a breach: {side}",
        Outcome.FAILED: f"broken: {side}",
    }.get(outcome, f"cannot tell: {side}")
    if n < max(min_sample, 1):
        outcome, reason = Outcome.INCONCLUSIVE, f"{n} rows, {max(min_sample, 1)} needed"
    return Finding(
        name, outcome, value, setpoint, direction, n, error_rate, reason, (low, high), slice
    )


def _judge(low: float, high: float, setpoint: float, direction: str) -> Outcome:
    if direction == "floor":
        holds, broken = low >= setpoint, high < setpoint
    else:
        holds, broken = high <= setpoint, low > setpoint
    if holds:
        return Outcome.PASSED
    return Outcome.FAILED if broken else Outcome.INCONCLUSIVE


def check_floor(
    name: str,
    successes: int,
    n: int,
    floor: float,
    error_rate: float = 0.05,
    min_sample: int = 30,
    *,
    slice: str = "",
) -> Finding:
    """Gate: is a proportion at least ``floor``?

    Args:
        name: What was measured.
        successes: Rows that count for it.
        n: Rows in all.
        floor: Proportion required, 0 to 1.
        error_rate: Chance that a proportion just under the floor passes; one-sided.
        min_sample: Fewer rows are inconclusive whatever they show.
        slice: The part of the rows.

    Returns:
        Passed if the lower bound is at or above the floor, failed if the upper bound is under
        it, else inconclusive.

    Raises:
        DataError: Counts or error rate are impossible.
    """
    rules = (error_rate, min_sample, False)
    return _proportion(name, (successes, n), floor, "floor", rules, slice)


def check_ceiling(
    name: str,
    successes: int,
    n: int,
    ceiling: float,
    error_rate: float = 0.05,
    min_sample: int = 30,
    *,
    slice: str = "",
) -> Finding:
    """Gate: is a proportion at most ``ceiling``? The mirror image of ``check_floor``.

    Raises:
        DataError: Counts or error rate are impossible.
    """
    rules = (error_rate, min_sample, False)
    return _proportion(name, (successes, n), ceiling, "ceiling", rules, slice)


def watch_floor(
    name: str,
    successes: int,
    n: int,
    floor: float,
    error_rate: float = 0.05,
    min_sample: int = 30,
    *,
    slice: str = "",
) -> Finding:
    """Watch: has a proportion fallen under ``floor``?

    Arguments as for ``check_floor``; ``error_rate`` is the chance of a false alarm.

    Returns:
        Failed if the upper bound is under the floor, passed otherwise; inconclusive under
        ``min_sample`` rows.

    Raises:
        DataError: Counts or error rate are impossible.
    """
    rules = (error_rate, min_sample, True)
    return _proportion(name, (successes, n), floor, "floor", rules, slice)


def watch_ceiling(
    name: str,
    successes: int,
    n: int,
    ceiling: float,
    error_rate: float = 0.05,
    min_sample: int = 30,
    *,
    slice: str = "",
) -> Finding:
    """Watch: has a proportion risen above ``ceiling``? The mirror image of ``watch_floor``.

    Raises:
        DataError: Counts or error rate are impossible.
    """
    rules = (error_rate, min_sample, True)
    return _proportion(name, (successes, n), ceiling, "ceiling", rules, slice)


def check_mean_difference(
    name: str,
    differences: FloatArray,
    *,
    margin: float = 0.0,
    error_rate: float = 0.01,
    min_sample: int = 200,
    seed: int = 0,
    slice: str = "",
) -> Finding:
    """Gate: is the mean of paired differences above ``margin``?

    For a challenger against the champion on the same rows, a difference is the champion's cost
    of a row minus the challenger's: positive is an improvement. ``mean_bounds`` gives the bounds.
    What few rows carry cannot be bounded and is inconclusive: a mean with fewer than
    ``MIN_EFFECTIVE`` effective rows, or material losses with fewer than ``MIN_LOSING`` (see
    ``effective_rows``).

    Args:
        name: What was measured.
        differences: One finite number a row, in the unit of ``margin``.
        margin: Improvement that must be exceeded.
        error_rate: Chance that an equal challenger passes; one-sided.
        min_sample: Fewer rows are inconclusive.
        seed: Without effect: the bounds need no resampling and are the same for every seed.
        slice: The part of the rows.

    Returns:
        Passed if the lower bound is above ``margin``, failed if the upper bound is at or under
        it, else inconclusive. The value is the mean difference a row.

    Raises:
        DataError: A difference is not finite, or the error rate is impossible.
    """
    check_error_rate(error_rate)
    values = np.asarray(differences, dtype=np.float64).ravel()
    _check_finite(name, values)
    n = len(values)
    mean = float(values.mean()) if n else None
    unseen = too_thin(values, max(min_sample, 2))
    if unseen:
        return Finding(
            name, Outcome.INCONCLUSIVE, mean, margin, "floor", n, error_rate, unseen, slice=slice
        )
    low, high = mean_bounds(values, error_rate)
    side = f"bounds {low:.4g} to {high:.4g} against {margin:.4g}"
    if low > margin:
        outcome, reason = Outcome.PASSED, f"better: {side}"
    elif high <= margin:
        outcome, reason = Outcome.FAILED, f"not better: {side}"
    else:
        outcome, reason = Outcome.INCONCLUSIVE, f"cannot tell: {side}"
    return Finding(name, outcome, mean, margin, "floor", n, error_rate, reason, (low, high), slice)


def _check_finite(name: str, values: FloatArray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"{int((~finite).sum())} differences are not finite, the first is row {row}: "
            f"{values[row]}",
            where=name,
            fix="compare only rows that both models scored and whose cost is known",
        )


def too_thin(values: FloatArray, needed: int) -> str:
    """Why a mean of these values cannot be bounded; empty if it can.

    Args:
        values: Finite numbers, [n].
        needed: Rows needed.
    """
    if len(values) < needed:
        return f"{len(values)} rows, {needed} needed"
    carried = effective_rows(values)
    if carried < MIN_EFFECTIVE:
        return f"the mean is carried by {carried:.1f} effective rows, {MIN_EFFECTIVE:g} needed"
    losses = np.minimum(values, 0.0)
    losing = effective_rows(losses)
    # Many small gains against rare large losses: with few losses seen, more are likely unseen.
    material = -10 * float(losses.sum()) > float(np.maximum(values, 0.0).sum())
    if material and losing < MIN_LOSING:
        return f"the losses are carried by {losing:.1f} effective rows, {MIN_LOSING:g} needed"
    return ""
