"""One-sided bounds of a proportion and of a mean; rows are taken to be independent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from setpoint.errors import DataError

FloatArray = NDArray[np.float64]


def proportion_bounds(successes: int, n: int, error_rate: float) -> tuple[float, float]:
    """Clopper-Pearson bounds of a proportion, each one-sided at ``error_rate``.

    Args:
        successes: Number of successes, 0 to ``n``.
        n: Number of trials; 0 gives (0, 1).
        error_rate: Between 0 and 1, exclusive.

    Returns:
        Lower and upper bound, 0 to 1.

    Raises:
        DataError: Counts or error rate are impossible.
    """
    if not 0 <= successes <= n:
        raise DataError(
            f"{successes} successes of {n} trials",
            where="successes",
            fix="count successes among the trials: 0 <= successes <= n",
        )
    check_error_rate(error_rate)
    low = float(betaincinv(successes, n - successes + 1, error_rate)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - error_rate)) if successes < n else 1.0
    return low, high


def check_error_rate(error_rate: float) -> None:
    """Refuse an error rate that is not between 0 and 1, exclusive.

    Raises:
        DataError: It is not.
    """
    if not 0 < error_rate < 1:
        raise DataError(
            f"error rate {error_rate} is not between 0 and 1",
            where="error_rate",
            fix="give the accepted chance of a wrong verdict, e.g. 0.05",
        )


def effective_rows(values: FloatArray) -> float:
    """Kish's effective number of rows that carry a sum: (Σ|x|)² / Σx²; 0 if all are 0."""
    squares = float(np.square(values).sum())
    return float(np.abs(values).sum()) ** 2 / squares if squares > 0 else 0.0


def mean_bounds(values: FloatArray, error_rate: float) -> tuple[float, float]:
    """Bounds of a mean, each one-sided at ``error_rate``, for skewed and zero-inflated values.

    Each bound is the wider of two: Student's t with as many degrees of freedom as effective rows
    less one (``effective_rows``), and the normal bound corrected for skewness by Hall's monotone
    cubic transformation (1992), which is what a studentised bootstrap comes to, without
    resampling. Deterministic.

    Args:
        values: Finite numbers, at least 2.
        error_rate: Between 0 and 1/2.

    Returns:
        Lower and upper bound, in the unit of ``values``.
    """
    mean = float(values.mean())
    spread = float(values.std())
    if spread <= 1e-12 * abs(mean):
        return mean, mean
    n = len(values)
    apart = (values - mean) / spread
    skew = float(np.mean(apart * apart * apart))  # a power takes twenty times as long
    degrees = max(effective_rows(values) - 1.0, 1.0)
    wide = float(stdtrit(degrees, 1 - error_rate)) * spread / math.sqrt(n)
    z = float(ndtri(1 - error_rate))
    low = mean - spread * _hall(z / math.sqrt(n), skew, n)
    high = mean - spread * _hall(-z / math.sqrt(n), skew, n)
    return min(low, mean - wide), max(high, mean + wide)


def _hall(x: float, skew: float, n: int) -> float:
    third = skew / 3
    if abs(third) < 1e-9:
        return x
    return (math.cbrt(1 + 3 * third * (x - skew / (6 * n))) - 1) / third
