"""Rows as one model decided them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from setpoint.domain.metrics import CostArrays, CostMatrix
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
        priced: What each outcome would cost on the same rows, [n] each; ``None``: not known.
    """

    label: npt.NDArray[np.int8]
    score: npt.NDArray[np.float64]
    acted: npt.NDArray[np.bool_]
    cost: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64] | None = None
    priced: CostArrays | None = None

    def take(self, keep: npt.NDArray[np.bool_]) -> Judged:
        """The rows where ``keep`` is true."""
        return Judged(
            self.label[keep],
            self.score[keep],
            self.acted[keep],
            self.cost[keep],
            None if self.weight is None else self.weight[keep],
            None if self.priced is None else self.priced.take(keep),
        )


def judge(
    rows: Rows, score: npt.NDArray[np.float64], threshold: float, costs: CostMatrix
) -> Judged:
    """Decide rows by threshold and price the decisions."""
    acted = score >= threshold
    priced = rows.priced(costs)
    cost = np.where(acted, priced.acting(rows.label), priced.leaving(rows.label))
    return Judged(rows.label, score, acted, cost, rows.weight, priced)
