"""An experiment says who saves money on proof alone, however often it is looked at."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.domain.experiment import (
    Outcomes,
    Rules,
    estimate,
    harm,
    judge,
    regret,
    thompson_share,
)
from setpoint.domain.findings import Outcome
from setpoint.errors import DataError

RULES = Rules(error_rate=0.05, min_outcomes=200, planned=4000, min_gain=0.05)


def _split(
    seed: int, n: int, factor: float, share: float = 0.5, entities: int = 1000, period: int = 0
) -> Outcomes:
    """Costs of fraud: mostly nothing, now and then an amount; entities differ in their risk."""
    rng = np.random.default_rng(seed)
    entity = rng.integers(0, entities, n)
    arm = (rng.random(entities) < share)[entity]
    risk = rng.gamma(2, 0.5, entities)[entity]
    cost = np.where(rng.random(n) < 0.05 * risk, rng.lognormal(3.5, 0.7, n), 1.0)
    return Outcomes(arm, cost * np.where(arm, factor, 1.0), entity, np.full(n, period))


def _first(found: Outcomes, n: int) -> Outcomes:
    return Outcomes(found.challenger[:n], found.cost[:n], found.entity[:n], found.period[:n])


def _join(*parts: Outcomes) -> Outcomes:
    columns = ("challenger", "cost", "entity", "period")
    return Outcomes(*(np.concatenate([getattr(p, c) for p in parts]) for c in columns))


def test_a_challenger_that_saves_a_lot_wins_and_says_how_much() -> None:
    found = judge(_split(1, 8000, 0.4), RULES)
    assert found.outcome == Outcome.PASSED
    assert found.value is not None and found.interval is not None
    assert 0 < found.interval[0] < found.value < found.interval[1]
    assert (found.sample, found.error_rate) == (8000, 0.05)


def test_a_challenger_that_costs_more_fails() -> None:
    found = judge(_split(2, 8000, 1.8), RULES)
    assert found.outcome == Outcome.FAILED and "costs more" in found.reason


def test_no_difference_worth_a_change_ends_as_such() -> None:
    calm = Outcomes(
        np.arange(40_000) % 2 == 0,
        np.random.default_rng(3).uniform(9.5, 10.5, 40_000),
        np.arange(40_000),
        np.zeros(40_000, dtype=np.int64),
    )
    found = judge(calm, RULES)
    assert found.outcome == Outcome.FAILED and "no difference worth a change" in found.reason


def test_few_outcomes_are_inconclusive_whatever_they_show() -> None:
    assert judge(_split(4, 300, 0.01), RULES).outcome == Outcome.INCONCLUSIVE


def test_nothing_at_all_is_inconclusive() -> None:
    found = judge(_first(_split(5, 10, 1.0), 0), RULES)
    assert (found.outcome, found.sample) == (Outcome.INCONCLUSIVE, 0)


def test_one_version_alone_is_inconclusive() -> None:
    assert judge(_split(6, 5000, 0.1, share=1.0), RULES).outcome == Outcome.INCONCLUSIVE


def test_costs_that_never_differ_prove_nothing() -> None:
    same = _split(7, 5000, 1.0)
    flat = Outcomes(same.challenger, np.zeros(5000), same.entity, same.period)
    assert judge(flat, RULES).outcome == Outcome.INCONCLUSIVE
    cheap = Outcomes(same.challenger, np.where(same.challenger, 0.0, 1.0), same.entity, same.period)
    assert judge(cheap, RULES).outcome == Outcome.INCONCLUSIVE


def test_a_few_entities_that_carry_everything_prove_nothing() -> None:
    found = _split(8, 4000, 0.2, entities=12)
    assert judge(found, RULES).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_cost_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="not finite"):
        Outcomes(np.array([True]), np.array([bad]), np.array([1]), np.array([0]))


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="rows"):
        Outcomes(np.array([True]), np.array([1.0, 2.0]), np.array([1]), np.array([0]))


def test_looking_every_hundred_outcomes_lets_an_equal_challenger_win_no_oftener_than_stated() -> (
    None
):
    rounds, wins, losses = 300, 0, 0
    for seed in range(rounds):
        found = _split(1000 + seed, 4000, 1.0)
        for n in range(100, 4001, 100):
            seen = judge(_first(found, n), RULES)
            if seen.outcome == Outcome.PASSED:
                wins += 1
                break
            if seen.interval is not None and seen.interval[1] < 0:
                losses += 1
                break
    assert wins / rounds <= RULES.error_rate
    assert losses / rounds <= RULES.error_rate


def test_rows_of_one_entity_do_not_count_as_so_many() -> None:
    once = _split(9, 3000, 1.0, entities=3000)
    thrice = Outcomes(
        *(np.tile(c, 3) for c in (once.challenger, once.cost, once.entity, once.period))
    )
    alone, copied = estimate(once), estimate(thrice)
    assert alone is not None and copied is not None
    assert copied.variance == pytest.approx(alone.variance)


def test_a_share_that_moves_with_the_times_is_no_saving() -> None:
    """Cheap days with a large share, dear days with a small one: pooled, it would look cheap."""
    rng = np.random.default_rng(10)
    day = np.repeat([0, 1], 4000)
    arm = rng.random(8000) < np.where(day == 0, 0.9, 0.1)
    cost = rng.uniform(0, 2, 8000) * np.where(day == 0, 1, 5)
    pooled = cost[~arm].mean() - cost[arm].mean()
    found = judge(Outcomes(arm, cost, np.arange(8000), day), RULES)
    assert found.interval is not None
    assert pooled > found.interval[1]
    assert found.interval[0] < 0 < found.interval[1]


def test_harm_is_said_on_proof_alone() -> None:
    assert harm(_split(12, 300, 3.0), RULES) is None
    calm, bad = harm(_split(13, 4000, 1.0), RULES), harm(_split(14, 8000, 1.8), RULES)
    assert calm is not None and calm.outcome == Outcome.PASSED
    assert bad is not None and bad.outcome == Outcome.FAILED


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0), st.floats(0.05, 0.95), st.integers(1, 50))
def test_a_bandit_leaves_either_version_its_floor(
    seed: int, factor: float, share: float, floor: int
) -> None:
    percent = thompson_share(_split(seed, 2000, factor, share), RULES, floor=floor, start=50)
    assert floor <= percent <= 100 - floor


def test_a_bandit_stays_where_it_began_until_enough_is_known() -> None:
    assert thompson_share(_split(15, 200, 0.1), RULES, floor=5, start=37) == 37


@pytest.mark.parametrize(("factor", "side"), [(0.4, 1), (2.0, -1)])
def test_a_bandit_gives_more_to_the_cheaper_version(factor: float, side: int) -> None:
    percent = thompson_share(_split(16, 6000, factor), RULES, floor=5, start=50)
    assert side * (percent - 50) > 30


def test_regret_is_what_the_dearer_version_cost_more() -> None:
    shares, decisions = np.array([50.0, 90.0]), np.array([100.0, 200.0])
    assert regret(shares, decisions, saving=2.0) == pytest.approx(2 * (50 + 20))
    assert regret(shares, decisions, saving=-2.0) == pytest.approx(2 * (50 + 180))
    assert regret(shares, decisions, saving=0.0) == 0.0
