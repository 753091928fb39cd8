"""Rates of groups beside each other.

A ratio has two sides. Of 100 people of one group 10 are acted on, of the other 5: the adverse
ratio is .5, the favourable one (95 and 90 are left alone) .95. Both are true, so each metric names
its side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from scipy.stats import norm

from setpoint.domain.findings import Finding, Outcome, not_measured

SmallGroups = Literal["inconclusive", "note"]


@dataclass(frozen=True)
class Side:
    """What a metric counts.

    Attributes:
        label: Of the rows with this label; ``None``: of all.
        acted: Those acted on, else those left alone.
    """

    label: Literal[0, 1] | None
    acted: bool


METRICS = {
    "equal_opportunity_ratio": Side(1, True),
    "false_positive_ratio": Side(0, True),
    "adverse_ratio": Side(None, True),
    "favourable_ratio": Side(None, False),
}
"""Each the lowest rate of a group over the highest: of positives found (Hardt et al. 2016), of
negatives acted on for nothing, of rows acted on, and of rows left alone (the four-fifths rule is
about this one: EEOC 1978, 29 CFR 1607.4 D)."""


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
    metric: str = "equal_opportunity_ratio",
    small_groups: SmallGroups = "inconclusive",
) -> Finding:
    """Ratio of the lowest to the highest group rate against a floor (.8: the four-fifths rule).

    Groups under ``min_group`` are pooled into one, so that together they can still fail; where
    even that is too small they are not judged, and the reason names them. Every group is compared
    with the highest, each bound at ``error_rate`` shared by all comparisons (Bonferroni). Passed
    if every ratio is proven to hold the floor, failed if one is proven not to, else inconclusive;
    the finding is about the group with the least room.

    Args:
        column: The protected column, or the names of those that are crossed.
        rates: Rate by group.
        floor: Ratio required, 0 to 1.
        min_group: Rows (or positives) a group needs.
        error_rate: Chance that a ratio exactly at the floor passes, and that it fails.
        metric: One of ``METRICS``; it is the slice of the finding.
        small_groups: What a group under ``min_group`` does to the whole: ``inconclusive``: it
            cannot pass, for that group was not seen by itself; ``note``: the reason names it.
    """
    name = f"fairness_{column}"
    counts, note = _large_enough(rates, min_group)
    total = sum(n for _, n in counts.values())
    if len(counts) < 2:
        reason = f"{len(counts)} groups have {min_group} rows; 2 are needed{note}"
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE, slice=metric)
    share = {g: hits / n for g, (hits, n) in counts.items()}
    best = max(share, key=lambda g: share[g])
    if share[best] == 0:
        reason = f"no group has any case{note}"
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE, slice=metric)
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
    if outcome == Outcome.PASSED and note and small_groups == "inconclusive":
        outcome = Outcome.INCONCLUSIVE
        note += "; each for itself is too small to be judged"
    reason = (
        f"{worst} {share[worst]:.3f} of {counts[worst][1]}, {best} {share[best]:.3f} of "
        f"{counts[best][1]}: ratio {low:.3f} to {high:.3f}{note}"
    )
    return Finding(
        name, outcome, value, floor, "floor", total, error_rate, reason, (low, high), metric
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
    low, high = katz_bounds(worst, best, float(norm.isf(error_rate)))
    return float(low), float(high)


def katz_bounds(worst: tuple[Any, Any], best: tuple[Any, Any], z: float) -> tuple[Any, Any]:
    """The same at ``z`` standard errors of the logarithm; hits may be arrays of one shape."""
    (a, n), (b, m) = worst, best
    ratio = ((a + 0.5) / (n + 0.5)) / ((b + 0.5) / (m + 0.5))
    spread = 1 / (a + 0.5) - 1 / (n + 0.5) + 1 / (b + 0.5) - 1 / (m + 0.5)
    half = z * np.sqrt(np.maximum(spread, 0.0))
    return ratio * np.exp(-half), ratio * np.exp(half)
