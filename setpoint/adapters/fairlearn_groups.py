"""Group metrics with fairlearn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.gates.fairness import METRICS


@dataclass(frozen=True)
class GroupRate:
    """A rate within one group.

    Attributes:
        group: Value of the protected column, as text.
        rate: The rate, 0 to 1; NaN where ``sample`` is 0.
        hits: Rows that count for it.
        sample: Rows the rate rests on.
    """

    group: str
    rate: float
    hits: int
    sample: int


def group_rates(
    label: npt.NDArray[np.int8],
    acted: npt.NDArray[np.bool_],
    groups: npt.NDArray[Any],
    metric: str,
) -> list[GroupRate]:
    """Rates by group.

    Args:
        label: 1 positive, [n].
        acted: Whether the adverse action is taken, [n].
        groups: Value of the protected column, [n].
        metric: One of ``METRICS``: of which rows the rate is, and which side of the decision.

    Returns:
        One a group, by name.
    """
    from fairlearn.metrics import MetricFrame, count, selection_rate

    side = METRICS[metric]
    keep = np.ones(len(label), dtype=bool) if side.label is None else label == side.label
    if not keep.any():
        return []
    frame = MetricFrame(
        metrics={"rate": selection_rate, "n": count},
        y_true=label[keep],
        y_pred=(acted[keep] == side.acted).astype(np.int8),
        # by name: of an array of one row it makes a number, and refuses it
        sensitive_features={"group": [str(g) for g in groups[keep]]},
    )
    table = frame.by_group
    return [
        GroupRate(
            str(name), float(row["rate"]), round(float(row["rate"]) * int(row["n"])), int(row["n"])
        )
        for name, row in table.iterrows()
    ]
