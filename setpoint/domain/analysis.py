"""Is a challenger fit for more traffic? Counts of one step of a release, beside the champion's.

A breach needs proof: the error rate of the plan is the chance that a challenger which is exactly
at a limit is refused in one step, by each finding. A step is looked at many times before its last
look; these may only refuse. Half of the error rate is for the earlier looks, half for those that
can end the step (more than one, if it cannot be told whose fault slowness is). Each half is spent
as ``1 / (k (k + 1))`` at the ``k``-th look of its kind, which adds up to 1 over all ``k``: the rate
holds however often is looked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from setpoint.domain.findings import (
    Finding,
    Outcome,
    check_value,
    not_measured,
    proportion_bounds,
    watch_ceiling,
    watch_floor,
)

MIN_CHAMPION = 20
"""Requests of the champion from which its own slowness can excuse the challenger's."""


@dataclass(frozen=True)
class Limits:
    """What a challenger may do at most.

    Attributes:
        requests: Requests needed before a step can pass.
        failed: Share of failed answers, 0 to 1.
        slow: Share of answers slower than 50 ms, 0 to 1.
        alerts: Share of adverse actions, at most, 0 to 1.
        fewest_alerts: Share of adverse actions, at least, 0 to 1.
        score_shift: Mean distance of its scores from the champion's, 0 to 1.
        action_shift: Difference of its share of adverse actions from the champion's, 0 to 1.
        error_rate: Chance of refusing, in one step, a challenger exactly at one of the limits.
    """

    requests: int
    failed: float
    slow: float
    alerts: float
    error_rate: float
    fewest_alerts: float = 0.0
    score_shift: float = 1.0
    action_shift: float = 1.0


@dataclass(frozen=True)
class Decided:
    """Scores that a version gave, [n], and how many of them led to the adverse action."""

    scores: npt.NDArray[np.float64]
    alerts: int

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Traffic:
    """What a version did since a step began.

    Attributes:
        requests: Scoring requests answered, refused ones not counted.
        failed: Answered with 5xx.
        slow: Answered later than 50 ms.
        refused: Refused as bad input.
        restarted: Whether its process died meanwhile.
        replaced: Requests meant for it that another version answered in its place.
    """

    requests: int
    failed: int
    slow: int
    refused: int
    restarted: bool
    replaced: int = 0

    @property
    def meant(self) -> int:
        """Requests meant for it; one that it failed and another answered counts once."""
        return self.requests + max(0, self.replaced - self.failed)

    @property
    def missed(self) -> int:
        """How many of them it did not answer well."""
        return max(self.failed, self.replaced)


def analyse(
    challenger: Traffic,
    champion: Traffic | None,
    decided: Decided,
    limits: Limits,
    *,
    beside: Decided | None = None,
    champion_so_far: Traffic | None = None,
    look: int = 1,
    last: bool,
) -> list[Finding]:
    """Judge a step.

    Args:
        challenger: What it did.
        champion: What the champion did in the same period; ``None`` without one.
        decided: What the challenger decided.
        limits: What is allowed.
        beside: What the champion decided in the same period, or last where it has no traffic;
            ``None`` if that is compared otherwise.
        champion_so_far: What the champion did since its process started: at 100 % it has no
            traffic in the step itself.
        look: Number of this look, from 1, among those of its kind.
        last: Whether this look can end the step; one that cannot never passes.

    Returns:
        Findings; all passed only if nothing is proven against the challenger, its requests are in,
        and this look can end the step.
    """
    n = min(len(decided), challenger.requests)
    found = [_enough(n, limits.requests, last), _alive(challenger)]
    rate = limits.error_rate / 2 / (look * (look + 1))
    if challenger.meant:
        missed, meant = challenger.missed, challenger.meant
        found.append(watch_ceiling("failed_answers", missed, meant, limits.failed, rate, 1))
    if n == 0:
        nothing = not_measured("decisions", "no decisions yet", outcome=Outcome.INCONCLUSIVE)
        return [*found, nothing]
    counts = (decided.alerts, len(decided))
    found += [
        _slow(challenger, champion, limits, rate),
        _sound(decided.scores),
        watch_ceiling("alert_rate", *counts, limits.alerts, rate, 1),
        watch_floor("fewest_alerts", *counts, limits.fewest_alerts, rate, 1),
    ]
    if beside is not None:
        found += [
            score_shift(decided.scores, beside.scores, limits.score_shift, rate),
            _action_shift(decided, beside, limits.action_shift, rate),
        ]
    if champion is not None:
        found.append(_refusals(challenger, champion_so_far or champion, rate))
    return found


def _enough(n: int, needed: int, last: bool) -> Finding:
    outcome = Outcome.PASSED if n >= needed and last else Outcome.INCONCLUSIVE
    reason = f"{n} of {needed} requests" + ("" if last else "; the step goes on")
    return Finding("requests", outcome, n, needed, "floor", n, None, reason)


def _alive(challenger: Traffic) -> Finding:
    outcome = Outcome.FAILED if challenger.restarted else Outcome.PASSED
    reason = "its process died" if challenger.restarted else "its process has lived on"
    restarts = float(challenger.restarted)
    return Finding("restarts", outcome, restarts, 0.0, "ceiling", 1, None, reason)


def _sound(scores: npt.NDArray[np.float64]) -> Finding:
    unsound = int(np.sum(~np.isfinite(scores) | (scores < 0) | (scores > 1)))
    return check_value("unsound_scores", float(unsound), 0.0, "ceiling", sample=len(scores))


def score_shift(
    challenger: npt.NDArray[np.float64],
    champion: npt.NDArray[np.float64],
    limit: float,
    rate: float,
) -> Finding:
    """How far the challenger's scores lie from the champion's: the distance of Wasserstein.

    It fails only on proof: the distance that is left when each distribution is moved by as much
    as its sample can err (Dvoretzky, Kiefer and Wolfowitz, with the constant of Massart, 1990).

    Args:
        challenger: Its scores, [n], 0 to 1; others are left out.
        champion: Its scores, [m], of other rows of the same traffic.
        limit: Distance allowed, 0 to 1.
        rate: Chance that a distance of exactly ``limit`` is found too large.
    """
    ours, theirs = (np.sort(x[np.isfinite(x)].clip(0, 1)) for x in (challenger, champion))
    fewest = min(len(ours), len(theirs))
    if fewest < MIN_CHAMPION:
        reason = f"{fewest} scores of one version, {MIN_CHAMPION} needed"
        return not_measured("score_shift", reason, outcome=Outcome.INCONCLUSIVE)
    edges = np.union1d(ours, theirs)
    below = [np.searchsorted(x, edges[:-1], "right") / len(x) for x in (ours, theirs)]
    gap, width = np.abs(below[0] - below[1]), np.diff(edges)
    # Each side errs with half of the rate, in either direction.
    slack = math.sqrt(math.log(4 / rate) / 2) * (len(ours) ** -0.5 + len(theirs) ** -0.5)
    value = float((gap * width).sum())
    low = float((np.maximum(gap - slack, 0) * width).sum())
    failed = low > limit
    reason = f"at least {low:.4g} from the champion's, {limit:.4g} allowed"
    outcome = Outcome.FAILED if failed else Outcome.PASSED
    return Finding("score_shift", outcome, value, limit, "ceiling", fewest, rate, reason)


def _action_shift(decided: Decided, beside: Decided, limit: float, rate: float) -> Finding:
    """Difference of the shares of adverse actions, proven by bounds of each."""
    fewest = min(len(decided), len(beside))
    if fewest < MIN_CHAMPION:
        reason = f"{fewest} actions of one version, {MIN_CHAMPION} needed"
        return not_measured("action_shift", reason, outcome=Outcome.INCONCLUSIVE)
    low, high = proportion_bounds(decided.alerts, len(decided), rate / 2)
    low_beside, high_beside = proportion_bounds(beside.alerts, len(beside), rate / 2)
    apart = max(low - high_beside, low_beside - high, 0.0)
    value = abs(decided.alerts / len(decided) - beside.alerts / len(beside))
    outcome = Outcome.FAILED if apart > limit else Outcome.PASSED
    reason = f"at least {apart:.4g} from the champion's share, {limit:.4g} allowed"
    return Finding("action_shift", outcome, value, limit, "ceiling", fewest, rate, reason)


def _slow(challenger: Traffic, champion: Traffic | None, limits: Limits, rate: float) -> Finding:
    """Share of slow answers; where the champion is slow too, the machine may be at fault."""
    found = watch_ceiling(
        "slow_answers", challenger.slow, challenger.requests, limits.slow, rate, 1
    )
    if found.outcome != Outcome.FAILED or champion is None or champion.requests < MIN_CHAMPION:
        return found
    low, _ = proportion_bounds(challenger.slow, challenger.requests, rate)
    _, high = proportion_bounds(champion.slow, champion.requests, rate)
    if low > high:
        return found
    reason = (
        f"{challenger.slow} of {challenger.requests} slower than 50 ms, but the champion too, "
        f"{champion.slow} of {champion.requests}: it cannot be told whose fault that is"
    )
    return replace(found, outcome=Outcome.INCONCLUSIVE, reason=reason)


def _refusals(challenger: Traffic, champion: Traffic, rate: float) -> Finding:
    """A version that refuses what the champion takes loses requests, whatever it calls them."""
    total = challenger.requests + challenger.refused
    if champion.requests + champion.refused == 0:
        return not_measured(
            "refused_requests", "the champion has had no requests", outcome=Outcome.INCONCLUSIVE
        )
    _, ceiling = proportion_bounds(champion.refused, champion.requests + champion.refused, rate)
    return watch_ceiling("refused_requests", challenger.refused, total, ceiling, rate, 1)
