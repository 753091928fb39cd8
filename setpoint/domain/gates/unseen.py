"""What a saving is worth if the losses that few rows have not shown yet are counted.

A challenger that leaves alone what the champion acted on gains a little on each negative and loses
a lot on each positive. On few rows none of those positives may be there, and then every bound
taken from the differences alone is too good: such a challenger, truly no better, passed a
studentised or BCa bootstrap at a stated .01 in up to every second round of a simulation
(``benchmarks/gates``). But the rows are known on which it would lose, and what a positive
costs: so the losses are bounded as a weighted sum of rare events.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from setpoint.domain.gates.judged import Judged

Floats = npt.NDArray[np.float64]


def pessimistic_saving(challenger: Judged, champion: Judged, error_rate: float) -> float:
    """Lower bound of the mean saving a row, given on which rows both act differently.

    Losses where only the champion acted and gains where only the challenger did are sums of
    weighted events. Each has the gamma bound of Fay and Feuer (1997) with the mean weight of one
    more event for the largest (Tiwari, Clegg and Zou 2006); that one is as large as those of the
    rows it may come from or as those of all positives, whichever is larger, for what is found
    late is not small. Both are put together by MOVER (Zou and Donner 2008).

    Args:
        challenger: The rows as the challenger decides them, priced.
        champion: The same rows as the champion decides them, priced.
        error_rate: One-sided.

    Returns:
        Money a row; ``-inf`` where rows are not priced.
    """
    priced = champion.priced
    if priced is None or not len(champion.label):
        return -math.inf
    positive = champion.label == 1
    review = priced.false_positive - priced.true_negative
    swing = np.maximum(priced.false_negative - priced.true_positive + review, 0.0)
    left, taken = champion.acted & ~challenger.acted, challenger.acted & ~champion.acted
    lost, gained = swing[left & positive], swing[taken & positive]
    most = 0.0
    if left.any():
        sizes = [swing[left]] + ([swing[positive]] if positive.any() else [])
        mean = max(float(s.mean()) for s in sizes)
        square = max(float(np.square(s).mean()) for s in sizes)
        most = _gamma(lost.sum() + mean, np.square(lost).sum() + square, 1 - error_rate)
    least = _gamma(gained.sum(), np.square(gained).sum(), error_rate)
    middle = float((champion.cost - challenger.cost).sum())
    return (middle - math.hypot(gained.sum() - least, most - lost.sum())) / len(positive)


def _gamma(mean: float, variance: float, quantile: float) -> float:
    """Quantile of the gamma distribution of a mean and a variance; the mean without spread."""
    if mean <= 0 or variance <= 0:
        return float(mean)
    return float(gammaincinv(mean**2 / variance, quantile) * variance / mean)
