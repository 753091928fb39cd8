"""The price of judging one candidate after the other on the same rows.

Each verdict tells a little of the rows it rests on: of enough equal candidates one passes by
chance. So the k-th candidate that is held against the champion on the same rows is judged at
α · 6/(π²k²), which adds up to α over all of them (alpha spending). That is enough although later
candidates follow from earlier verdicts: before the first false promotion all that anything could
learn is that every candidate was refused, and of that there is one history only (the argument of
the ladder, Blum and Hardt 2015). It holds for the loop, which reads verdicts, not for a person who
reads the findings' values and fits to them.

A candidate counts as long as the rows that it saw make up more than a share of the present ones:
fresh rows restore the budget.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST = 1000
"""Candidates that are remembered: as many as a project file may let judge the same rows."""

Times = npt.NDArray[np.int64]


def spent_rate(error_rate: float, candidate: int) -> float:
    """Error rate of the ``candidate``-th on the same rows, from 1."""
    return error_rate * 6 / (math.pi * candidate) ** 2


@dataclass(frozen=True)
class Holdout:
    """Which candidates were held against a champion, and on which rows.

    Attributes:
        seen: First and last event time of the rows by version, microseconds since the epoch.
    """

    seen: Mapping[str, tuple[int, int]]

    def judged_before(self, version: str, time: Times, fresh: float) -> int:
        """How many other candidates saw most of these rows.

        Args:
            version: The candidate; judged again, it does not count twice.
            time: Event time of the rows that judge it, microseconds since the epoch, [n].
            fresh: Share of rows not seen by one from which on that one does not count.
        """
        if not len(time):
            return 0
        return sum(
            float(np.mean((time >= first) & (time <= last))) > 1 - fresh
            for other, (first, last) in self.seen.items()
            if other != version
        )

    def with_candidate(self, version: str, time: Times) -> Holdout:
        """The same with one more; of more than ``MOST`` without the oldest."""
        others = [(v, rows) for v, rows in self.seen.items() if v != version]
        newest = [*others, (version, (int(time.min()), int(time.max())))][-MOST:]
        return Holdout(dict(newest))

    def to_json(self) -> str:
        """As text."""
        return json.dumps({version: list(times) for version, times in self.seen.items()})

    @classmethod
    def from_json(cls, text: str | None) -> Holdout:
        """What ``to_json`` wrote; of nothing, an unused one."""
        told = json.loads(text or "{}")
        return cls({version: (times[0], times[1]) for version, times in told.items()})
