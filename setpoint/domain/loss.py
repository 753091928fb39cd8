"""What it costs that the model is not what it was: money a day, beside what a retraining costs.

A retraining is worth its cost if what the model loses by now, over the time until the next one,
is more. Loss is the mean cost of a decision in the window less that on the rows that judged the
model in training, times the decisions of a day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.domain.bounds import mean_bounds
from setpoint.domain.findings import Finding, Outcome, not_measured, too_thin

LOSS = "loss_a_day"
"""Name of the finding."""


@dataclass(frozen=True)
class Reference:
    """What decisions cost on the rows that judged the model in training.

    Attributes:
        mean: Money a decision.
        error: Standard error of ``mean``, money.
        rows: Rows.
    """

    mean: float
    error: float
    rows: int

    @classmethod
    def of(cls, cost: NDArray[np.float64]) -> Reference:
        """From the cost of each row, money, [n], n >= 2."""
        return cls(float(cost.mean()), float(cost.std() / math.sqrt(len(cost))), len(cost))

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        return {"mean": self.mean, "error": self.error, "rows": self.rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reference:
        """What ``to_dict`` wrote."""
        return cls(float(data["mean"]), float(data["error"]), int(data["rows"]))


def loss_a_day(
    reference: Reference,
    cost: NDArray[np.float64],
    *,
    days: float,
    worth: float,
    least: float = 0.0,
    error_rate: float,
    min_sample: int = 200,
) -> Finding:
    """Has a decision become dearer, by more a day than ``worth``?

    The bounds of the window's mean (``mean_bounds``) are widened by the reference's own error: the
    half widths add up as independent ones do.

    Args:
        reference: From training.
        cost: Of the window's decisions with their labels, money, [n].
        days: Length of the window, days, > 0.
        worth: Money a day from which something is done, >= 0.
        least: And this share of what the reference's decisions cost a day, >= 0.
        error_rate: Chance of failing where the loss is just ``worth``; one-sided.
        min_sample: Fewer rows are inconclusive.

    Returns:
        Failed if the lower bound of the loss is above ``worth``, passed otherwise; the value is
        money a day, below 0 for a gain.
    """
    thin = too_thin(cost, min_sample)
    if thin:
        return not_measured(LOSS, thin, outcome=Outcome.INCONCLUSIVE)
    a_day = len(cost) / days
    worth = max(worth, least * abs(reference.mean) * a_day)
    mean = float(cost.mean())
    low, high = mean_bounds(cost, error_rate)
    z = (mean - low) / max(float(cost.std()) / math.sqrt(len(cost)), 1e-300)
    own = z * reference.error
    bounds = (
        (mean - reference.mean - math.hypot(mean - low, own)) * a_day,
        (mean - reference.mean + math.hypot(high - mean, own)) * a_day,
    )
    value = (mean - reference.mean) * a_day
    lost = bounds[0] > worth
    reason = (
        f"{mean:.4g} a decision, {reference.mean:.4g} in training: {bounds[0]:,.4g} to "
        f"{bounds[1]:,.4g} a day, {worth:,.4g} is worth a retraining"
    )
    outcome = Outcome.FAILED if lost else Outcome.PASSED
    return Finding(LOSS, outcome, value, worth, "ceiling", len(cost), error_rate, reason, bounds)
