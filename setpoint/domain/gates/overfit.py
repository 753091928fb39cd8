"""How much better a model is on the rows it was fitted on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.ranking import auc_parts
from setpoint.domain.gates.setpoints import MIN_CLASS

NAME = "overfit"

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


def overfit_gate(
    trained: tuple[Labels, Floats],
    judged: tuple[Labels, Floats],
    *,
    max_gap: float,
    error_rate: float,
) -> Finding:
    """Is ROC AUC on rows that train proven to be more than ``max_gap`` above that on others?

    The rows are different ones, so the variances (DeLong et al. 1988) add up. A watch's reading:
    failed on proof.

    Args:
        trained: Labels and scores of rows that the model was fitted on, [m] each.
        judged: Those of rows that it has not seen, [n] each.
        max_gap: Gap allowed, 0 to 1.
        error_rate: One-sided chance that a model exactly at the limit fails.
    """
    n = len(judged[0])
    fewer = min(min(int((y == 1).sum()), int((y != 1).sum())) for y, _ in (trained, judged))
    if fewer < MIN_CLASS:
        reason = f"{fewer} rows of the rarer class, {MIN_CLASS} needed"
        return not_measured(NAME, reason, outcome=Outcome.INCONCLUSIVE)
    own, own_variance = _area(*trained)
    other, other_variance = _area(*judged)
    value = own - other
    half = float(ndtri(1 - error_rate)) * math.sqrt(own_variance + other_variance)
    low, high = value - half, value + half
    outcome = Outcome.FAILED if low > max_gap else Outcome.PASSED
    reason = (
        f"ROC AUC {own:.3f} on {len(trained[0]):,} rows that train, {other:.3f} on others: gap "
        f"{low:.3f} to {high:.3f}, {max_gap:.3g} allowed"
    )
    return Finding(NAME, outcome, value, max_gap, "ceiling", n, error_rate, reason, (low, high))


def _area(label: Labels, score: Floats) -> tuple[float, float]:
    area, under, above = auc_parts(label, score)
    return area, float(under.var(ddof=1) / len(under) + above.var(ddof=1) / len(above))
