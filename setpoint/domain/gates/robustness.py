"""How decisions stand up to inputs that are a little off, attacked, missing or absurd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from setpoint.domain.attack import Reach, Scorer, Singles, evade, jitter
from setpoint.domain.findings import Finding, Outcome, check_ceiling, check_value, not_measured
from setpoint.domain.training import Rows

DRAWS = 5
"""Random changes of each row; one that flips its action is enough."""
MIN_ATTACKED = 10
"""Rows that are attacked at the least: of fewer even none that gets through proves little."""
EXTREME = 10.0
"""Times the largest size that an input was seen with: what a slip of a digit makes of it."""


@dataclass(frozen=True)
class Limits:
    """What is allowed; ``None``: not judged.

    Attributes:
        flips: Share of rows whose action flips as inputs move within bounds by chance.
        evaded: Share of the positives acted on that an attacker gets through.
        missing: Share of rows whose action changes where any one input is missing.
        budget: Inputs that the attacker changes in a row.
        error_rate: One-sided, of each verdict.
        min_sample: Rows that random changes and missing inputs need.
    """

    flips: float | None
    evaded: float | None
    missing: float | None
    budget: int
    error_rate: float
    min_sample: int


def flips_finding(
    score: Scorer, threshold: float, rows: Rows, reaches: Sequence[Reach], limits: Limits, seed: int
) -> Finding:
    """Share of rows whose action flips under one of ``DRAWS`` random changes within bounds."""
    rng = np.random.default_rng(seed)
    many = rows.take(np.tile(np.arange(len(rows)), DRAWS))
    acted = score(rows) >= threshold
    moved = (score(jitter(many, reaches, rng)) >= threshold).reshape(DRAWS, len(rows))
    flipped = int((moved != acted).any(axis=0).sum())
    return check_ceiling(
        "small_changes", flipped, len(rows), limits.flips or 0.0, limits.error_rate,
        limits.min_sample,
    )  # fmt: skip


def evasion_finding(
    score: Scorer,
    threshold: float,
    caught: Rows,
    reaches: Sequence[Reach],
    cuts: Mapping[int, Singles],
    limits: Limits,
) -> Finding:
    """Share of rows that an attacker who knows the model turns into ones not acted on.

    Args:
        score: The model.
        threshold: Score from which rows are acted on.
        caught: Positives that are acted on as they are.
        reaches: What a client may change.
        cuts: Splits of the trees by place of a number.
        limits: What is allowed, and the attacker's budget.
    """
    if not len(caught):
        return not_measured(
            "evasion", "no positive is acted on, so none can be disguised",
            outcome=Outcome.INCONCLUSIVE,
        )  # fmt: skip
    _, after = evade(score, caught, reaches, limits.budget, cuts)
    through = int((after < threshold).sum())
    found = check_ceiling(
        "evasion", through, len(caught), limits.evaded or 0.0, limits.error_rate, MIN_ATTACKED
    )
    n = min(limits.budget, len(reaches))
    means = f"{n} of {', '.join(r.name for r in reaches)} within bounds"
    return replace(found, reason=f"{through} of {len(caught)} get through by {means}; "
                   f"{found.reason}")  # fmt: skip


def missing_finding(
    score: Scorer, threshold: float, rows: Rows, names: Sequence[str], limits: Limits
) -> Finding:
    """Share of rows whose action changes where an input is missing: the input with the most.

    A score that is no probability fails it whatever the actions. The error rate is shared by all
    inputs (Bonferroni), for the worst of them is judged.

    Args:
        score: The model.
        threshold: Score from which rows are acted on.
        rows: Rows to take inputs from.
        names: All inputs, numbers first.
        limits: What is allowed.
    """
    acted, k = score(rows) >= threshold, rows.numbers.shape[1]
    changed: dict[str, int] = {}
    for i, name in enumerate(names):
        scores = score(_put(rows, i, np.nan if i < k else ""))
        if not _probabilities(scores):
            return _no_probability("missing_input", scores, name)
        changed[name] = int(((scores >= threshold) != acted).sum())
    worst = max(changed, key=lambda name: changed[name])
    rate = limits.error_rate / len(names)
    return check_ceiling(
        "missing_input", changed[worst], len(rows), limits.missing or 0.0, rate, limits.min_sample,
        slice=worst,
    )  # fmt: skip


def extreme_finding(score: Scorer, rows: Rows, names: Sequence[str]) -> Finding:
    """Whether every score is a probability, whatever the numbers: each in turn, and all at once.

    Tried are ``EXTREME`` times the largest size seen, the negative of it, zero, and the largest
    number that the model can be given; of a category one that training never saw.
    """
    k, tried = rows.numbers.shape[1], 0
    every = max(1, len(rows) // 100)
    few = rows.take(np.arange(0, len(rows), every))
    largest = np.nanmax(np.abs(np.where(np.isfinite(rows.numbers), rows.numbers, 0.0)), axis=0)
    top = float(np.finfo(np.float32).max)
    for factor in (EXTREME, -EXTREME, 0.0, np.inf, -np.inf):
        size = np.clip(largest.astype(np.float64) * factor if np.isfinite(factor)
                       else np.full(k, factor), -top, top)  # fmt: skip
        probes = [(names[i], _put(few, i, size[i])) for i in range(k)]
        probes.append(("all numbers", replace(few, numbers=np.tile(size.astype(np.float32),
                                                                   (len(few), 1)))))  # fmt: skip
        for name, probe in probes:
            scores = score(probe)
            tried += len(scores)
            if not _probabilities(scores):
                return _no_probability("extreme_values", scores, name)
    for i in range(k, len(names)):
        scores = score(_put(few, i, "never seen"))
        tried += len(scores)
        if not _probabilities(scores):
            return _no_probability("extreme_values", scores, names[i])
    found = check_value("extreme_values", 0.0, 0.0, "ceiling", sample=tried)
    return replace(found, reason=f"all of {tried} scores of absurd inputs are probabilities")


def _put(rows: Rows, i: int, value: float | str) -> Rows:
    """The rows with one input replaced, by its place among all."""
    k = rows.numbers.shape[1]
    if i < k:
        numbers = rows.numbers.copy()
        numbers[:, i] = value
        return replace(rows, numbers=numbers)
    categories = rows.categories.copy()
    categories[:, i - k] = value
    return replace(rows, categories=categories)


def _probabilities(scores: np.ndarray) -> bool:  # type: ignore[type-arg]
    return bool((np.isfinite(scores) & (scores >= 0) & (scores <= 1)).all())


def _no_probability(name: str, scores: np.ndarray, slice: str) -> Finding:  # type: ignore[type-arg]
    bad = ~(np.isfinite(scores) & (scores >= 0) & (scores <= 1))
    share, first = float(bad.mean()), scores[int(np.argmax(bad))]
    reason = f"{int(bad.sum())} of {len(scores)} scores are no probability, the first is {first}"
    return Finding(
        name, Outcome.FAILED, share, 0.0, "ceiling", len(scores), None, reason, slice=slice
    )
