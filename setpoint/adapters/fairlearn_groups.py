"""Group metrics with fairlearn."""

from __future__ import annotations

import math
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
        One a group that has rows, by name; with a sample of 0 where none of them counts.
    """
    from fairlearn.metrics import MetricFrame, count, selection_rate

    side = METRICS[metric]
    keep = np.ones(len(label), dtype=bool) if side.label is None else label == side.label
    names = [str(g) for g in groups.tolist()]
    # A group without a row that counts is told all the same: it was not seen, and not fair.
    found = {name: GroupRate(name, math.nan, 0, 0) for name in sorted(set(names))}
    if not keep.any():
        return list(found.values())
    frame = MetricFrame(
        metrics={"rate": selection_rate, "n": count},
        y_true=label[keep],
        y_pred=(acted[keep] == side.acted).astype(np.int8),
        # by name: of an array of one row it makes a number, and refuses it
        sensitive_features={"group": [names[i] for i in np.flatnonzero(keep)]},
    )
    for group, row in frame.by_group.iterrows():
        rate, n = float(row["rate"]), int(row["n"])
        found[str(group)] = GroupRate(str(group), rate, round(rate * n), n)
    return list(found.values())
