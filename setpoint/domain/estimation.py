"""How good is the model, before the labels are in? Estimated from its own calibrated scores.

A calibrated score ``p`` says that of the rows scored so a share ``p`` is positive. So each row
counts as ``p`` of a positive and ``1 - p`` of a negative one, and every metric of counts can be
written down without a label (confidence-based performance estimation, CBPE: Białek et al. 2024,
arXiv 2401.08348).

It sees what moves the inputs alone. Where the meaning of the inputs changes (concept drift), or
the share of positives by itself, scores are no longer calibrated and the estimate goes on saying
that all is well. ``calibration`` holds scores against the labels that have arrived; where that is
not passed, an estimate is inconclusive, whatever its value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from setpoint.domain.bounds import check_error_rate
from setpoint.domain.metrics import CostArrays
from setpoint.domain.outcome import Finding, Outcome, Verdict, not_measured
from setpoint.errors import DataError

Floats = NDArray[np.float64]

MIN_EXPECTED = 5.0
"""Expected positives, and negatives, under which nothing is estimated or tested: the normal
approximation is not to be trusted below."""
MIN_CHUNKS = 5
"""Chunks of the reference that limits need."""


@dataclass(frozen=True)
class Estimates:
    """Expected metrics of a window; NaN where there is nothing to divide by.

    Attributes:
        sample: Rows.
        positives: Expected positives.
        roc_auc: Area under the ROC curve, 0 to 1.
        recall: Share of positives that are acted on, 0 to 1.
        precision: Share of positives among those acted on, 0 to 1.
        alert_rate: Share acted on, 0 to 1; known, not estimated.
        cost: Money in all, of the costs given; NaN without.
    """

    sample: int
    positives: float
    roc_auc: float
    recall: float
    precision: float
    alert_rate: float
    cost: float


def estimate(score: Any, acted: Any, costs: CostArrays | None = None) -> Estimates:
    """Expected metrics of a window without labels.

    Args:
        score: Calibrated probabilities of the positive class, [n], 0 to 1.
        acted: Whether each row was acted on as positive, [n].
        costs: What each row costs, by action and truth, [n].

    Raises:
        DataError: A score is no probability, or the lengths differ.
    """
    return estimate_parts([(score, acted, costs)])


def estimate_parts(parts: Iterable[tuple[Any, Any, CostArrays | None]]) -> Estimates:
    """The same of a window in parts: of each row the score is kept alone, for the ROC curve.

    Args:
        parts: Score, action and costs of its rows, as ``estimate`` takes them.

    Raises:
        DataError: A score is no probability, or the lengths differ.
    """
    scores, hits, alerts, cost = [np.zeros(0)], 0.0, 0, 0.0
    for score, acted, costs in parts:
        part, flag = _probabilities(score), np.asarray(acted, dtype=bool)
        if len(flag) != len(part):
            raise DataError(
                f"{len(flag)} actions for {len(part)} scores",
                where="acted",
                fix="give one action for each score",
            )
        scores.append(part)
        hits += float(part[flag].sum())
        alerts += int(flag.sum())
        cost += math.nan if costs is None else _cost(part, flag, costs)
    p = np.concatenate(scores)
    positives = float(p.sum())
    return Estimates(
        sample=len(p),
        positives=positives,
        roc_auc=_roc_auc(p),
        recall=hits / positives if positives else math.nan,
        precision=hits / alerts if alerts else math.nan,
        alert_rate=alerts / len(p) if len(p) else math.nan,
        cost=cost,
    )


def limits(
    reference: Sequence[float], error_rate: float, smaller: float = 1.0
) -> tuple[float, float]:
    """Between which values the next chunk's estimate lies if nothing has changed.

    A two-sided prediction interval of Student's t (e.g. Hahn & Meeker, Statistical Intervals,
    4.8) from the estimates of chunks of the reference.

    Args:
        reference: Estimates of at least ``MIN_CHUNKS`` chunks.
        error_rate: Chance that the next one lies outside, both sides together.
        smaller: How many times smaller the window is than a chunk; its estimate spreads wider by
            the root of that. For a larger window nothing is narrowed: what moves from chunk to
            chunk need not be chance.

    Raises:
        DataError: There are too few chunks, or one has no estimate.
    """
    check_error_rate(error_rate)
    values = np.asarray(reference, dtype=np.float64)
    if len(values) < MIN_CHUNKS or not np.isfinite(values).all():
        raise DataError(
            f"{int(np.isfinite(values).sum())} reference chunks have an estimate",
            where="reference",
            fix=f"give at least {MIN_CHUNKS} chunks, each with positives and negatives",
        )
    n = len(values)
    reach = float(-stdtrit(n - 1, error_rate / 2)) * float(values.std(ddof=1))
    middle = float(values.mean())
    reach *= math.sqrt(max(smaller, 1.0) + 1 / n)
    return middle - reach, middle + reach


def calibration(score: Any, label: Any, error_rate: float = 0.01, *, slice: str = "") -> Verdict:
    """Do scores still mean what they say, by the labels that have arrived?

    Two tests, each two-sided at half the error rate: whether as many rows are positive as the
    scores add up to, and Spiegelhalter's z (1986), whether the errors are as large as they say.

    Args:
        score: Probabilities, [n].
        label: 0 or 1, [n]: matured labels of an unselected sample, or the verdict is about
            whatever selected them.
        error_rate: Chance that calibrated scores fail.
        slice: The part of the rows.

    Returns:
        Findings ``calibration_in_the_large`` and ``calibration_spread``.

    Raises:
        DataError: A score is no probability, a label neither 0 nor 1, or the lengths differ.
    """
    check_error_rate(error_rate)
    p = _probabilities(score)
    y = np.asarray(label, dtype=np.float64)
    if len(y) != len(p) or not np.isin(y, (0.0, 1.0)).all():
        raise DataError(
            f"{len(y)} labels for {len(p)} scores, or one that is neither 0 nor 1",
            where="label",
            fix="give 0 or 1 for each score; leave out rows without a label",
        )
    spread = p * (1 - p)
    tilt = 1 - 2 * p
    tests = (
        ("calibration_in_the_large", np.ones_like(p)),
        ("calibration_spread", tilt),
    )
    return Verdict(
        tuple(
            _calibrated(name, float((w * (y - p)).sum()), float((w * w * spread).sum()), p,
                        error_rate / 2, slice)
            for name, w in tests
        )
    )  # fmt: skip


def judge_estimate(
    name: str,
    value: float,
    sample: int,
    inside: tuple[float, float],
    error_rate: float,
    trust: Verdict | None,
    *,
    higher_is_better: bool = True,
    slice: str = "",
) -> Finding:
    """Is an estimate where it was on the reference?

    Args:
        name: Metric.
        value: Estimate of the window.
        sample: Its rows.
        inside: From ``limits`` with the same error rate.
        error_rate: Chance of leaving ``inside`` on either side without a change.
        trust: From ``calibration``; without, or not passed, nothing is proven.
        higher_is_better: Which side is a loss; the other one is no failure.
        slice: The part of the rows.
    """
    if math.isnan(value):
        return not_measured(f"estimated_{name}", "nothing to estimate it from", slice=slice)
    low, high = inside
    bound = low if higher_is_better else high
    lost = value < low if higher_is_better else value > high
    outcome = Outcome.FAILED if lost else Outcome.PASSED
    reason = f"{value:.4g} is {'outside' if lost else 'within'} {low:.4g} to {high:.4g}"
    if trust is None or trust.outcome != Outcome.PASSED:
        why = "no labels to hold the scores against" if trust is None else "the scores are not"
        why += "" if trust is None else " proven to be calibrated: labels must decide"
        outcome, reason = Outcome.INCONCLUSIVE, f"not to be trusted: {why} ({reason})"
    return Finding(
        f"estimated_{name}",
        outcome,
        value,
        bound,
        "floor" if higher_is_better else "ceiling",
        sample,
        error_rate / 2,
        reason,
        slice=slice,
    )


def _calibrated(
    name: str, excess: float, variance: float, p: Floats, error_rate: float, slice: str
) -> Finding:
    expected = min(float(p.sum()), float((1 - p).sum()))
    limit = float(-ndtri(error_rate / 2))
    if expected < MIN_EXPECTED or variance <= 0:
        reason = f"{expected:.1f} expected of the rarer class, {MIN_EXPECTED:g} needed"
        return Finding(
            name, Outcome.INCONCLUSIVE, None, limit, "ceiling", len(p), error_rate, reason,
            slice=slice,
        )  # fmt: skip
    z = excess / math.sqrt(variance)
    held = abs(z) <= limit
    chance = 2 * float(ndtr(-abs(z)))
    reason = f"z {z:.2f} {'within' if held else 'outside'} ±{limit:.2f}, p {chance:.2g}"
    outcome = Outcome.PASSED if held else Outcome.FAILED
    return Finding(name, outcome, abs(z), limit, "ceiling", len(p), error_rate, reason, slice=slice)


def _roc_auc(p: Floats) -> float:
    """Chance that a positive outranks a negative, ties half, over the labels' distribution."""
    ordered = np.sort(p)
    positives, negatives = float(ordered.sum()), float(len(ordered) - ordered.sum())
    if min(positives, negatives) < MIN_EXPECTED:
        return math.nan
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    positive = np.add.reduceat(ordered, starts)
    negative = np.diff(np.r_[starts, len(ordered)]) - positive
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positives * negatives))


def _cost(p: Floats, acted: NDArray[np.bool_], costs: CostArrays) -> float:
    if_positive = np.where(acted, costs.true_positive, costs.false_negative)
    if_negative = np.where(acted, costs.false_positive, costs.true_negative)
    return float((p * if_positive + (1 - p) * if_negative).sum())


def _probabilities(score: Any) -> Floats:
    p = np.asarray(score, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            "a score is not from 0 to 1, or they are no list",
            where="score",
            fix="give calibrated probabilities of the positive class, one a row",
        )
    return p
