"""Money a day: a loss is claimed no more often than stated, and only if it is worth something."""

from __future__ import annotations

import numpy as np
import pytest

from setpoint.domain.findings import Outcome
from setpoint.domain.loss import LOSS, Reference, loss_a_day

RULE = {"days": 7.0, "worth": 0.0, "error_rate": 0.01}


def _costs(rng: np.random.Generator, rows: int, rate: float = 0.02) -> np.ndarray:
    """A review now and then, a missed fraud rarely."""
    missed = rng.random(rows) < rate
    return np.where(missed, rng.lognormal(4, 0.7, rows), np.where(rng.random(rows) < 0.1, 7.0, 0.0))


def test_a_model_as_dear_as_in_training_is_no_loss_99_times_in_100() -> None:
    rng = np.random.default_rng(0)
    rounds, alarms = 2000, 0
    for _ in range(rounds):
        reference = Reference.of(_costs(rng, 4000))
        alarms += loss_a_day(reference, _costs(rng, 3000), **RULE).outcome == Outcome.FAILED
    assert alarms / rounds <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / rounds)


def test_twice_the_misses_are_a_loss_and_its_money_is_told() -> None:
    rng = np.random.default_rng(1)
    reference = Reference.of(_costs(rng, 20_000))
    cost = _costs(rng, 5000, rate=0.04)
    found = loss_a_day(reference, cost, **RULE)
    assert (found.name, found.outcome) == (LOSS, Outcome.FAILED)
    assert found.value == pytest.approx((cost.mean() - reference.mean) * 5000 / 7)
    assert found.interval is not None and 0 < found.interval[0] < found.value < found.interval[1]


def test_a_loss_under_what_a_retraining_costs_is_left_alone() -> None:
    rng = np.random.default_rng(1)
    reference = Reference.of(_costs(rng, 20_000))
    cost = _costs(rng, 5000, rate=0.04)
    dear = loss_a_day(reference, cost, **(RULE | {"worth": 1e5}))
    share = loss_a_day(reference, cost, **RULE, least=5.0)
    assert {dear.outcome, share.outcome} == {Outcome.PASSED}


def test_a_gain_is_no_loss() -> None:
    rng = np.random.default_rng(2)
    reference = Reference.of(_costs(rng, 20_000, rate=0.04))
    found = loss_a_day(reference, _costs(rng, 5000), **RULE)
    assert found.outcome == Outcome.PASSED and found.value is not None and found.value < 0


@pytest.mark.parametrize("rows", [0, 1, 150])
def test_few_rows_are_inconclusive(rows: int) -> None:
    reference = Reference.of(_costs(np.random.default_rng(3), 1000))
    found = loss_a_day(reference, np.ones(rows), **RULE)
    assert found.outcome == Outcome.INCONCLUSIVE


def test_a_reference_comes_back_from_a_bundle() -> None:
    reference = Reference.of(np.arange(10.0))
    assert Reference.from_dict(reference.to_dict()) == reference
