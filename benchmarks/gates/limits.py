"""How often do the gates with a limit pass, and fail, what is known to keep or break it?

Each asks the gate's own verdict about models that are well within its limit, exactly at it, and
well beyond; of robustness the rows that change are drawn, and their count is judged. Exactly at the
limit no more may pass than the stated error rate, and no more may fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from benchmarks.gates.promotion import AMOUNT, RULE, TAILS, Rng, draw, flips
from setpoint.domain.findings import Finding, Outcome, check_ceiling
from setpoint.domain.gates.baseline import Simpler, baseline_gate
from setpoint.domain.gates.calibration import calibration_gate
from setpoint.domain.gates.explainability import agreement_gate
from setpoint.domain.gates.fairness import fairness_gate
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.overfit import overfit_gate
from setpoint.domain.gates.setpoints import Target, setpoint_finding
from setpoint.domain.gates.slices import declared_slices, found_slices, slices_gate

ROWS = 4_000
WHERE = {"well_within": 0.25, "exactly_at": 1.0, "beyond": 1.5}
"""How far a model goes, as a share of what the gate allows."""
STATED = {"simpler way": RULE.baseline.error_rate}
"""Error rates of the gates that do not state that of the setpoints."""
ENDS = (Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Rate:
    group: str
    hits: int
    sample: int


def fairness(rounds: int) -> dict[str, dict[str, float]]:
    """Share of verdicts of the fairness gate by the true ratio of two groups and their rows."""
    found = {}
    for name, ratio in {"fair": 1.0, "exactly_the_floor": 0.8, "unfair": 0.6}.items():
        for size in (100, 1_000, 4_000):
            rng = np.random.default_rng([5, size, round(100 * ratio)])
            best, worst = rng.binomial(size, 0.6, rounds), rng.binomial(size, 0.6 * ratio, rounds)
            ends = [
                fairness_gate(
                    "group", [_Rate("a", int(b), size), _Rate("b", int(w), size)],
                    floor=0.8, min_group=30, error_rate=RULE.setpoint_error_rate,
                ).outcome
                for b, w in zip(best, worst, strict=True)
            ]  # fmt: skip
            found[f"{name}, {size:,} a group"] = {
                end: ends.count(end) / rounds for end in ("passed", "failed", "inconclusive")
            }
    return found


def _at_the_setpoint(rng: Rng, metric: str) -> tuple[Target, Judged]:
    """Rows of a model whose true value is exactly its setpoint."""
    n = 4_000
    label = (rng.random(n) < 0.05).astype(np.int8)
    score, acted, cost = rng.random(n), np.zeros(n, bool), np.zeros(n)
    if metric == "recall":
        acted = np.where(label == 1, rng.random(n) < 0.7, rng.random(n) < 0.05)
        return Target(metric, metric, "floor", 0.7), Judged(label, score, acted, cost)
    if metric == "precision":
        acted = np.where(label == 1, rng.random(n) < 0.6, rng.random(n) < 0.6 / 19)
        return Target(metric, metric, "floor", 0.5), Judged(label, score, acted, cost)
    if metric == "alert_rate":
        return Target(metric, metric, "ceiling", 0.05), Judged(label, score, score < 0.05, cost)
    if metric == "roc_auc":
        shift = math.sqrt(2) * float(ndtri(0.8))
        score = rng.standard_normal(n) + shift * label
        return Target(metric, metric, "floor", 0.8), Judged(label, score, acted, cost)
    amounts = rng.lognormal(math.log(AMOUNT) - 0.72, 1.2, n)
    cost = np.where(rng.random(n) < 0.02, amounts, 1.0)
    target = Target(metric, metric, "ceiling", 0.02 * AMOUNT + 0.98)
    return target, Judged(label, score, acted, cost)


def setpoints(rounds: int) -> dict[str, float]:
    """Share of passes of each setpoint's gate by a model that is exactly at it."""
    shares = {}
    for k, metric in enumerate(("recall", "precision", "alert_rate", "roc_auc", "cost")):
        rng = np.random.default_rng([3, k])
        named = "cost_per_decision" if metric == "cost" else metric
        passed = sum(_setpoint_passes(*_at_the_setpoint(rng, named)) for _ in range(rounds))
        shares[named] = passed / rounds
    return shares


def _setpoint_passes(target: Target, judged: Judged) -> bool:
    return setpoint_finding(
        target, judged, reading="gate", error_rate=RULE.setpoint_error_rate, min_sample=20
    ).passed


def limits(rounds: int) -> dict[str, dict[str, float]]:
    """Share of verdicts of each gate by how far the model goes, beside the rate that it states."""
    found = {}
    for k, (name, gate) in enumerate(LIMITS.items()):
        for where, share in WHERE.items():
            rng = np.random.default_rng([7, k, round(100 * share)])
            ends = [gate(rng, share) for _ in range(rounds)]
            stated = {"stated": STATED.get(name, RULE.setpoint_error_rate)}
            found[f"{name}, {where.replace('_', ' ')}"] = stated | _shares(
                [e.outcome for e in ends]
            )
    return found


def _shares(ends: list[Outcome]) -> dict[str, float]:
    return {str(end): ends.count(end) / len(ends) for end in ENDS}


def _overfit(rng: Rng, share: float) -> Finding:
    """Scores of two normal distributions; on rows that train they are further apart."""
    gap, own = RULE.overfit.max_gap, 0.95

    def drawn(area: float, rows: int) -> tuple[npt.NDArray[np.int8], Floats]:
        label = (rng.random(rows) < 0.05).astype(np.int8)
        return label, rng.standard_normal(rows) + math.sqrt(2) * float(ndtri(area)) * label

    return overfit_gate(
        drawn(own, 3 * ROWS), drawn(own - share * gap, ROWS),
        max_gap=gap, error_rate=RULE.setpoint_error_rate,
    )  # fmt: skip


def _calibration(rng: Rng, share: float) -> Finding:
    """Probabilities that are all too high by the same distance."""
    limit = RULE.calibration.max_error
    truth = rng.uniform(0.02, 0.6, ROWS)
    label = (rng.random(ROWS) < truth).astype(np.int8)
    judged = Judged(label, truth + share * limit, truth > 0.5, np.zeros(ROWS))
    return calibration_gate(judged, max_error=limit, error_rate=RULE.setpoint_error_rate)


def _baseline(rng: Rng, share: float) -> Finding:
    """A candidate that costs 30 % less than the simpler way, as much, or 5 % more."""
    factor = {0.25: 0.7, 1.0: 1.0, 1.5: 1.05}[share]
    candidate, other = draw(rng, ROWS, TAILS["heavy"], flips("swaps", factor))
    return baseline_gate(
        candidate, Simpler("the other", other),
        error_rate=RULE.baseline.error_rate, min_sample=RULE.min_sample,
    )  # fmt: skip


def _counted(limit: float, rows: int, parts: int = 1) -> Callable[[Rng, float], Finding]:
    """Rows that change their action, each by its own chance; the worst of equal parts is judged."""

    def gate(rng: Rng, share: float) -> Finding:
        worst = int(rng.binomial(rows, share * limit, parts).max())
        rate = RULE.setpoint_error_rate / parts
        return check_ceiling("changed", worst, rows, limit, rate, min(rows, RULE.min_sample))

    return gate


def _agreement(rng: Rng, share: float) -> Finding:
    """Cosines of two explanations, around a mean that is 1.75, 1 and .5 times what is needed."""
    needed = RULE.explainability.second_opinion
    mean = (2 - share) * needed
    agreed = 2 * rng.beta(4 * (1 + mean), 4 * (1 - mean), 60) - 1
    return agreement_gate(
        "second_opinion", agreed, needed, "floor", error_rate=RULE.setpoint_error_rate,
        short=Outcome.FAILED, text="drawn",
    )  # fmt: skip


LIMITS: Mapping[str, Callable[[Rng, float], Finding]] = {
    "overfit": _overfit,
    "calibration": _calibration,
    "simpler way": _baseline,
    "small changes": _counted(RULE.robustness.max_flips or 0.0, RULE.robustness.sample),
    "evasion": _counted(RULE.robustness.max_evaded or 0.0, 100),
    "missing input, worst of 16": _counted(
        RULE.robustness.max_missing or 0.0, RULE.robustness.sample, 16
    ),
    "second opinion": _agreement,
}


def slices(rounds: int) -> dict[str, dict[str, float]]:
    """Share of verdicts of the slices gate, declared and found ones together.

    Nothing is worse anywhere (*equal*); one of five declared values costs exactly what is allowed,
    or twice the champion's cost; or rows that nobody declared do.
    """
    allowed, found = RULE.slices.max_worse, {}
    worlds = {
        "equal": (0.0, True),
        "a declared slice exactly at what is allowed": (allowed, True),
        "a declared slice costs twice as much": (1.0, True),
        "a slice that nobody declared costs twice as much": (1.0, False),
    }
    for k, (name, (worse, declared)) in enumerate(worlds.items()):
        rng = np.random.default_rng([8, k])
        ends = [_sliced(rng, worse, declared=declared).outcome for _ in range(rounds)]
        found[name] = {"stated": RULE.error_rate} | _shares(ends)
    return found


def _sliced(rng: Rng, worse: float, *, declared: bool) -> Finding:
    """Costs of two models that differ on a tenth of the rows, by chance but for one slice."""
    rule, nothing = RULE.slices, np.zeros(ROWS)
    inputs = rng.random((ROWS, 4))
    value = rng.integers(0, 5, ROWS)
    hurt = value == 0 if declared else inputs[:, 1] > 0.8
    champion = rng.lognormal(0.0, 0.8, ROWS)
    moved = np.where(rng.random(ROWS) < 0.1, rng.lognormal(0.0, 0.8, ROWS) - champion, 0.0)
    mean = math.exp(0.32)
    challenger = champion + moved + np.where(hurt, worse * mean, 0.0)
    first, second = (
        Judged(nothing.astype(np.int8), nothing, nothing > 0, cost)
        for cost in (challenger, champion)
    )
    explore = rng.random(ROWS) < 0.5
    names = [f"input {i}" for i in range(4)]
    cut = found_slices(inputs, names, first.cost - second.cost, explore, rule.min_group)
    told, small = (
        declared_slices({"value": value.astype(object)}, rule.min_group) if declared else ({}, {})
    )
    return slices_gate(
        first, second, cut | told, max_worse=rule.max_worse, error_rate=RULE.error_rate,
        small=small,
    )  # fmt: skip
