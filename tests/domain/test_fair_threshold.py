"""The cheapest threshold that is fair: held against every other one, and against the gate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from setpoint.domain.fair_threshold import (
    POWER,
    FairThreshold,
    Ratio,
    fair_threshold,
    holding,
    standard_errors,
)
from setpoint.domain.gates.fairness import METRICS, SmallGroups, fairness_gate
from setpoint.domain.metrics import Cell, CostMatrix, best_threshold, threshold_cuts

COSTS = CostMatrix(Cell(4.0), Cell(1.0), Cell(1.0))
ERROR_RATE, JUDGED = 0.05, 900


@dataclass(frozen=True)
class Rate:
    group: str
    hits: int
    sample: int


@dataclass(frozen=True)
class World:
    """Scored rows of groups, and the ratio that must hold between them."""

    score: np.ndarray
    label: np.ndarray
    ratio: Ratio

    def gate(self, threshold: float, error_rate: float) -> bool:
        """Whether the gate passes these rows at a threshold."""
        side = METRICS[self.ratio.metric]
        keep = np.full(len(self.label), True) if side.label is None else self.label == side.label
        counted = (self.score >= threshold) == side.acted
        names = sorted(set(self.ratio.groups[keep]))
        of = {g: keep & (self.ratio.groups == g) for g in names}
        rates = [Rate(g, int(counted[of[g]].sum()), int(of[g].sum())) for g in names]
        return fairness_gate(
            "x",
            rates,
            floor=self.ratio.floor,
            min_group=self.ratio.min_group,
            error_rate=error_rate,
            metric=self.ratio.metric,
            small_groups=self.ratio.small_groups,
        ).passed

    def parts(self) -> int:
        """Groups that are judged, small ones as one."""
        side = METRICS[self.ratio.metric]
        keep = np.full(len(self.label), True) if side.label is None else self.label == side.label
        sizes = [int((self.ratio.groups[keep] == g).sum()) for g in set(self.ratio.groups[keep])]
        small = [n for n in sizes if n < self.ratio.min_group]
        return len(sizes) - len(small) + (sum(small) >= self.ratio.min_group and bool(small))

    def choose(self, *more: Ratio) -> FairThreshold:
        """The fair threshold of these rows."""
        costs = COSTS.arrays({}, len(self.label))
        ratios = (self.ratio, *more)
        return fair_threshold(
            self.score, self.label, costs, ratios, error_rate=ERROR_RATE, judged=JUDGED
        )


def make_world(
    seed: int,
    metric: str = "adverse_ratio",
    floor: float = 0.7,
    shares: tuple[float, ...] = (0.6, 0.4),
    small_groups: SmallGroups = "inconclusive",
    gap: float = 0.1,
) -> World:
    """Groups whose scores lie the further apart the larger ``gap`` is."""
    rng = np.random.default_rng(seed)
    n = 600
    groups = rng.choice([f"g{i}" for i in range(len(shares))], n, p=shares)
    shift = gap * np.array([int(g[1:]) for g in groups])
    score = np.round(np.clip(rng.beta(2, 3, n) * 0.8 + shift, 0, 1), 2)
    label = (rng.random(n) < score).astype(np.int8)
    ratio = Ratio("sex", groups.astype(object), metric, floor, 30, small_groups)
    return World(score, label, ratio)


@settings(deadline=None)
@given(
    seed=st.integers(0, 999),
    metric=st.sampled_from(sorted(METRICS)),
    floor=st.floats(0.2, 0.95),
    shares=st.sampled_from([(1.0,), (0.6, 0.4), (0.5, 0.3, 0.2), (0.9, 0.05, 0.03, 0.02)]),
    small_groups=st.sampled_from(["inconclusive", "note"]),
    gap=st.floats(0, 0.3),
)
def test_a_threshold_holds_exactly_where_the_gate_would_pass_at_the_same_bounds(
    seed: int,
    metric: str,
    floor: float,
    shares: tuple[float, ...],
    small_groups: SmallGroups,
    gap: float,
) -> None:
    world = make_world(seed, metric, floor, shares, small_groups, gap)
    cuts = threshold_cuts(world.score, world.label, COSTS.arrays({}, len(world.label)))
    thresholds = np.concatenate([cuts.thresholds, world.score[:20]])  # a score is acted on itself
    held = holding(world.score, world.label, thresholds, world.ratio, ERROR_RATE, JUDGED)
    comparisons = max(world.parts() - 1, 1)
    z = standard_errors(ERROR_RATE, len(world.label), JUDGED, comparisons)
    stricter = comparisons * float(norm.sf(z))
    gate = [world.gate(t, stricter) for t in thresholds]
    assert held.tolist() == gate


@pytest.mark.parametrize("seed", range(6))
def test_no_cheaper_threshold_holds(seed: int) -> None:
    world = make_world(seed)
    found = world.choose()
    assert found.threshold is not None

    def total(threshold: float) -> float:
        return float(COSTS.of(world.label, world.score >= threshold, {}).sum())

    for other in np.linspace(0.005, 0.995, 100):  # scores have two digits: all cuts
        acted = world.score >= other
        if acted.any() and not acted.all() and total(other) < total(found.threshold) - 1e-9:
            where = np.array([other])
            assert not holding(
                world.score, world.label, where, world.ratio, ERROR_RATE, JUDGED
            ).any()


def test_where_the_cheapest_of_all_is_fair_it_stays() -> None:
    world = make_world(1, floor=0.3, gap=0.0)
    plain = best_threshold(world.score, world.label, COSTS.arrays({}, len(world.label)))
    assert world.choose().threshold == plain


def test_acting_on_nobody_or_on_everybody_is_no_fair_threshold() -> None:
    # At a floor that no other threshold holds, both ends would: all groups are treated alike.
    for metric in ("adverse_ratio", "favourable_ratio"):
        world = make_world(2, metric, floor=1.0, gap=0.3)
        assert world.choose().threshold is None


def test_every_ratio_must_hold_at_the_same_threshold() -> None:
    world = make_world(3, "adverse_ratio", floor=0.8, gap=0.25)
    other = replace(world.ratio, metric="favourable_ratio")
    alone, together = world.choose(), world.choose(other)
    assert alone.threshold is not None
    assert together.threshold is None
    assert together.tried == alone.tried
    assert all(count > 0 for count in together.held.values())


@pytest.mark.parametrize(("tuned", "judged"), [(300, 1200), (600, 600), (1200, 300)])
def test_what_just_holds_on_rows_that_tune_passes_its_gate_as_often_as_stated(
    tuned: int, judged: int
) -> None:
    # Logarithms of ratios, as normal as the bounds take them to be: what is seen on rows that tune
    # lies just so far above the floor; the truth is around that, and what is judged around it.
    rng = np.random.default_rng(4)
    rounds = 20_000
    spread = 1 / np.sqrt(tuned), 1 / np.sqrt(judged)
    seen = standard_errors(ERROR_RATE, tuned, judged) * spread[0]
    truth = seen + rng.normal(0, spread[0], rounds)
    passes = truth + rng.normal(0, spread[1], rounds) >= norm.isf(ERROR_RATE) * spread[1]
    assert passes.mean() == pytest.approx(POWER, abs=0.015)
