"""Champion and challenger on the same rows: what a shadow shows before anyone is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.findings import (
    Finding,
    Outcome,
    mean_bounds,
    not_measured,
    watch_ceiling,
)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SMALLEST_SEGMENT = 20
"""Pairs of a segment from which it is judged."""


@dataclass(frozen=True)
class Pairs:
    """Rows that both versions decided, [n].

    Attributes:
        champion, challenger: Scores, 0 to 1.
        champion_acts, challenger_acts: Whether the action was the adverse one.
        segments: Columns by which flips are told apart, each [n].
    """

    champion: Floats
    challenger: Floats
    champion_acts: Flags
    challenger_acts: Flags
    segments: Mapping[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.champion)

    @property
    def flips(self) -> Flags:
        """Where both versions acted differently, [n]."""
        return np.not_equal(self.champion_acts, self.challenger_acts)


@dataclass(frozen=True)
class PairLimits:
    """What a shadow must show.

    Attributes:
        pairs: Rows needed.
        flips: Share of rows on which the action may differ, over all and in each segment, 0 to 1.
        difference: Mean absolute difference of the scores allowed, 0 to 1.
        error_rate: Chance of refusing a challenger exactly at one of the limits.
    """

    pairs: int
    flips: float
    difference: float
    error_rate: float


def compare(pairs: Pairs, limits: PairLimits, *, look: int = 1, last: bool) -> list[Finding]:
    """Judge a shadow by what both versions said to the same rows.

    Args:
        pairs: Rows that both decided.
        limits: What is allowed.
        look: Number of this look, from 1, among those of its kind (see ``analysis``).
        last: Whether this look can end the step; one that cannot never passes.

    Returns:
        Findings; a segment fails at its part of the error rate, so that all together err at most
        as often as the plan says.
    """
    n = len(pairs)
    enough = n >= limits.pairs and last
    outcome = Outcome.PASSED if enough else Outcome.INCONCLUSIVE
    reason = f"{n} of {limits.pairs} rows decided by both"
    found = [Finding("pairs", outcome, n, limits.pairs, "floor", n, None, reason)]
    if n == 0:
        return found
    rate = limits.error_rate / 2 / (look * (look + 1))
    flips = pairs.flips
    found.append(watch_ceiling("action_flips", int(flips.sum()), n, limits.flips, rate, 1))
    found.append(_difference(pairs, limits.difference, rate))
    named = [
        (f"{name}={value}", pairs.segments[name] == value)
        for name in pairs.segments
        for value in sorted(set(pairs.segments[name].tolist()), key=str)
    ]
    large = [(name, rows) for name, rows in named if int(rows.sum()) >= SMALLEST_SEGMENT]
    for name, rows in large:
        counts = (int(flips[rows].sum()), int(rows.sum()))
        share = rate / len(large)
        found.append(watch_ceiling("action_flips", *counts, limits.flips, share, 1, slice=name))
    return found


def _difference(pairs: Pairs, limit: float, rate: float) -> Finding:
    apart = np.abs(pairs.challenger - pairs.champion)
    n = len(apart)
    if n < SMALLEST_SEGMENT:
        reason = f"{n} pairs, {SMALLEST_SEGMENT} needed"
        return not_measured("score_difference", reason, outcome=Outcome.INCONCLUSIVE)
    low, high = mean_bounds(apart, rate)
    outcome = Outcome.FAILED if low > limit else Outcome.PASSED
    reason = f"scores differ by {low:.4g} on average at least, {limit:.4g} allowed"
    value = float(apart.mean())
    return Finding(
        "score_difference", outcome, value, limit, "ceiling", n, rate, reason, (low, high)
    )
