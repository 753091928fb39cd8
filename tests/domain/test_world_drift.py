"""What a drift changes in the simulated world, from when on, and in which shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from setpoint.domain.world import (
    DRIFT_NAMES,
    Drift,
    DriftName,
    DriftShape,
    generate,
    steady_fraud_rate,
)
from setpoint.domain.world.drift import intensity
from tests.domain.worlds import SMALL, START, after, days_of, values, world


@pytest.mark.parametrize("name", DRIFT_NAMES)
def test_nothing_changes_before_a_drift_starts(name: DriftName) -> None:
    plain, changed = world(), world(name)
    size = int((~after(plain)).sum())
    assert changed.events.slice(0, size).equals(plain.events.slice(0, size))
    for field in ("fraud", "scenario", "arrival", "amount", "dispute_delay"):
        assert np.array_equal(
            getattr(changed, field)[:size], getattr(plain, field)[:size], equal_nan=True
        )
    assert changed.events.equals(plain.events) == (name == "none")


def test_covariate_drift_is_a_surge_of_large_honest_international_transfers() -> None:
    drifted, late = world("covariate"), after(world("covariate"))
    abroad = values(drifted, "channel") == "international"
    assert abroad[~late].mean() == pytest.approx(0.02, abs=0.006)
    assert abroad[late].mean() == pytest.approx(0.16, abs=0.02)
    assert drifted.amount[abroad & late].mean() > 2 * drifted.amount[abroad & ~late].mean()
    assert np.array_equal(drifted.fraud, world().fraud)


def test_prior_drift_doubles_the_fraud_rate_at_once() -> None:
    late = after(world())
    for part in (late, late & (days_of(world()) < START + 10)):
        ratio = world("prior").fraud[part].mean() / world().fraud[part].mean()
        assert 1.6 < ratio < 2.4


def test_concept_drift_replaces_the_old_fraud_at_about_the_same_rate() -> None:
    made = [generate(replace(SMALL, seed=seed, drift=Drift("concept", START))) for seed in range(3)]
    late = np.concatenate([after(one) for one in made])
    fraud = np.concatenate([one.fraud for one in made])
    scenario = np.concatenate([one.scenario for one in made])
    assert set(np.unique(scenario[~late])) == {0, 1, 2, 3}
    assert set(np.unique(scenario[late])) == {0, 4}
    assert 0.9 < fraud[late].mean() / steady_fraud_rate(SMALL) < 1.5


def test_new_fraud_sits_just_below_the_contactless_limit_where_little_was_before() -> None:
    drifted, late = world("concept"), after(world("concept"))
    fraud = drifted.fraud == 1
    near = (drifted.amount >= 44) & (drifted.amount < 50)
    cell = near & (values(drifted, "channel") == "contactless")
    assert cell[fraud & late].all()
    assert (cell & ~fraud)[~late].mean() < 0.02
    assert fraud[cell & late].mean() > 0.5
    assert fraud[cell & ~late].mean() < 0.15
    assert (drifted.amount[late & ~fraud] > SMALL.amount_limit).any()


def test_hit_and_run_is_gone_before_its_labels_come_where_the_old_fraud_stayed() -> None:
    def persistence(scenario: int, begin: int, end: int) -> float:
        """Chance of fraud 7 to 12 days after fraud at a terminal over that of the next day."""
        drifted = world("concept")
        chosen = drifted.scenario == scenario
        terminal = np.unique(values(drifted, "terminal_id"), return_inverse=True)[1]
        hit = np.zeros((SMALL.days, terminal.max() + 1), dtype=bool)
        hit[days_of(drifted)[chosen].astype(int), terminal[chosen]] = True
        hit = hit[begin:end]
        later = np.mean([hit[lag:][hit[:-lag]].mean() for lag in range(7, 13)])
        return float(later / hit[1:][hit[:-1]].mean())

    assert persistence(2, 0, 30) > 0.5
    assert persistence(4, 31, SMALL.days) < 0.35


def test_cents_are_reported_a_hundredfold() -> None:
    reported = world("schema_cents").events["amount"].to_numpy()
    late = after(world())
    assert np.allclose(reported[late], 100 * world().amount[late])


def test_a_renamed_category_replaces_the_old_name_everywhere() -> None:
    channel, late = values(world("schema_category"), "channel"), after(world())
    assert "tap" not in set(channel[~late])
    assert "contactless" not in set(channel[late])
    assert np.array_equal(channel[late] == "tap", values(world(), "channel")[late] == "contactless")


@pytest.mark.parametrize("column", ["channel", "amount"])
def test_a_null_fault_empties_the_named_column_alone(column: str) -> None:
    faulty, late = world("schema_null", column=column), after(world())
    nulls = faulty.events[column].is_null().to_numpy()
    assert np.array_equal(nulls, late)
    assert faulty.events.drop_columns(column).equals(world().events.drop_columns(column))


def test_demographic_drift_brings_new_young_customers_for_old_ones() -> None:
    drifted, late = world("demographic"), after(world("demographic"))
    age, customer = values(drifted, "age_band"), values(drifted, "customer_id")
    young = age == "18-29"
    assert young[late].mean() > 1.5 * young[~late].mean()
    new = set(customer[late]) - set(customer[~late])
    assert set(age[np.isin(customer, sorted(new)) & young]) == {"18-29"}
    people = {(c, a) for c, a in zip(customer, age, strict=True)}
    assert len(people) == len(set(customer))


def test_intensity_is_zero_before_the_start_whatever_the_shape() -> None:
    seconds = np.arange(0, 86_400 * 60, 600)
    before = seconds < START * 86_400
    for shape in ("sudden", "gradual", "recurring", "incremental"):
        level = intensity(SMALL, Drift("concept", START, shape=shape, span_days=10), seconds)
        assert not level[before].any()
        assert level[~before].max() == 1


@pytest.mark.parametrize(
    ("shape", "days", "levels"),
    [
        ("incremental", [-1, 0, 2.5, 5, 10, 20], [0, 0, 0.25, 0.5, 1, 1]),
        ("recurring", [-1, 1, 4.9, 5.1, 9.9, 10.1, 15.1], [0, 1, 1, 0, 0, 1, 0]),
    ],
)
def test_incremental_rises_in_a_straight_line_and_recurring_comes_back(
    shape: DriftShape, days: list[float], levels: list[float]
) -> None:
    drift = Drift("concept", START, shape=shape, span_days=10)
    assert intensity(SMALL, drift, (START + np.array(days)) * 86_400) == pytest.approx(levels)


def test_a_gradual_drift_switches_whole_days_more_and_more_often() -> None:
    seconds = np.arange(0, 60 * 86_400, 3_600)
    level = intensity(SMALL, Drift("concept", 0, shape="gradual", span_days=60), seconds)
    by_day = level.reshape(60, 24)
    assert set(np.unique(level)) == {0.0, 1.0}
    assert (by_day == by_day[:, :1]).all()
    assert level[: 20 * 24].mean() < level[40 * 24 :].mean()


def test_shapes_act_on_the_rows() -> None:
    share = {}
    for shape in ("sudden", "incremental", "recurring"):
        drifted = world("schema_cents", shape)
        reported = drifted.events["amount"].to_numpy()
        changed = ~np.isclose(reported, drifted.amount)
        ramp = after(drifted) & (days_of(drifted) < START + 10)
        share[shape] = changed[ramp].mean()
    assert share["sudden"] == 1
    assert share["incremental"] == pytest.approx(0.5, abs=0.05)
    assert share["recurring"] == pytest.approx(0.5, abs=0.05)


def test_a_blind_spot_adds_small_online_fraud_that_nobody_disputes_to_the_old() -> None:
    drifted, late = world("blind_spot"), after(world("blind_spot"))
    new = drifted.scenario == 5
    assert 0.02 < new[late].mean() < 0.04
    assert set(values(drifted, "channel")[new]) == {"online"}
    assert drifted.amount[new].max() < 10
    assert np.isnat(drifted.label_times(np.flatnonzero(new), np.zeros(new.sum(), bool))).all()
    assert not np.isnat(drifted.label_times(np.flatnonzero(new), np.ones(new.sum(), bool))).any()
    assert np.array_equal(drifted.fraud[~new], world().fraud[~new])
