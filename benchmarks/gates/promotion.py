"""How often is a challenger promoted? Candidates of known quality, simulated.

The champion comparison sees rare frauds with heavy-tailed amounts (2 %, lognormal, a review costs
5). A challenger differs from the champion in one of three ways: it *swaps* some frauds and false
alarms for as many others, it *catches* more for more reviews, or it *reviews* less and misses
more: then its gains are many and small, its losses rare and large, and few rows show none of them.
Promotion is held against the stated rate for challengers that are equally good or worse. Each is
the first candidate on its rows, so it is judged at 6/π² of that rate, as in a release.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from setpoint.config.gates import Gates
from setpoint.domain.gates.champion import champion_gate
from setpoint.domain.gates.judged import Judged
from setpoint.domain.holdout import spent_rate
from setpoint.domain.metrics import CostArrays

RULE = Gates()
QUALITIES = {
    "equal": 1.0, "worse_1_percent": 1.01, "worse_5_percent": 1.05, "better_5_percent": 0.95,
    "better_10_percent": 0.9, "better_30_percent": 0.7,
}  # fmt: skip
"""True cost of a challenger's decisions over the champion's."""
NOT_BETTER = ("equal", "worse_1_percent", "worse_5_percent")
SIZES = (1_000, 4_000, 16_000, 40_000)
"""Rows that judge."""
KINDS = ("swaps", "catches", "reviews")
TAILS = {"heavy": 1.2, "extreme": 2.0}
"""Standard deviation of the logarithm of an amount."""

FRAUD, RECALL, FALSE, REVIEW, AMOUNT = 0.02, 0.6, 0.02, 5.0, 112.0
"""Share of frauds; what the champion detects and falsely reviews; money of a review, of a fraud."""
CANDIDATES = 10
"""Candidates, one after the other, on the same rows."""
POOL = 1_000_000

Rng = np.random.Generator


@dataclass(frozen=True)
class Flips:
    """Chances that both act differently on a fraud and on a negative.

    Attributes:
        caught, missed: Of a fraud: only the challenger, or only the champion acts on it.
        more, fewer: Of a negative, likewise.
    """

    caught: float
    missed: float
    more: float
    fewer: float


def flips(kind: str, factor: float) -> Flips:
    """A challenger of a kind whose decisions truly cost ``factor`` times the champion's."""
    per_fraud = FRAUD * (AMOUNT - REVIEW)
    base = FRAUD * (RECALL * REVIEW + (1 - RECALL) * AMOUNT) + (1 - FRAUD) * FALSE * REVIEW
    review = (1 - FRAUD) * 0.8 * FALSE * REVIEW
    caught, missed, more, fewer = {
        "swaps": (0.15, 0.15, 0.01, 0.01),
        "catches": (review / per_fraud, 0.0, 0.8 * FALSE, 0.0),
        "reviews": (0.0, review / per_fraud, 0.0, 0.8 * FALSE),
    }[kind]
    dearer = (factor - 1) * base / per_fraud
    missed += max(dearer, 0.0)
    spared = min(missed, max(-dearer, 0.0))
    return Flips(caught + max(-dearer, 0.0) - spared, missed - spared, more, fewer)


def draw(rng: Rng, n: int, tail: float, chances: Flips) -> tuple[Judged, Judged]:
    """Challenger and champion on ``n`` rows.

    Amounts of frauds are 1.5 times those of negatives on average: what is missed is dearer than
    what is seen of rows left alone.
    """
    frauds = int(rng.binomial(n, FRAUD))
    label = np.zeros(n, np.int8)
    label[:frauds] = 1
    amount = np.empty(n)
    middle = math.log(AMOUNT) - tail**2 / 2
    amount[:frauds] = rng.lognormal(middle, tail, frauds)
    start = int(rng.integers(POOL - n))
    amount[frauds:] = np.exp(middle - math.log(1.5)) * _pool(tail)[start : start + n - frauds]
    champion, challenger = np.zeros(n, bool), np.zeros(n, bool)
    draws = rng.random(n)
    for part, gained, lost, both in (
        (slice(0, frauds), chances.caught, chances.missed, RECALL - chances.missed),
        (slice(frauds, n), chances.more, chances.fewer, FALSE - chances.fewer),
    ):
        u = draws[part]
        challenger[part] = u < both + gained
        champion[part] = (u < both) | ((u >= both + gained) & (u < both + gained + lost))
    five = np.full(n, REVIEW)
    priced = CostArrays(amount, five, five, np.zeros(n))
    left = np.where(label == 1, amount, 0.0)
    return (
        Judged(label, draws, challenger, np.where(challenger, REVIEW, left), None, priced),
        Judged(label, draws, champion, np.where(champion, REVIEW, left), None, priced),
    )


@cache
def _pool(tail: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Amounts of negatives, median 1: rounds share them, for drawing them is most of the time."""
    return np.random.default_rng(1).lognormal(0.0, tail, POOL)


def naive(challenger: Judged, champion: Judged) -> bool:
    """The rule that is often used instead: at least 2 % cheaper on 200 rows."""
    rows = np.linspace(0, len(champion.cost) - 1, 200).astype(int)
    return bool(challenger.cost[rows].sum() <= 0.98 * champion.cost[rows].sum())


def promotions(rounds: int) -> dict[str, dict[str, Any]]:
    """Promotions by kind, tail, rows and quality."""
    found = {}
    for k, kind in enumerate(KINDS):
        for t, (tail, spread) in enumerate(TAILS.items()):
            for size in SIZES:
                row: dict[str, Any] = {}
                for quality, factor in QUALITIES.items():
                    chances = flips(kind, factor)
                    rng = np.random.default_rng([k, t, size, round(factor * 100)])
                    row[quality] = sum(
                        _passes(*draw(rng, size, spread, chances)) for _ in range(rounds)
                    )
                found[f"{kind}, {tail} tails, {size:,} rows"] = row
    return found


FIRST = spent_rate(RULE.error_rate, 1)
"""At which the first candidate on fresh rows is judged, as in a release: the rest is kept back."""


def _passes(challenger: Judged, champion: Judged, rate: float = FIRST) -> bool:
    return champion_gate(challenger, champion, error_rate=rate, min_sample=RULE.min_sample).passed


def naive_promotions(rounds: int) -> dict[str, float]:
    """Promotions of the rule of 200 rows, of challengers that swap."""
    shares = {}
    for quality, factor in QUALITIES.items():
        rng, chances = np.random.default_rng([9, round(factor * 100)]), flips("swaps", factor)
        hits = sum(naive(*draw(rng, 200, TAILS["heavy"], chances)) for _ in range(rounds))
        shares[quality] = hits / rounds
    return shares


def reuse(rounds: int) -> dict[str, float]:
    """Share of holdouts on which one of ten equal candidates passes, the payment on and off.

    Each is as dear as the champion and dear on other rows; all are judged on the same rows.
    """
    rng = np.random.default_rng(77)
    paid = unpaid = 0
    nothing = np.zeros(1_000)
    for _ in range(rounds):
        costs = rng.lognormal(0.0, 0.5, (CANDIDATES + 1, 1_000))
        champion, *others = (
            Judged(nothing.astype(np.int8), nothing, nothing > 0, cost) for cost in costs
        )
        unpaid += any(_passes(one, champion, RULE.error_rate) for one in others)
        paid += any(
            _passes(one, champion, spent_rate(RULE.error_rate, k))
            for k, one in enumerate(others, start=1)
        )
    return {"paid": paid / rounds, "unpaid": unpaid / rounds, "stated": RULE.error_rate}


def wilson(share: float, rounds: int) -> tuple[float, float]:
    """Two-sided 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * rounds)) / (1 + z * z / rounds)
    half = z * math.sqrt(share * (1 - share) / rounds + z * z / (4 * rounds**2))
    half /= 1 + z * z / rounds
    return round(max(middle - half, 0.0), 5), round(min(middle + half, 1.0), 5)


def by_quality(
    rates: Mapping[str, Mapping[str, float]], rounds: int
) -> dict[str, dict[str, float]]:
    """For each true quality the least and the most that is promoted, and by the naive rule."""
    simple = naive_promotions(rounds)
    found = {}
    for quality in QUALITIES:
        most = max(row[quality] for row in rates.values())
        largest = [row[quality] for at, row in rates.items() if f"{SIZES[-1]:,} rows" in at]
        low, high = wilson(most, rounds)
        found[quality] = {
            "most": most, "interval_low": low, "interval_high": high,
            "mean_40000_rows": round(float(np.mean(largest)), 4),
            "rule_2_percent_on_200_rows": round(simple[quality], 4),
        }  # fmt: skip
    return found
