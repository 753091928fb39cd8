"""Gates: what a candidate must show before it may serve. Each returns findings; only passed
advances, and a gate that cannot see says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

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
    check_mean_difference,
    effective_rows,
    mean_bounds,
    not_measured,
    too_thin,
    watch_ceiling,
    watch_floor,
)
from setpoint.domain.metrics import CostMatrix, roc_auc
from setpoint.domain.training import Rows

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


@dataclass(frozen=True)
class Judged:
    """Rows as one model decided them.

    Attributes:
        label: 1 positive, [n].
        score: Calibrated probability, [n].
        acted: Whether the adverse action was taken, [n].
        cost: Money, [n], that of the rows each stands for included.
        weight: How many rows each stands for, [n]; ``None``: each for itself.
    """

    label: npt.NDArray[np.int8]
    score: npt.NDArray[np.float64]
    acted: npt.NDArray[np.bool_]
    cost: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64] | None = None


def judge(
    rows: Rows, score: npt.NDArray[np.float64], threshold: float, costs: CostMatrix
) -> Judged:
    """Decide rows by threshold and price the decisions."""
    acted = score >= threshold
    priced = rows.priced(costs)
    cost = np.where(acted, priced.acting(rows.label), priced.leaving(rows.label))
    return Judged(rows.label, score, acted, cost, rows.weight)


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
        low, high = mean_bounds(judged.cost, error_rate)
    holds, broken = _sides(low, high, target)
    held = holds if reading == "gate" else not broken
    outcome = Outcome.PASSED if held else Outcome.FAILED if broken else Outcome.INCONCLUSIVE
    reason = f"bounds {low:.4g} to {high:.4g} against the {target.direction} {target.value:.4g}"
    direction: Direction = target.direction
    return Finding(
        target.name, outcome, value, target.value, direction, n, error_rate, reason, (low, high)
    )


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


def champion_gate(
    challenger: Judged, champion: Judged, *, error_rate: float, min_sample: int
) -> Finding:
    """Is the challenger cheaper than the champion, paired on the same rows?"""
    return check_mean_difference(
        "saves_against_champion",
        champion.cost - challenger.cost,
        error_rate=error_rate,
        min_sample=min_sample,
    )


class GroupRateLike(Protocol):
    """A rate within one group; see ``setpoint.adapters.fairlearn_groups.GroupRate``."""

    @property
    def group(self) -> str: ...
    @property
    def hits(self) -> int: ...
    @property
    def sample(self) -> int: ...


def fairness_gate(
    column: str,
    rates: Sequence[GroupRateLike],
    *,
    floor: float,
    min_group: int,
    error_rate: float = 0.05,
) -> Finding:
    """Ratio of the lowest to the highest group rate against a floor (.8: the four-fifths rule).

    Groups under ``min_group`` are pooled into one; where even that is too small they are not
    judged, and the reason names them. Every group is compared with the best one, each bound at
    ``error_rate`` shared by all comparisons (Bonferroni). Passed if every ratio is proven to hold
    the floor, failed if one is proven not to, else inconclusive; the finding is about the group
    with the least room.

    Args:
        column: The protected column.
        rates: Rate by group.
        floor: Ratio required, 0 to 1.
        min_group: Rows (or positives) a group needs.
        error_rate: Chance that a ratio exactly at the floor passes, and that it fails.
    """
    name = f"fairness_{column}"
    counts, note = _large_enough(rates, min_group)
    total = sum(n for _, n in counts.values())
    if len(counts) < 2:
        reason = f"{len(counts)} groups have {min_group} rows; 2 are needed{note}"
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE)
    share = {g: hits / n for g, (hits, n) in counts.items()}
    best = max(share, key=lambda g: share[g])
    if share[best] == 0:
        return not_measured(name, "no group has any case", outcome=Outcome.INCONCLUSIVE)
    bounds = {
        g: ratio_bounds(counts[g], counts[best], error_rate / (len(counts) - 1))
        for g in counts
        if g != best
    }
    unfair = [g for g, (_, high) in bounds.items() if high < floor]
    worst = min(unfair or bounds, key=lambda g: bounds[g][1 if unfair else 0])
    low, high = bounds[worst]
    value = share[worst] / share[best]
    outcome = Outcome.INCONCLUSIVE
    if unfair or low >= floor:
        outcome = Outcome.FAILED if unfair else Outcome.PASSED
    reason = (
        f"{worst} {share[worst]:.3f} of {counts[worst][1]}, {best} {share[best]:.3f} of "
        f"{counts[best][1]}: ratio {low:.3f} to {high:.3f}{note}"
    )
    return Finding(
        name, outcome, value, floor, "floor", total, error_rate, reason, (low, high), column
    )


def _large_enough(
    rates: Sequence[GroupRateLike], min_group: int
) -> tuple[dict[str, tuple[int, int]], str]:
    """Hits and rows by group, small ones pooled; and what became of the small ones."""
    counts = {r.group: (r.hits, r.sample) for r in rates if r.sample >= min_group}
    small = [r for r in rates if r.sample < min_group]
    if not small:
        return counts, ""
    pooled = (sum(r.hits for r in small), sum(r.sample for r in small))
    named = ", ".join(f"{r.group} ({r.sample})" for r in small)
    if pooled[1] < min_group:
        return counts, f"; not judged, under {min_group} rows: {named}"
    counts["small groups"] = pooled
    return counts, f"; small groups are {named}"


def ratio_bounds(
    worst: tuple[int, int], best: tuple[int, int], error_rate: float
) -> tuple[float, float]:
    """Bounds of a ratio of two proportions, each one-sided (Katz 1978, half a case added)."""
    (a, n), (b, m) = worst, best
    ratio = ((a + 0.5) / (n + 0.5)) / ((b + 0.5) / (m + 0.5))
    spread = 1 / (a + 0.5) - 1 / (n + 0.5) + 1 / (b + 0.5) - 1 / (m + 0.5)
    half = float(norm.isf(error_rate)) * math.sqrt(max(spread, 0.0))
    return ratio * math.exp(-half), ratio * math.exp(half)


def explainability_gate(
    shares: Mapping[str, float],
    gap: float,
    *,
    sample: int,
    max_share: float,
    forbidden: Sequence[str],
    max_forbidden: float,
) -> list[Finding]:
    """Global importance: explained at all, not by one input alone, not by a forbidden one.

    Args:
        shares: Input to its share of the SHAP importance, adding up to 1.
        gap: Additivity error of the explanation; above .001 nothing else can be believed.
        sample: Rows explained.
        max_share: Largest share of one input.
        forbidden: Inputs that must not drive decisions.
        max_forbidden: Largest share they may have together.
    """
    if not shares or not all(math.isfinite(v) for v in (gap, *shares.values())):
        return [not_measured("explanation", "no SHAP values could be computed")]
    sane = _plain("explanation_additivity", gap, 1e-3, sample, "SHAP values against the margin")
    top = max(shares, key=lambda n: shares[n])
    if shares[top] == 0:
        return [sane, not_measured("largest_driver", "no input explains anything")]
    drives = _plain("largest_driver", shares[top], max_share, sample, f"{top} carries the most")
    found = [sane, drives]
    if forbidden:
        carried = sum(shares.get(name, 0.0) for name in forbidden)
        text = f"{', '.join(forbidden)} together"
        found.append(_plain("forbidden_drivers", carried, max_forbidden, sample, text))
    return found


def _plain(name: str, value: float, ceiling: float, sample: int, text: str) -> Finding:
    held = value <= ceiling
    outcome = Outcome.PASSED if held else Outcome.FAILED
    return Finding(name, outcome, value, ceiling, "ceiling", sample, None, f"{text}: {value:.3g}")
