"""Group metrics with fairlearn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


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
        metric: ``equal_opportunity_ratio``: true positive rate among the positives;
            ``selection_ratio``: share acted on among all rows.

    Returns:
        One a group, by name.
    """
    from fairlearn.metrics import MetricFrame, count, selection_rate, true_positive_rate

    keep = label == 1 if metric == "equal_opportunity_ratio" else np.ones(len(label), dtype=bool)
    if not keep.any():
        return []
    rate = true_positive_rate if metric == "equal_opportunity_ratio" else selection_rate
    frame = MetricFrame(
        metrics={"rate": rate, "n": count},
        y_true=label[keep],
        y_pred=acted[keep].astype(np.int8),
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
