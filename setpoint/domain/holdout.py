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

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from setpoint.domain.ledger import Entry
from setpoint.errors import DataError

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

    @classmethod
    def told(cls, entries: Iterable[Entry]) -> Holdout:
        """As the ledger tells it.

        Args:
            entries: Each with ``version``, and ``first`` and ``last`` event time, oldest first.

        Raises:
            DataError: One was altered: how often the rows were looked at is not known.
        """
        seen: dict[str, tuple[int, int]] = {}
        for entry in entries:
            told = entry.evidence
            try:
                seen[str(told["version"])] = int(told["first"]), int(told["last"])
            except (KeyError, TypeError, ValueError) as err:
                raise DataError(
                    f"ledger entry {entry.seq} does not say which rows were looked at",
                    where="ledger",
                    fix="run 'setpoint audit', and restore state.db from a backup",
                ) from err
        return cls(dict([*seen.items()][-MOST:]))
