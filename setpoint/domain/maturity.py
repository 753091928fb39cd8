"""Labels that come late: which share of the positives is known at which age, and what follows.

Where a case is looked at its label comes at once; a positive that was let pass is known when
somebody complains, and the younger it is the less likely that has happened. A metric of known
labels alone is flattered by that: misses are missing. So a positive that nobody looked at counts
``1 / F(age)`` times, ``F(age)`` being the share of such positives that are known at its age
(Horvitz and Thompson 1952).

``F`` is estimated from delays of positives that are known so far. Those are right-truncated: of a
young cohort only the quick ones are there. The estimate is that of Lynden-Bell (1971; Lagakos et
al. 1988): ``F(t) = product over delays s > t of (1 - d(s) / n(s))``, where ``d(s)`` are the delays
of just ``s`` and ``n(s)`` the positives with a delay up to ``s`` that are at least ``s`` old. It is
relative to the longest delay seen: who never complains stays unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.domain.metrics import CostArrays
from setpoint.errors import DataError

Floats = NDArray[np.float64]

MIN_POSITIVES = 50
"""Positives with a delay under which no share is estimated."""
MIN_KNOWN = 0.2
"""Share of the positives that must be known at an age; younger rows are not judged, for each
known positive would stand for more than five."""
POINTS = 101
"""Quantiles that are stored."""


@dataclass(frozen=True)
class LabelAges:
    """The share of positives, not looked at, that are known at an age.

    Attributes:
        seconds: Ages at which the share is 0, 1/100, ... 1, increasing, seconds.
        sample: Positives it was estimated from.
    """

    seconds: tuple[float, ...]
    sample: int

    def known(self, age: Any) -> Floats:
        """Share known at each age, 0 to 1.

        Args:
            age: Seconds, [n].
        """
        shares = np.linspace(0.0, 1.0, len(self.seconds))
        return np.interp(np.asarray(age, dtype=np.float64), self.seconds, shares, left=0.0)

    def weights(self, age: Any, label: Any, looked_at: Any) -> Floats:
        """How many positives each row stands for; 1 for negatives and rows that were looked at.

        Args:
            age: Seconds, [n].
            label: 0 or 1 as known, [n].
            looked_at: Whether its label did not wait for a complaint, [n].

        Returns:
            At least 1, at most ``1 / MIN_KNOWN``, [n].
        """
        late = (np.asarray(label) == 1) & ~np.asarray(looked_at, dtype=bool)
        return np.where(late, 1.0 / np.maximum(self.known(age), MIN_KNOWN), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        return {"seconds": list(self.seconds), "sample": self.sample}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelAges:
        """What ``to_dict`` wrote."""
        return cls(tuple(float(x) for x in data["seconds"]), int(data["sample"]))


def label_ages(delay: Any, age: Any) -> LabelAges | None:
    """Estimate the share known by age from the positives known so far.

    Args:
        delay: From event to label, seconds, >= 0, of positives that nobody looked at, [n].
        age: From event to now, seconds, at least the delay, [n].

    Returns:
        ``None`` where there are fewer than ``MIN_POSITIVES``.

    Raises:
        DataError: A label came before its event or after now.
    """
    took = np.asarray(delay, dtype=np.float64)
    old = np.asarray(age, dtype=np.float64)
    if len(took) != len(old) or not ((took >= 0) & (took <= old)).all():
        raise DataError(
            "a label came before its event or after now, or the lengths differ",
            where="label_ages",
            fix="give delay and age of the same positives, 0 <= delay <= age",
        )
    if len(took) < MIN_POSITIVES:
        return None
    at, times = np.unique(took, return_counts=True)
    seen = np.cumsum(times) - np.searchsorted(np.sort(old), at, "left")
    # at the first delay nothing quicker is left: the share before it is 0
    kept = 1.0 - times[1:] / np.maximum(seen[1:], times[1:])
    share = np.concatenate([np.cumprod(kept[::-1])[::-1], [1.0]])
    levels = np.linspace(0.0, 1.0, POINTS)
    # share[0] may be far above 0 where many delays are equal: a step of no width
    places = np.concatenate([[at[0]], at])
    seconds = np.interp(levels, np.concatenate([[0.0], share]), places)
    return LabelAges(tuple(seconds.tolist()), len(took))


def weighted_costs(costs: CostArrays, label: Any, acted: Any, weight: Any) -> Floats:
    """Cost of each row where a known positive stands for ``weight`` of them, money, [n].

    The ``weight - 1`` others are among the rows that count as negative, and were priced so.

    Args:
        costs: Of each row under each outcome, [n].
        label: 0 or 1 as known, [n].
        acted: Whether the adverse action was taken, [n].
        weight: At least 1, [n].
    """
    took = np.asarray(acted, dtype=bool)
    positive = np.where(took, costs.true_positive, costs.false_negative)
    negative = np.where(took, costs.false_positive, costs.true_negative)
    extra = np.where(np.asarray(label) == 1, np.asarray(weight, dtype=np.float64), 0.0)
    return np.asarray(extra * positive + (1.0 - extra) * negative, dtype=np.float64)
