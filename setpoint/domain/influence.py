"""Influence of a source: does a model that learns its rows too do worse on trusted ones?

A small model learns trusted rows, once alone and once with the new rows of one source, and both are
judged on the same other trusted rows, none of them given by that source ("reject on negative
impact", Barreno et al. 2010). Sound rows of the same world make it better; rows that make it worse,
beyond the bound, are named. Nothing tells a planted worsening from a change of the world, so a
person is asked.

The other new sources are in neither model: two that are poisoned alike would each be without
influence beside the other (masking, Hadi and Simonoff 1993), and one that changes nothing beside
many others would be worse by chance half of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from setpoint.domain.bounds import mean_bounds
from setpoint.domain.findings import (
    MIN_EFFECTIVE,
    Finding,
    Outcome,
    effective_rows,
    not_measured,
)
from setpoint.domain.gates.baseline import evenly
from setpoint.domain.training import (
    Bools,
    Floats,
    Parameters,
    Rows,
    fit_pipeline,
    joined,
    raw_scores,
)

Sources = npt.NDArray[np.object_]

CALM = Parameters(max_iter=40, max_leaf_nodes=6, min_samples_leaf=100, l2=10.0)
"""Few and large leaves: what more rows change by chance is small beside what poison does."""
MOST_ROWS = 50_000
"""Rows that train of the trusted ones, and of a source, at most; they are taken evenly."""
MIN_ROWS = 50
"""Rows of a source whose influence is measured, at least."""
MIN_JUDGES = 200
"""Groups of trusted rows that judge, at least."""
LEAST = 1e-6
"""Probability below which a score counts as this, so that every loss is finite."""

WORSE = ": it makes a model worse; the world changed or this was planted, ask a person"


@dataclass(frozen=True)
class Judges:
    """Trusted rows that train, and others that judge.

    Attributes:
        fit: Those that train.
        rows: Those that judge; no group is in both.
        given: Who gave each of those that judge, as text, [n]; ``None``: none of the new sources.
    """

    fit: Rows
    rows: Rows
    given: Sources | None = None

    @cached_property
    def train(self) -> Rows:
        """Those that train, at most ``MOST_ROWS``."""
        return evenly(self.fit, MOST_ROWS)

    @cached_property
    def alone(self) -> Floats:
        """Loss of each row that judges by a model of trusted rows alone, in nats, [n]."""
        return self._losses(self.train)

    def given_by(self, source: str) -> Bools:
        """Which of those that judge a source gave, [n]."""
        if self.given is None:
            return np.zeros(len(self.rows), dtype=np.bool_)
        return np.asarray(self.given == source, dtype=np.bool_)

    def beside(self, rows: Rows) -> Floats:
        """The same by a model that learned further rows too, [n]."""
        return self._losses(joined(self.train, evenly(rows, MOST_ROWS)))

    def _losses(self, train: Rows) -> Floats:
        score = np.clip(raw_scores(fit_pipeline(train, CALM), self.rows), LEAST, 1 - LEAST)
        loss = -np.log(np.where(self.rows.label == 1, score, 1 - score))
        return loss if self.rows.weight is None else loss * self.rows.weight


def influence_finding(judges: Judges, rows: Rows, source: str, error_rate: float) -> Finding:
    """How much the log loss on trusted rows rises with the rows of a source.

    Differences are paired, and summed by group before they are bounded, as rows of one group are
    not independent. Value and interval are shares of the loss without the source.

    Args:
        judges: What is trusted.
        rows: New rows of one source.
        source: Its name.
        error_rate: Chance that a source without influence is named; one-sided.

    Returns:
        Passed where no rise is proven. Where one is: inconclusive, with an interval above 0.
    """
    name, its = "influence", judges.given_by(source)
    group = judges.rows.group[~its]
    groups = len(set(group.tolist()))
    if len(rows) < MIN_ROWS or groups < MIN_JUDGES:
        reason = (
            f"{len(rows)} rows of it and {groups} groups of trusted ones that it did not give; "
            f"{MIN_ROWS} and {MIN_JUDGES} needed"
        )
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE, slice=source)
    alone = judges.alone[~its]
    rise = _by_group(judges.beside(rows)[~its] - alone, group) / float(alone.mean())
    carried = effective_rows(rise)
    if rise.any() and carried < MIN_EFFECTIVE:
        reason = f"the change is carried by {carried:.1f} groups, {MIN_EFFECTIVE:g} needed"
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE, slice=source)
    low, high = mean_bounds(rise, error_rate)
    told = (
        f"with its {len(rows)} rows the log loss on {len(group)} trusted rows of {len(rise)} "
        f"groups changes by {rise.mean():+.1%} ({low:+.1%} to {high:+.1%})"
    )
    outcome = Outcome.INCONCLUSIVE if low > 0 else Outcome.PASSED
    told += WORSE if low > 0 else ""
    bounds = (low, high)
    value, n = float(rise.mean()), len(rise)
    return Finding(name, outcome, value, 0.0, "ceiling", n, error_rate, told, bounds, source)


def _by_group(values: Floats, group: npt.NDArray[np.object_]) -> Floats:
    """One number a group, whose mean is the mean of all values, [groups]."""
    _, place = np.unique(group, return_inverse=True)
    sums = np.bincount(place, values)
    return np.asarray(sums * len(sums) / len(values), dtype=np.float64)
