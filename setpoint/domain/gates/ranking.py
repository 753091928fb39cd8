"""ROC AUC of challenger and champion on the same rows, by DeLong."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import rankdata

from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.setpoints import MIN_CLASS
from setpoint.errors import DataError

NAME = "ranks_as_the_champion"

Floats = npt.NDArray[np.float64]


def auc_parts(label: npt.NDArray[np.int8], score: Floats) -> tuple[float, Floats, Floats]:
    """Area under the ROC curve, and what each row adds to it (DeLong et al. 1988).

    By midranks, O(n log n) (Sun and Xu 2014).

    Args:
        label: 1 positive, 0 negative, [n]; both classes.
        score: Higher is likelier positive, [n].

    Returns:
        The area, 0 to 1; for each positive the share of negatives under it, [p]; for each negative
        the share of positives above it, [n - p]; ties count half.

    Raises:
        DataError: A class is missing, or a score is not a number.
    """
    positive = label == 1
    p, q = int(positive.sum()), int((~positive).sum())
    if not p or not q or np.isnan(score).any():
        raise DataError(
            f"{p} positives and {q} negatives, {int(np.isnan(score).sum())} scores are NaN",
            where="score",
            fix="compare scored rows of both classes",
        )
    ranks = rankdata(score)
    under = (ranks[positive] - rankdata(score[positive])) / q
    above = 1 - (ranks[~positive] - rankdata(score[~positive])) / p
    return float(under.mean()), under, above


def auc_difference(challenger: Judged, champion: Judged) -> tuple[float, float]:
    """Difference of the areas on the same rows and its standard error (DeLong et al. 1988)."""
    ours, under, above = auc_parts(challenger.label, challenger.score)
    theirs, their_under, their_above = auc_parts(champion.label, champion.score)
    variance = (under - their_under).var(ddof=1) / len(under)
    variance += (above - their_above).var(ddof=1) / len(above)
    return ours - theirs, math.sqrt(float(variance))


def ranking_gate(
    challenger: Judged, champion: Judged, *, max_loss: float, error_rate: float
) -> Finding:
    """Does the challenger rank about as well as the champion?

    A watch's reading: that it saves money is proven elsewhere, so this one is failed only on proof
    that it ranks worse by more than ``max_loss``.

    Args:
        challenger: The rows as the challenger decides them.
        champion: The same rows as the champion does.
        max_loss: ROC AUC that may be lost, 0 to 1.
        error_rate: One-sided chance of refusing one that loses exactly that.
    """
    n, positives = len(champion.label), int((champion.label == 1).sum())
    fewer = min(positives, n - positives)
    if fewer < MIN_CLASS:
        reason = f"{fewer} rows of the rarer class, {MIN_CLASS} needed"
        return not_measured(NAME, reason, outcome=Outcome.INCONCLUSIVE)
    value, spread = auc_difference(challenger, champion)
    half = float(ndtri(1 - error_rate)) * spread
    low, high = value - half, value + half
    worse = high < -max_loss
    reason = (
        f"ROC AUC differs from the champion's by {low:.4f} to {high:.4f}; "
        f"a loss of {max_loss:.4g} is allowed"
    )
    outcome = Outcome.FAILED if worse else Outcome.PASSED
    return Finding(NAME, outcome, value, -max_loss, "floor", n, error_rate, reason, (low, high))
