"""The challenger beside the champion, paired on the same rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from setpoint.domain.findings import Finding, Outcome, check_mean_difference
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.unseen import pessimistic_saving

POWER = 0.8
"""Chance with which the rows that a reason asks for would prove the saving (Cohen 1988)."""


def champion_gate(
    challenger: Judged, champion: Judged, *, error_rate: float, min_sample: int
) -> Finding:
    """Is the challenger cheaper than the champion, paired on the same rows?"""
    return paired_saving(
        "saves_against_champion",
        challenger,
        champion,
        error_rate=error_rate,
        min_sample=min_sample,
    )


def paired_saving(
    name: str, challenger: Judged, other: Judged, *, error_rate: float, min_sample: int
) -> Finding:
    """Is a challenger cheaper than another, paired on the same rows?

    Passed if two bounds prove it: that of the mean of the differences (``mean_bounds``), and that
    which counts losses not seen yet (``pessimistic_saving``), where rows are priced. Neither
    replaces the other: the first knows nothing of unseen losses, the second takes it as given
    where both act differently.

    Args:
        name: What was measured.
        challenger: The rows as the challenger decides them.
        other: The same rows as the other one does.
        error_rate: One-sided chance that an equal challenger passes.
        min_sample: Rows needed.

    Returns:
        The finding; its value is the saving a row. One that is inconclusive says how many rows
        would prove the saving seen.
    """
    saved = other.cost - challenger.cost
    found = check_mean_difference(name, saved, error_rate=error_rate, min_sample=min_sample)
    if found.passed and other.priced is not None and found.interval is not None:
        low = pessimistic_saving(challenger, other, error_rate)
        bounds = (min(low, found.interval[0]), found.interval[1])
        found = replace(found, interval=bounds)
        if low <= 0:
            left = other.acted & ~challenger.acted
            reason = (
                f"cannot tell: {int(other.label[left].sum())} positives among {int(left.sum())} "
                f"rows no longer acted on; with losses not seen yet it may save {low:.4g} a row"
            )
            found = replace(found, outcome=Outcome.INCONCLUSIVE, reason=reason)
    if found.outcome != Outcome.INCONCLUSIVE:
        return found
    asked = _asked(saved, error_rate)
    return replace(found, reason=f"{found.reason}; {asked}") if asked else found


def _asked(saved: np.ndarray[tuple[int], np.dtype[np.float64]], error_rate: float) -> str:
    rows = rows_needed(saved, error_rate)
    if rows is None:
        return "no saving is seen that more rows could prove"
    # As many as there are did not do: few of them carry the saving, and the reason says so.
    return f"about {rows:,} rows would prove the saving seen" if rows > len(saved) else ""


def rows_needed(
    saved: np.ndarray[tuple[int], np.dtype[np.float64]], error_rate: float
) -> int | None:
    """Rows that would prove the mean seen with a chance of ``POWER``; ``None`` if it is not > 0.

    n = ((z of the error rate + z of the power) · standard deviation / mean)², two-digit.
    """
    mean, spread = (float(saved.mean()), float(saved.std())) if len(saved) else (0.0, 0.0)
    if mean <= 0:
        return None
    z = float(ndtri(1 - error_rate) + ndtri(POWER))
    rows = (z * spread / mean) ** 2
    if rows < 10:
        return max(math.ceil(rows), 2)
    step = int(10 ** (math.floor(math.log10(rows)) - 1))
    return math.ceil(rows / step) * step
