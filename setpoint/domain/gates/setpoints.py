"""Setpoints on judged rows: bounds of each metric, read by a gate or by a watch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import norm

from setpoint.domain.findings import (
    Direction,
    Finding,
    Outcome,
    check_ceiling,
    check_floor,
    effective_rows,
    mean_bounds,
    not_measured,
    too_thin,
    watch_ceiling,
    watch_floor,
)
from setpoint.domain.gates.judged import Judged
from setpoint.domain.metrics import roc_auc

MIN_CLASS = 10
"""Rows of each class that an area under the ROC curve needs."""

Reading = Literal["gate", "watch"]
"""How bounds are read: a gate needs proof that the setpoint is held, a watch that it is broken."""


@dataclass(frozen=True)
class Target:
    """A setpoint: a metric and the side it must stay on."""

    name: str
    metric: str
    direction: Literal["floor", "ceiling"]
    value: float


def setpoint_finding(
    target: Target, judged: Judged, *, reading: Reading, error_rate: float, min_sample: int
) -> Finding:
    """One setpoint on judged rows.

    Args:
        target: The setpoint.
        judged: Rows with their labels.
        reading: As a gate or as a watch.
        error_rate: One-sided error rate of the bound.
        min_sample: Rows needed; positives for ``recall``, rows acted on for ``precision``.
    """
    if not np.isfinite(judged.score).all() and reading == "gate":
        # Such a row is not acted on, and would count as one that was left alone.
        return not_measured(target.name, "scores are no numbers")
    if target.metric in ("recall", "precision", "alert_rate"):
        hits, n = _counts(target.metric, judged)
        check = {
            ("gate", "floor"): check_floor,
            ("gate", "ceiling"): check_ceiling,
            ("watch", "floor"): watch_floor,
            ("watch", "ceiling"): watch_ceiling,
        }[reading, target.direction]
        return check(target.name, hits, n, target.value, error_rate, min_sample)
    return _continuous(target, judged, reading, error_rate, min_sample)


def _counts(metric: str, judged: Judged) -> tuple[int, int]:
    """Hits and rows of a proportion.

    Of weighted rows those of a sample of Kish's effective size with the weighted proportion, as
    Korn and Graubard (1998) have it: rounded, and never more than there are.
    """
    positive, acted = judged.label == 1, judged.acted
    if metric == "alert_rate":  # no label is needed, so no row stands for another
        return int(acted.sum()), len(acted)
    among = positive if metric == "recall" else acted
    if judged.weight is None:
        return int((acted & positive).sum()), int(among.sum())
    weight = judged.weight[among]
    hit = float(judged.weight[acted & positive].sum())
    # Those that an explored positive stands for are among the rows acted on, as negatives.
    whole = float(weight.sum()) if metric == "recall" else float(among.sum())
    n = int(effective_rows(weight))
    return round(n * min(hit / whole, 1.0)) if whole else 0, n


def _continuous(
    target: Target, judged: Judged, reading: Reading, error_rate: float, min_sample: int
) -> Finding:
    n, positives = len(judged.label), int((judged.label == 1).sum())
    if target.metric != "roc_auc" and not np.isfinite(judged.cost).all():
        return not_measured(target.name, "costs are no numbers, or without end")
    if target.metric == "roc_auc":
        fewer, needed = min(positives, n - positives), max(min_sample, MIN_CLASS)
        thin = f"{fewer} rows of the rarer class, {needed} needed" if fewer < needed else ""
    else:
        thin = too_thin(judged.cost, max(min_sample, 2))
    if thin:
        return not_measured(target.name, thin, outcome=Outcome.INCONCLUSIVE)
    if target.metric == "roc_auc":
        value = float(roc_auc(judged.label, judged.score))
        low, high = auc_bounds(value, positives, n - positives, error_rate)
    else:
        value = float(judged.cost.mean())
        low, high = cost_bounds(judged.cost, error_rate)
    holds, broken = _sides(low, high, target)
    held = holds if reading == "gate" else not broken
    outcome = Outcome.PASSED if held else Outcome.FAILED if broken else Outcome.INCONCLUSIVE
    reason = f"bounds {low:.4g} to {high:.4g} against the {target.direction} {target.value:.4g}"
    direction: Direction = target.direction
    return Finding(
        target.name, outcome, value, target.value, direction, n, error_rate, reason, (low, high)
    )


def cost_bounds(cost: npt.NDArray[np.float64], error_rate: float) -> tuple[float, float]:
    """Bounds of a mean cost, each one-sided, where few rows carry most of it.

    The upper one allows for a loss that the rows happen not to show: one more row as dear as the
    dearest. In simulations at a stated .05 a cost exactly at its ceiling passes .042 of the time so
    and .091 without, where 2 % of 4,000 rows cost lognormal amounts with a standard deviation of
    1.2 in the log; with 1.6, .072 and .129. With tails heavier than that no bound holds for every
    distribution (Bahadur and Savage 1956).

    Args:
        cost: Of each row, at least 2, [n].
        error_rate: Of each bound, between 0 and 1/2.
    """
    low, high = mean_bounds(cost, error_rate)
    return low, max(high, mean_bounds(np.append(cost, cost.max()), error_rate)[1])


def _sides(low: float, high: float, target: Target) -> tuple[bool, bool]:
    if target.direction == "floor":
        return low >= target.value, high < target.value
    return high <= target.value, low > target.value


def auc_standard_error(auc: float, positives: int, negatives: int) -> float:
    """Standard error of the area under the ROC curve (Hanley and McNeil 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return math.sqrt(max(variance, 0.0) / (positives * negatives))


def auc_bounds(
    auc: float, positives: int, negatives: int, error_rate: float
) -> tuple[float, float]:
    """Bounds of the area under the ROC curve, each one-sided, on the scale of its log odds.

    An area of 1 has no spread of its own: half a pair out of order is added, so that a perfect
    ranking of few rows proves little.
    """
    pairs = positives * negatives
    inside = min(max(auc, 0.5 / pairs), 1 - 0.5 / pairs)
    spread = auc_standard_error(inside, positives, negatives) / (inside * (1 - inside))
    half = float(norm.isf(error_rate)) * spread
    middle = math.log(inside / (1 - inside))
    return float(expit(middle - half)), float(expit(middle + half))


def performance_gate(
    targets: Sequence[Target], judged: Judged, *, error_rate: float, min_sample: int
) -> list[Finding]:
    """Every declared setpoint, on rows the model never saw."""
    return [
        setpoint_finding(
            t,
            judged,
            reading="gate",
            error_rate=error_rate,
            min_sample=min_sample if t.metric in ("alert_rate", "cost_per_decision") else 20,
        )
        for t in targets
    ]
