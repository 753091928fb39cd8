"""The cheapest threshold at which the declared ratios between groups hold.

One threshold for all, so that the score alone decides and no request must name its group.
Thresholds by group (Hardt et al. 2016) hold more ratios at less cost, and treat two people of the
same score differently because of their group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from setpoint.domain.gates.fairness import METRICS, SmallGroups, katz_bounds
from setpoint.domain.metrics import CostArrays, threshold_cuts

POWER = 0.8
"""Chance with which the gate is to pass what is chosen (Cohen 1988 has .8 as the usual one)."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ratio:
    """A ratio between groups that a decision must hold.

    Attributes:
        name: Of what is compared.
        groups: Group of each row, [n].
        metric: One of ``METRICS``.
        floor: Lowest rate of a group over the highest, 0 to 1.
        min_group: Rows (or positives, or negatives) a group needs.
        small_groups: What a smaller one does; see ``fairness_gate``.
    """

    name: str
    groups: npt.NDArray[Any]
    metric: str
    floor: float
    min_group: int
    small_groups: SmallGroups = "inconclusive"


@dataclass(frozen=True)
class FairThreshold:
    """What was chosen, and from how many.

    Attributes:
        threshold: The cheapest at which all ratios hold; ``None``: there is none.
        tried: Thresholds that act on some rows and not on all.
        held: By name of a ratio: at how many of them it holds.
    """

    threshold: float | None
    tried: int
    held: dict[str, int]


def standard_errors(error_rate: float, tuned: int, judged: int, comparisons: int = 1) -> float:
    """How far above the floor a ratio must be on rows that tune, in its standard errors there.

    The gate asks for ``z(error_rate)`` standard errors on the rows that judge, and what it sees
    there differs from what is seen here by the chance of both. With ρ = tuned / judged a standard
    error there is √ρ of one here, so √ρ z(error_rate) + √(1 + ρ) z(1 - POWER) passes with a chance
    of ``POWER``.

    Args:
        error_rate: Of the gate.
        tuned: Rows that tune.
        judged: Rows that judge.
        comparisons: Groups held against the best; they share the error rate (Bonferroni).
    """
    share = tuned / judged
    gate = float(norm.isf(error_rate / comparisons))
    return math.sqrt(share) * gate + math.sqrt(1 + share) * float(norm.isf(1 - POWER))


def holding(
    score: Floats,
    label: npt.NDArray[np.int8],
    thresholds: Floats,
    ratio: Ratio,
    error_rate: float,
    judged: int,
) -> Bools:
    """At which thresholds the gate is expected to pass, [m].

    The same groups, pools and bounds as ``fairness_gate`` at one threshold.

    Args:
        score: Calibrated probability, [n].
        label: 1 positive, [n].
        thresholds: Those asked about, [m].
        ratio: What must hold.
        error_rate: Of the gate.
        judged: Rows that the gate will have.
    """
    side = METRICS[ratio.metric]
    keep = np.ones(len(label), dtype=bool) if side.label is None else label == side.label
    parts = _parts(score[keep], np.asarray(ratio.groups, dtype=str)[keep], ratio)
    if len(parts) < 2:
        return np.zeros(len(thresholds), dtype=bool)
    size = np.array([len(part) for part in parts])
    left = np.array([np.searchsorted(np.sort(part), thresholds, "left") for part in parts])
    hits = size[:, None] - left if side.acted else left
    best = np.argmax(hits / size[:, None], axis=0)
    most, of = hits[best, np.arange(len(thresholds))], size[best]
    z = standard_errors(error_rate, len(score), judged, len(parts) - 1)
    good = most > 0
    for i, n in enumerate(size.tolist()):
        low, _ = katz_bounds((hits[i], n), (most, of), z)
        good &= (best == i) | (low >= ratio.floor)
    return np.asarray(good)


def _parts(score: Floats, groups: npt.NDArray[Any], ratio: Ratio) -> list[Floats]:
    """Scores by group, small groups pooled; none where the gate could not pass for them."""
    names, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    small = size < ratio.min_group
    if small.any() and ratio.small_groups == "inconclusive":
        return []
    parts = [score[code == i] for i in range(len(names)) if not small[i]]
    pooled = score[small[code]]
    return [*parts, pooled] if small.any() and len(pooled) >= ratio.min_group else parts


def fair_threshold(
    score: Floats,
    label: npt.NDArray[np.int8],
    costs: CostArrays,
    ratios: Sequence[Ratio],
    *,
    error_rate: float,
    judged: int,
) -> FairThreshold:
    """The cheapest threshold at which every ratio is expected to pass its gate.

    Exact over all cut points of these rows. Acting on nobody or on everybody is no choice: it
    treats all groups alike by telling nobody apart.

    Args:
        score: Calibrated probability of rows that tune, [n].
        label: 1 positive, [n].
        costs: Costs of the same rows.
        ratios: What must hold; groups of the same rows.
        error_rate: Of the gate that judges each.
        judged: Rows that the gate will have.
    """
    cuts = threshold_cuts(score, label, costs)
    acted = len(score) - np.searchsorted(np.sort(score), cuts.thresholds, "left")
    allowed = (acted > 0) & (acted < len(score))
    tried, held = int(allowed.sum()), {}
    every = allowed.copy()
    for ratio in ratios:
        good = allowed & holding(score, label, cuts.thresholds, ratio, error_rate, judged)
        held[f"{ratio.metric} of {ratio.name}"] = int(good.sum())
        every &= good
    return FairThreshold(cuts.cheapest(every), tried, held)
