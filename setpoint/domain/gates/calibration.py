"""Are a model's probabilities those that are seen?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from setpoint.domain.bounds import effective_rows, proportion_bounds
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.setpoints import MIN_CLASS
from setpoint.errors import DataError

NAME = "calibration"
BINS = 10
POWER = 0.9
"""Chance of the proof for one part of true probabilities, whatever they are, in a part of as many
rows as ``rows_needed`` says."""

Parts = list[npt.NDArray[np.intp]]


def calibration_gate(judged: Judged, *, max_error: float, error_rate: float) -> Finding:
    """Are the mean probabilities proven to be no further than allowed from the share of positives?

    Judged in the large and in parts of equally many rows by score, with exact bounds of the share.
    Parts are ten, or as many as have the rows that ``rows_needed`` asks for; the reason says how
    many. All must hold, so each is held at the whole error rate (intersection-union test, Berger
    1982); that one is broken is shown at its part of the rate (Bonferroni). The reason gives the
    expected calibration error with its bias taken off (Bröcker 2012).

    Args:
        judged: Rows with their labels.
        max_error: Distance allowed, 0 to 1.
        error_rate: Chance that a model exactly that far off, over all rows or in one of the parts,
            passes, and that it fails.

    Returns:
        Passed if every pessimistic bound is within ``max_error``, failed if one is proven to be
        beyond, else inconclusive. Its value is the share seen less the mean probability, where the
        proof of a breach or else the room for one is largest.

    Raises:
        DataError: A score is not a number.
    """
    n, positives = len(judged.label), int((judged.label == 1).sum())
    fewer = min(positives, n - positives)
    if fewer < MIN_CLASS:
        reason = f"{fewer} rows of the rarer class, {MIN_CLASS} needed"
        return not_measured(NAME, reason, outcome=Outcome.INCONCLUSIVE)
    if not np.isfinite(judged.score).all():
        raise DataError("scores are not numbers", where=NAME, fix="judge only scored rows")
    order = np.argsort(judged.score, kind="stable")
    count = min(max(n // rows_needed(max_error, error_rate), 1), BINS)
    parts = np.array_split(order, count)
    looked = [order, *parts] if count > 1 else [order]
    broken = [_distance(judged, rows, error_rate / len(looked)) for rows in looked]
    held = [_distance(judged, rows, error_rate) for rows in looked]
    proven = [max(low, -high) for _, low, high in broken]
    room = [max(high, -low) for _, low, high in held]
    if max(proven) > max_error:
        k, outcome, shown = int(np.argmax(proven)), Outcome.FAILED, broken
    else:
        k, shown = int(np.argmax(room)), held
        outcome = Outcome.PASSED if room[k] <= max_error else Outcome.INCONCLUSIVE
    value, low, high = shown[k]
    where = "over all rows" if k == 0 else f"in part {k} of {count} by score"
    reason = (
        f"share seen less mean probability {where}: {low:+.3f} to {high:+.3f}, {max_error:.3g} "
        f"allowed; all rows and {count if count > 1 else 'no'} parts judged; one exactly there "
        f"passes, and fails, {error_rate:.2g} of the time; expected error "
        f"{debiased_error(judged, parts):.3f}"
    )
    return Finding(NAME, outcome, value, max_error, "ceiling", n, error_rate, reason, (low, high))


def rows_needed(max_error: float, error_rate: float) -> int:
    """Rows of a part with which true probabilities are proven to hold with the chance ``POWER``.

    (z(error rate) + z((1 + power) / 2))² · ¼ / distance², for a share of one half, whose spread is
    largest, and both of its sides; 1 / distance more, for the bounds are exact (Fleiss 1981).
    """
    z, distance = float(ndtri(1 - error_rate) + ndtri((1 + POWER) / 2)), max(max_error, 1e-3)
    return int(np.ceil(z**2 / 4 / distance**2 + 1 / distance))


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


def debiased_error(judged: Judged, parts: Parts) -> float:
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
