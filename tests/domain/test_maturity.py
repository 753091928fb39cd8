"""Labels that come late: what is known by age, and figures that lateness does not flatter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.findings import Outcome
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.setpoints import Target, setpoint_finding
from setpoint.domain.maturity import (
    MIN_KNOWN,
    MIN_POSITIVES,
    LabelAges,
    label_ages,
    weighted_costs,
)
from setpoint.domain.metrics import CostArrays
from setpoint.errors import DataError

DAY = 86_400.0
seconds = st.integers(0, 1_000_000).map(float)


def _cohort(rng: np.random.Generator, rows: int, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Delays of 7 to 30 days, of positives 0 to ``span`` days old."""
    return rng.uniform(7, 30, rows) * DAY, rng.uniform(0, span, rows) * DAY


def test_the_share_known_by_age_is_found_though_young_cohorts_show_only_the_quick_ones() -> None:
    rng = np.random.default_rng(0)
    delay, age = _cohort(rng, 20_000, 40)
    seen = delay <= age
    ages = label_ages(delay[seen], age[seen])
    assert ages is not None and ages.sample == seen.sum()
    at = np.array([5.0, 7.0, 10.0, 18.5, 25.0, 30.0, 60.0])
    truth = np.clip((at - 7) / 23, 0, 1)
    assert ages.known(at * DAY) == pytest.approx(truth, abs=0.02)
    naive = (delay[seen] <= 18.5 * DAY).mean()  # what leaving out the truncation would say
    assert naive > 0.55


def test_recall_by_weight_is_the_true_one_where_known_labels_flatter_it() -> None:
    rng = np.random.default_rng(1)
    caught = rng.random(40_000) < 0.6
    delay, age = _cohort(rng, 40_000, 40)
    age = np.maximum(age, 12 * DAY)
    known = caught | (delay <= age)
    past = rng.uniform(7, 30, 5_000) * DAY
    ages = label_ages(past, np.full(5_000, 60 * DAY))
    assert ages is not None
    weight = ages.weights(age, np.ones(40_000), caught)[known]
    assert caught[known].mean() > 0.68
    assert weight[caught[known]].sum() / weight.sum() == pytest.approx(0.6, abs=0.01)


def test_a_weighted_watch_alarms_no_more_often_than_it_states() -> None:
    rng = np.random.default_rng(2)
    ages = label_ages(rng.uniform(7, 30, 5_000) * DAY, np.full(5_000, 60 * DAY))
    assert ages is not None
    target = Target("detection_rate", "recall", "floor", 0.6)
    alarms, rounds = 0, 2000
    for _ in range(rounds):
        caught = rng.random(150) < 0.6
        age = rng.uniform(12, 20, 150) * DAY
        known = caught | (rng.uniform(7, 30, 150) * DAY <= age)
        label = np.ones(int(known.sum()), dtype=np.int8)
        weight = ages.weights(age[known], label, caught[known])
        zeros = np.zeros(len(label))
        judged = Judged(label, zeros, caught[known], zeros, weight)
        found = setpoint_finding(target, judged, reading="watch", error_rate=0.05, min_sample=20)
        alarms += found.outcome == Outcome.FAILED
    assert alarms / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)


def test_a_weighted_fall_of_recall_is_found() -> None:
    label = np.ones(200, dtype=np.int8)
    acted = np.arange(200) < 60
    weight = np.where(acted, 1.0, 2.0)
    zeros = np.zeros(200)
    found = setpoint_finding(
        Target("detection_rate", "recall", "floor", 0.4),
        Judged(label, zeros, acted, zeros, weight),
        reading="watch", error_rate=0.01, min_sample=20,
    )  # fmt: skip
    assert found.outcome == Outcome.FAILED
    assert found.value == pytest.approx(60 / 340, abs=0.005) and found.sample < 200


@given(st.lists(st.tuples(seconds, seconds), min_size=MIN_POSITIVES, max_size=80))
def test_a_share_known_is_a_share_that_never_falls_with_age(
    pairs: list[tuple[float, float]],
) -> None:
    delay = np.array([min(pair) for pair in pairs])
    age = np.array([max(pair) for pair in pairs])
    ages = label_ages(delay, age)
    assert ages is not None
    known = ages.known(np.linspace(0, 2e6, 50))
    assert ((known >= 0) & (known <= 1)).all() and (np.diff(known) >= 0).all()
    assert known[-1] == 1.0
    weight = ages.weights(age, np.ones(len(age)), np.zeros(len(age), bool))
    assert ((weight >= 1) & (weight <= 1 / MIN_KNOWN)).all()
    assert LabelAges.from_dict(ages.to_dict()) == ages


def test_negatives_and_what_was_looked_at_stand_for_themselves() -> None:
    ages = LabelAges(tuple(np.linspace(0, 10, 101)), 100)
    weight = ages.weights([2.5, 2.5, 2.5], [1, 1, 0], [False, True, False])
    assert weight.tolist() == [4.0, 1.0, 1.0]


def test_too_few_positives_say_nothing_of_ages() -> None:
    assert label_ages(np.ones(MIN_POSITIVES - 1), np.ones(MIN_POSITIVES - 1)) is None


@pytest.mark.parametrize("pair", [(-1.0, 5.0), (6.0, 5.0), (float("nan"), 5.0)])
def test_a_label_before_its_event_or_after_now_is_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="before its event or after now"):
        label_ages([pair[0]] * 60, [pair[1]] * 60)


def test_a_known_miss_that_stands_for_four_costs_four_less_what_the_others_were_priced_at() -> None:
    one = np.ones(3)
    costs = CostArrays(100 * one, 7 * one, 5 * one, 1 * one)
    found = weighted_costs(costs, [1, 1, 0], [False, True, False], [4.0, 1.0, 1.0])
    assert found.tolist() == [400.0 - 3.0, 5.0, 1.0]
