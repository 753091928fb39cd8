"""What a challenger saves, from the outcomes of randomly split traffic; looked at at any time.

The saving is the champion's mean cost of a decision less the challenger's. Shares may change from
period to period (a bandit moves them), and so may the world: versions are compared within each
period, and periods are added up by the information they carry (Mantel-Haenszel weights). Rows of
one entity hang together: the variance is that of sums over entities.

The bounds are an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", 2024; the mixture
sequential test of Robbins, 1970): the chance that the truth is ever outside is at most the error
rate, however often and whenever is looked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from setpoint.domain.findings import Finding, Outcome
from setpoint.errors import DataError

Floats = npt.NDArray[np.float64]

NAME = "saving"
"""Name of the finding."""
MIN_EFFECTIVE = 25.0
"""A variance that fewer effective entities than this carry is not trusted."""


@dataclass(frozen=True)
class Outcomes:
    """Decisions whose truth is known, a row each, [n].

    Attributes:
        challenger: Whether the challenger decided it, else the champion.
        cost: What it cost, money, finite.
        entity: Who was split: any value that is the same for rows of one entity.
        period: Number of the period with constant shares that it was decided in.

    Raises:
        DataError: Lengths differ, or a cost is not finite.
    """

    challenger: npt.NDArray[np.bool_]
    cost: Floats
    entity: npt.NDArray[Any]
    period: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        lengths = {len(self.challenger), len(self.cost), len(self.entity), len(self.period)}
        if len(lengths) > 1:
            raise DataError(
                f"columns of {sorted(lengths)} rows", where="outcomes", fix="give one row each"
            )
        bad = int((~np.isfinite(self.cost)).sum())
        if bad:
            raise DataError(
                f"{bad} costs are not finite",
                where="outcomes",
                fix="leave out decisions whose cost is not known",
            )


@dataclass(frozen=True)
class Rules:
    """When an experiment can be decided.

    Attributes:
        error_rate: Chance that a challenger which saves nothing is ever said to save, and that
            one which saves ``min_gain`` is ever said not to; one-sided each.
        min_outcomes: Decisions that each version needs.
        planned: Decisions in all at which the bounds are narrowest; any number is valid.
        min_gain: Smallest saving worth a change, share of the champion's mean cost, 0 to 1.
    """

    error_rate: float
    min_outcomes: int
    planned: int
    min_gain: float


@dataclass(frozen=True)
class Estimate:
    """What is known of the saving.

    Attributes:
        saving: Champion's mean cost less the challenger's, money a decision.
        variance: Of ``saving``.
        champion_cost: The champion's mean cost, money a decision.
        champion, challenger: Decisions of each that were compared.
        information: Decisions of an even split that would tell as much.
        effective: Entities that carry the variance.
    """

    saving: float
    variance: float
    champion_cost: float
    champion: int
    challenger: int
    information: float
    effective: float

    @property
    def chance(self) -> float:
        """Probability, 0 to 1, that the challenger is the cheaper one: posterior, flat prior."""
        if self.variance <= 0:
            return 0.5
        return float(ndtr(self.saving / math.sqrt(self.variance)))

    def bounds(self, rules: Rules) -> tuple[float, float]:
        """Lower and upper bound of the saving, valid at all looks together.

        Args:
            rules: Error rate of each, and the planned size.
        """
        alpha = min(2 * rules.error_rate, 0.5)
        heat = -2 * math.log(alpha)
        # Tightest at the planned size: the mixing variance that minimises the width there.
        ratio = (heat + math.log(heat + 1)) * self.information / rules.planned
        width = math.sqrt(self.variance * (1 + 1 / ratio) * (heat + math.log1p(ratio)))
        return self.saving - width, self.saving + width


def estimate(outcomes: Outcomes) -> Estimate | None:
    """Compare both versions within each period; ``None`` where none has decisions of both."""
    _, period = np.unique(outcomes.period, return_inverse=True)
    arm = outcomes.challenger.astype(np.int64)
    cell = 2 * period + arm
    size = int(cell.max()) // 2 * 2 + 2 if len(cell) else 2
    counts = np.bincount(cell, minlength=size).reshape(-1, 2).astype(np.float64)
    sums = np.bincount(cell, outcomes.cost, minlength=size).reshape(-1, 2)
    both = (counts > 0).all(axis=1)
    if not both.any():
        return None
    weight = np.where(both, counts.prod(axis=1) / np.maximum(counts.sum(axis=1), 1), 0.0)
    total = float(weight.sum())
    means = sums / np.maximum(counts, 1)
    saving = float((weight * (means[:, 0] - means[:, 1])).sum() / total)
    sign = np.where(outcomes.challenger, -1.0, 1.0)
    pull = sign * weight[period] / total / counts[period, arm]
    _, entity = np.unique(outcomes.entity, return_inverse=True)
    apart = np.bincount(entity, pull * (outcomes.cost - means[period, arm]))
    squares = np.square(apart)
    variance = float(squares.sum())
    fourth = float(np.square(squares).sum())
    effective = variance**2 / fourth if fourth > 0 else 0.0
    seen = counts[both]
    return Estimate(
        saving=saving,
        # The residuals of few entities are too small by the means they were taken from.
        variance=variance * effective / max(effective - 2, 1.0),
        champion_cost=float((weight * means[:, 0]).sum() / total),
        champion=int(seen[:, 0].sum()),
        challenger=int(seen[:, 1].sum()),
        information=4 * total,
        effective=effective,
    )


def judge(outcomes: Outcomes, rules: Rules) -> Finding:
    """Is the challenger the cheaper one?

    Returns:
        The saving, money a decision. Passed: it saves, proven. Failed: it costs more, or what it
        could save is proven to be less than is worth a change. Inconclusive: not known yet.
    """
    found = estimate(outcomes)
    n = len(outcomes.cost)
    if found is None:
        return _finding(Outcome.INCONCLUSIVE, None, n, rules, "no decisions of both versions yet")
    fewest = min(found.champion, found.challenger)
    n = found.champion + found.challenger
    if fewest < rules.min_outcomes:
        reason = f"{fewest} known outcomes of one version, {rules.min_outcomes} needed"
        return _finding(Outcome.INCONCLUSIVE, found, n, rules, reason)
    if found.effective < MIN_EFFECTIVE:
        reason = f"{found.effective:.0f} entities carry it all, {MIN_EFFECTIVE:g} needed"
        return _finding(Outcome.INCONCLUSIVE, found, n, rules, reason)
    low, high = found.bounds(rules)
    worth = rules.min_gain * max(found.champion_cost, 0.0)
    side = f"{found.saving:.4g} a decision, between {low:.4g} and {high:.4g}"
    if low > 0:
        outcome, reason = Outcome.PASSED, f"the challenger saves {side}"
    elif high < 0:
        outcome, reason = Outcome.FAILED, f"the challenger costs more, it saves {side}"
    elif high < worth:
        outcome = Outcome.FAILED
        reason = f"no difference worth a change ({worth:.4g}): the challenger saves {side}"
    else:
        outcome, reason = Outcome.INCONCLUSIVE, f"cannot tell yet: the challenger saves {side}"
    return _finding(outcome, found, n, rules, reason, (low, high))


def _finding(
    outcome: Outcome,
    found: Estimate | None,
    n: int,
    rules: Rules,
    reason: str,
    bounds: tuple[float, float] | None = None,
) -> Finding:
    value = None if found is None else found.saving
    return Finding(NAME, outcome, value, 0.0, "floor", n, rules.error_rate, reason, bounds)


def harm(outcomes: Outcomes, rules: Rules) -> Finding | None:
    """Is the challenger proven to cost more? For steps that outcomes do not decide.

    Returns:
        Passed without proof of harm, failed with it; ``None`` while too little is known to tell.
    """
    found = judge(outcomes, rules)
    if found.interval is None:
        return None
    if found.interval[1] < 0:
        return found
    reason = f"no proof of harm: {found.value:.4g} saved a decision"
    return Finding(
        NAME,
        Outcome.PASSED,
        found.value,
        0.0,
        "floor",
        found.sample,
        rules.error_rate,
        reason,
        found.interval,
    )


def thompson_share(outcomes: Outcomes, rules: Rules, *, floor: int, start: int) -> int:
    """The challenger's next share under Thompson sampling, percent.

    Sampling an arm by the posterior of its mean gives each arm traffic in proportion to the
    probability that it is the best; here the share is that probability itself, so nothing is
    drawn. The prior is flat.

    Args:
        outcomes: What is known.
        rules: Decisions needed before the share moves.
        floor: Percent that each version keeps, 1 to 50.
        start: Percent until enough is known.
    """
    found = estimate(outcomes)
    known = 0 if found is None else min(found.champion, found.challenger)
    if found is None or known < rules.min_outcomes or found.effective < MIN_EFFECTIVE:
        return start
    return min(max(round(100 * found.chance), floor), 100 - floor)


def regret(percents: Floats, decisions: Floats, saving: float) -> float:
    """Money that a split cost beyond giving all traffic to the cheaper version.

    Args:
        percents: The challenger's share in each period, [n].
        decisions: Decisions of each period, [n].
        saving: True saving of the challenger, money a decision; negative if it costs more.
    """
    wrong = 100 - percents if saving > 0 else percents
    return float(abs(saving) * (wrong / 100 * decisions).sum())
