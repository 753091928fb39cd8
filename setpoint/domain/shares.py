"""PSI between two lists of percentages, for people who have shares and no rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from setpoint.domain.drift import BANDS, Band, band_of, psi_terms
from setpoint.errors import DataError

MIN_BINS = 2
MAX_BINS = 20
TOLERANCE = 0.005
"""How far a list may be from adding up to 1 (or .5 from 100): percentages come rounded."""

INTERPRETATION: Mapping[Band, str] = {
    "safe": f"below {BANDS[0]:g}: distributed as before, nothing to do",
    "watch": f"{BANDS[0]:g} to {BANDS[1]:g}: it has moved, watch closer and find out why",
    "act": f"above {BANDS[1]:g}: another population, act",
    "inconclusive": "too few rows to call it safe or moved",
    "error": "it was not measured",
}
"""What each band asks of a reader."""


@dataclass(frozen=True)
class SharesPsi:
    """PSI of two lists of shares.

    Attributes:
        expected: Shares of the training data, adding up to 1.
        actual: Shares of the window, adding up to 1.
        terms: What each bin adds.
        psi: Their sum.
    """

    expected: tuple[float, ...]
    actual: tuple[float, ...]
    terms: tuple[float, ...]
    psi: float

    @property
    def band(self) -> Band:
        """By the figure alone: percentages do not say how many rows they rest on."""
        return band_of(self.psi)


def shares_psi(expected: Sequence[float], actual: Sequence[float]) -> SharesPsi:
    """PSI bin by bin, by the definition and with the floor of ``drift``.

    Args:
        expected: Percentages (adding up to 100) or shares (to 1) of the training data, 2 to 20.
        actual: The same of the window, for the same bins.

    Returns:
        Both lists scaled to add up to exactly 1, and what each bin adds.

    Raises:
        DataError: The lists differ in length, have fewer than 2 or more than 20 bins, hold what
            is negative or no number, or add up to neither 100 nor 1.
    """
    if len(expected) != len(actual):
        raise DataError(
            f"{len(expected)} bins are expected and {len(actual)} are actual",
            where="percentages",
            fix="give one percentage a bin in both lists, 0 for an empty bin",
        )
    e, a = _shares(expected, "expected"), _shares(actual, "actual")
    terms = psi_terms(np.array(a), np.array(e))
    return SharesPsi(e, a, tuple(terms.tolist()), float(terms.sum()))


def _shares(values: Sequence[float], where: str) -> tuple[float, ...]:
    if not MIN_BINS <= len(values) <= MAX_BINS:
        raise DataError(
            f"it has {len(values)} of the {MIN_BINS} to {MAX_BINS} bins that are allowed",
            where=where,
            fix="join bins, or compare two files: 'setpoint psi TRAINING WINDOW' has no limit",
        )
    for i, value in enumerate(values, 1):
        if not (math.isfinite(value) and value >= 0):
            raise DataError(
                f"bin {i} is {value:g}, which is no percentage",
                where=where,
                fix="give numbers from 0 on",
            )
    total = math.fsum(values)
    if not any(abs(total - whole) <= TOLERANCE * whole for whole in (1, 100)):
        raise DataError(
            f"it adds up to {total:.6g}",
            where=where,
            fix="give percentages that add up to 100 (99.5 to 100.5), or shares that add up to 1",
        )
    return tuple(value / total for value in values)


def parse_percentages(text: str, where: str) -> tuple[float, ...]:
    """Numbers of a text such as ``20,30,50`` or ``20 %, 30 %, 50 %``.

    Args:
        text: The numbers, between commas, each with a percent sign or without.
        where: Name of the list, for the error.

    Raises:
        DataError: A part is no number.
    """
    numbers = []
    for part in text.split(","):
        try:
            numbers.append(float(part.strip().removesuffix("%")))
        except ValueError as err:
            raise DataError(
                f"{part.strip()!r} is no number",
                where=where,
                fix="write numbers between commas with a point for decimals, e.g. 12.5,37.5,50",
            ) from err
    return tuple(numbers)
