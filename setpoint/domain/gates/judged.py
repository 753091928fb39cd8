"""Rows as one model decided them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from setpoint.domain.metrics import CostMatrix
from setpoint.domain.training import Rows


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
