"""How much better a model is on the rows it was fitted on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.ranking import auc_parts
from setpoint.domain.gates.setpoints import auc_standard_error

NAME = "overfit"
FEWEST = 30
"""Rows of each class that are needed, on either side. In simulations at a stated .05 the bounds err
up to .053 with as many, and up to .071 with 20 (areas of .65 to .998, positives spread as negatives
or twice as wide)."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


def overfit_gate(
    trained: tuple[Labels, Floats],
    judged: tuple[Labels, Floats],
    *,
    max_gap: float,
    error_rate: float,
) -> Finding:
    """Is ROC AUC on rows that train proven to be at most ``max_gap`` above that on others?

    The rows are different ones, so the bounds of both areas are put together by MOVER (Zou and
    Donner 2008).

    Args:
        trained: Labels and scores of rows that the model was fitted on, [m] each.
        judged: Those of rows that it has not seen, [n] each.
        max_gap: Gap allowed, 0 to 1.
        error_rate: One-sided chance that a model exactly at the limit passes, and that it fails.

    Returns:
        Passed if the upper bound is at most ``max_gap``, failed if the lower one is above it, else
        inconclusive; so, too, with fewer than ``FEWEST`` rows of a class.

    Raises:
        DataError: A score is not a number.
    """
    n = len(judged[0])
    fewer = min(min(int((y == 1).sum()), int((y != 1).sum())) for y, _ in (trained, judged))
    if fewer < FEWEST:
        reason = f"{fewer} rows of the rarer class, {FEWEST} needed"
        return not_measured(NAME, reason, outcome=Outcome.INCONCLUSIVE)
    own, own_low, own_high = _area(*trained, error_rate)
    other, other_low, other_high = _area(*judged, error_rate)
    value = own - other
    low = value - math.hypot(own - own_low, other_high - other)
    high = value + math.hypot(own_high - own, other - other_low)
    outcome = Outcome.FAILED if low > max_gap else Outcome.INCONCLUSIVE
    outcome = Outcome.PASSED if high <= max_gap else outcome
    reason = (
        f"ROC AUC {own:.3f} on {len(trained[0]):,} rows that train, {other:.3f} on others: gap "
        f"{low:.3f} to {high:.3f}, {max_gap:.3g} allowed; one exactly there passes, and fails, "
        f"{error_rate:.2g} of the time"
    )
    return Finding(NAME, outcome, value, max_gap, "ceiling", n, error_rate, reason, (low, high))


def _area(label: Labels, score: Floats, error_rate: float) -> tuple[float, float, float]:
    """Area under the ROC curve and its bounds, each one-sided, on the scale of its log odds.

    The standard error is the larger of DeLong's (1988), which is none where nothing is out of
    order, and Hanley and McNeil's (1982).
    """
    area, under, above = auc_parts(label, score)
    pairs = len(under) * len(above)
    inside = min(max(area, 0.5 / pairs), 1 - 0.5 / pairs)
    seen = math.sqrt(float(under.var(ddof=1) / len(under) + above.var(ddof=1) / len(above)))
    spread = max(seen, auc_standard_error(inside, len(under), len(above)))
    z = float(ndtri(1 - error_rate))
    half, middle = z * spread / (inside * (1 - inside)), float(logit(inside))
    # Near 1 the log odds of a few pairs say nothing: there twice the normal bound is nearer.
    low = max(float(expit(middle - half)), area - 2 * z * spread)
    high = min(float(expit(middle + half)), area + 2 * z * spread)
    # Half a pair was moved: what is seen lies between its own bounds all the same.
    return area, min(low, area), max(high, area)
