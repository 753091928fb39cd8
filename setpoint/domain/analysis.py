"""Is a challenger fit for more traffic? Counts of one step of a release, beside the champion's.

A breach needs proof: the error rate of the plan is the chance that a challenger which is exactly
at a limit is refused in one step, by each finding. A step is looked at many times before its last
look; these may only refuse. Half of the error rate is for the earlier looks, half for those that
can end the step (more than one, if it cannot be told whose fault slowness is). Each half is spent
as ``1 / (k (k + 1))`` at the ``k``-th look of its kind, which adds up to 1 over all ``k``: the rate
holds however often is looked.
"""

from __future__ import annotations

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
        alerts: Share of adverse actions, 0 to 1.
        error_rate: Chance of refusing, in one step, a challenger exactly at one of the limits.
    """

    requests: int
    failed: float
    slow: float
    alerts: float
    error_rate: float


@dataclass(frozen=True)
class Traffic:
    """What a version did since a step began.

    Attributes:
        requests: Scoring requests answered, refused ones not counted.
        failed: Answered with 5xx.
        slow: Answered later than 50 ms.
        refused: Refused as bad input.
        restarted: Whether its process died meanwhile.
    """

    requests: int
    failed: int
    slow: int
    refused: int
    restarted: bool


def analyse(
    challenger: Traffic,
    champion: Traffic | None,
    scores: npt.NDArray[np.float64],
    alerts: int,
    limits: Limits,
    *,
    champion_so_far: Traffic | None = None,
    look: int = 1,
    last: bool,
) -> list[Finding]:
    """Judge a step.

    Args:
        challenger: What it did.
        champion: What the champion did in the same period; ``None`` without one.
        scores: Scores that the challenger gave, [n].
        alerts: How many of them led to the adverse action.
        limits: What is allowed.
        champion_so_far: What the champion did since its process started: at 100 % it has no
            traffic in the step itself.
        look: Number of this look, from 1, among those of its kind.
        last: Whether this look can end the step; one that cannot never passes.

    Returns:
        Findings; all passed only if nothing is proven against the challenger, its requests are in,
        and this look can end the step.
    """
    n = min(len(scores), challenger.requests)
    found = [_enough(n, limits.requests, last), _alive(challenger)]
    if n == 0:
        nothing = not_measured("decisions", "no decisions yet", outcome=Outcome.INCONCLUSIVE)
        return [*found, nothing]
    rate = limits.error_rate / 2 / (look * (look + 1))
    found += [
        watch_ceiling(
            "failed_answers", challenger.failed, challenger.requests, limits.failed, rate, 1
        ),
        _slow(challenger, champion, limits, rate),
        _sound(scores),
        watch_ceiling("alert_rate", alerts, len(scores), limits.alerts, rate, 1),
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
