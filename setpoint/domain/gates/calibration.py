"""Are a model's probabilities those that are seen?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from setpoint.domain.bounds import effective_rows, proportion_bounds
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.setpoints import MIN_CLASS

NAME = "calibration"
BINS = 10


def calibration_gate(judged: Judged, *, max_error: float, error_rate: float) -> Finding:
    """Is a mean probability proven to be further than allowed from the share of positives?

    Judged in the large and in ten parts of equally many rows by score, each at its part of the
    error rate (Bonferroni), with exact bounds of the share. A watch's reading: failed on proof.
    The reason gives the expected calibration error with its bias taken off (Bröcker 2012).

    Args:
        judged: Rows with their labels.
        max_error: Distance allowed, 0 to 1.
        error_rate: Chance that a model exactly that far off, in one part, fails.

    Returns:
        The finding; its value is the share seen less the mean probability, where the proof or else
        the distance is largest.
    """
    n, positives = len(judged.label), int((judged.label == 1).sum())
    fewer = min(positives, n - positives)
    if fewer < MIN_CLASS:
        reason = f"{fewer} rows of the rarer class, {MIN_CLASS} needed"
        return not_measured(NAME, reason, outcome=Outcome.INCONCLUSIVE)
    order = np.argsort(judged.score, kind="stable")
    parts = np.array_split(order, BINS)
    rate = error_rate / (BINS + 1)
    seen = [_distance(judged, rows, rate) for rows in (order, *parts)]
    # How far the nearer end of the bounds is beyond 0: the distance that is proven.
    proven = [max(low, -high, 0.0) for _, low, high in seen]
    k = max(range(len(seen)), key=lambda i: (proven[i], abs(seen[i][0])))
    value, low, high = seen[k]
    where = "over all rows" if k == 0 else f"in tenth {k} of {BINS} by score"
    outcome = Outcome.FAILED if proven[k] > max_error else Outcome.PASSED
    reason = (
        f"share seen less mean probability {where}: {low:+.3f} to {high:+.3f}, {max_error:.3g} "
        f"allowed; expected error {debiased_error(judged, parts):.3f}"
    )
    return Finding(NAME, outcome, value, max_error, "ceiling", n, error_rate, reason, (low, high))


def _distance(
    judged: Judged, rows: npt.NDArray[np.intp], rate: float
) -> tuple[float, float, float]:
    """Share seen less the mean score, and its bounds; rows count as many as they stand for.

    Rows of weight w are themselves and w - 1 of those counted as negatives (``Rows.priced``).
    """
    label, mean = judged.label[rows] == 1, float(judged.score[rows].mean())
    if judged.weight is None:
        hits, n = int(label.sum()), len(rows)
        share = hits / n
    else:
        share = min(float((label * judged.weight[rows]).sum()) / len(rows), 1.0)
        n = int(effective_rows(judged.weight[rows]))
        hits = round(share * n)
    low, high = proportion_bounds(hits, n, rate)
    return share - mean, low - mean, high - mean


def debiased_error(judged: Judged, parts: list[npt.NDArray[np.intp]]) -> float:
    """Root of the mean squared distance over parts, less what chance alone adds to it; >= 0.

    Unweighted rows: chance adds share · (1 - share) / (rows - 1) to each part (Bröcker 2012).
    """
    total = 0.0
    for rows in parts:
        if len(rows) < 2:
            continue
        share = float((judged.label[rows] == 1).mean())
        apart = share - float(judged.score[rows].mean())
        total += len(rows) * (apart**2 - share * (1 - share) / (len(rows) - 1))
    return float(np.sqrt(max(total / len(judged.label), 0.0)))
