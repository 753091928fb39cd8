"""The simulated world holds what its configuration promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from setpoint.domain.world import (
    DEMO,
    DRIFT_NAMES,
    Drift,
    DriftName,
    DriftShape,
    World,
    WorldConfig,
    cost,
    generate,
    steady_fraud_rate,
    stream_days,
)
from setpoint.domain.world.base import draw_people
from setpoint.domain.world.drift import intensity
from setpoint.errors import DataError, ProjectFileError

SMALL = replace(DEMO, days=60)
START = 30.5
DAY = np.timedelta64(1, "D")
# A tenth of the handbook's world in each direction: the same rates from a tenth of the rows.
TENTH = WorldConfig(
    customers=500,
    terminals=1000,
    days=90,
    radius=16,
    compromised_terminals_per_day=0.2,
    compromised_customers_per_day=0.3,
)


@cache
def world(name: DriftName = "none", shape: DriftShape = "sudden", column: str = "channel") -> World:
    drift = Drift(name, START, shape=shape, span_days=10, column=column)
    return generate(replace(SMALL, drift=drift))


def days_of(world: World) -> np.ndarray:
    start = np.datetime64(world.config.start.replace(tzinfo=None), "us")
    return (world.time - start) / DAY


def after(world: World) -> np.ndarray:
    return days_of(world) >= START


def values(world: World, column: str) -> np.ndarray:
    return np.array(world.events[column].to_pylist(), dtype=object)


# The base world


def test_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    again = generate(replace(SMALL, drift=Drift("none", START)))
    other = generate(replace(SMALL, seed=1))
    assert world().events.equals(again.events)
    assert np.array_equal(world().fraud, again.fraud)
    assert np.array_equal(world().arrival, again.arrival)
    assert not world().events.equals(other.events)


def test_a_longer_world_begins_with_the_shorter_one() -> None:
    longer = generate(replace(SMALL, days=SMALL.days + 20))
    size = len(world())
    assert longer.events.slice(0, size).equals(world().events)
    assert np.array_equal(longer.fraud[:size], world().fraud)
    assert np.array_equal(longer.arrival[:size], world().arrival)


def test_events_carry_what_a_caller_may_see_and_no_truth() -> None:
    kinds = {"time": pa.timestamp("us", tz="UTC"), "amount": pa.float64()}
    names = [
        "tx_id",
        "time",
        "customer_id",
        "terminal_id",
        "amount",
        "channel",
        "age_band",
        "sex",
        "region",
    ]
    expected = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    assert world().events.schema == expected
    assert all(column.null_count == 0 for column in world().events.columns)


def test_rows_are_unique_in_time_order_and_priced_in_whole_cents() -> None:
    amount = world().events["amount"].to_numpy()
    assert len(set(world().events["tx_id"].to_pylist())) == len(world())
    assert (np.diff(world().time) >= np.timedelta64(0, "us")).all()
    assert (amount > 0).all()
    assert np.allclose(amount * 100, np.round(amount * 100))


def test_a_customer_pays_twice_a_day_on_average_around_noon() -> None:
    base = generate(TENTH)
    per_day = len(base) / TENTH.days / TENTH.customers
    hours = (days_of(base) % 1) * 24
    assert per_day == pytest.approx(1.94, rel=0.08)
    assert hours.mean() == pytest.approx(12, abs=0.1)
    assert hours.std() == pytest.approx(5.05, abs=0.1)  # Normal(12 h, 5.56 h) cut at 0 and 24 h


def test_customers_use_terminals_in_reach_only() -> None:
    base = generate(TENTH)
    people = draw_people(TENTH)
    customer = np.array([int(text[1:]) for text in base.events["customer_id"].to_pylist()])
    terminal = np.array([int(text[1:]) for text in base.events["terminal_id"].to_pylist()])
    for number in range(0, TENTH.customers, 50):
        begin = people.reach_start[number]
        reach = people.reach[begin : begin + people.reach_count[number]]
        assert set(terminal[customer == number]) <= set(reach)


def test_fraud_rate_warms_up_for_a_month_then_stays() -> None:
    worlds = [generate(replace(TENTH, seed=seed)) for seed in range(4)]
    day = np.concatenate([days_of(one) for one in worlds])
    fraud = np.concatenate([one.fraud for one in worlds])
    weeks = [fraud[day // 7 == week].mean() for week in range(4)]
    steady = fraud[day >= 28]
    assert weeks[0] < 0.004
    assert weeks[0] < weeks[1] < weeks[3]
    assert 0.0075 < steady.mean() < 0.0105
    assert steady.mean() == pytest.approx(steady_fraud_rate(TENTH), rel=0.1)


def test_compromised_terminals_make_two_thirds_of_the_fraud() -> None:
    worlds = [generate(replace(TENTH, seed=seed)) for seed in range(4)]
    counts = np.bincount(np.concatenate([one.scenario for one in worlds]), minlength=5)
    assert 0.55 < counts[2] / counts[1:].sum() < 0.72
    assert 0.04 < counts[1] / counts[1:].sum() < 0.10
    assert counts[4] == 0


def test_every_amount_above_the_limit_is_fraud_and_stolen_amounts_are_five_times_larger() -> None:
    base = world()
    assert base.fraud[base.amount > SMALL.amount_limit].all()
    assert (base.amount[base.scenario == 1] > SMALL.amount_limit).all()
    ratio = base.amount[base.scenario == 3].mean() / base.amount[base.scenario == 0].mean()
    assert 3.5 < ratio < 6.5
    assert np.array_equal(base.fraud, (base.scenario > 0).astype(np.int8))


def test_a_terminal_is_compromised_for_whole_spans_of_28_days() -> None:
    base = generate(replace(SMALL, compromised_terminals_per_day=0.1))
    terminal = values(base, "terminal_id")
    for name in sorted(set(terminal[base.scenario == 2]))[:5]:
        mine = terminal == name
        hit = days_of(base)[mine & (base.scenario == 2)]
        within = mine & (days_of(base) >= hit.min()) & (days_of(base) <= hit.max())
        assert hit.max() - hit.min() < 28
        assert base.fraud[within].all()


def test_groups_have_no_part_in_fraud_unless_switched_on() -> None:
    def relative_rate(on: bool) -> float:
        made = [generate(replace(SMALL, seed=seed, groups_matter=on)) for seed in range(3)]
        old = np.concatenate([values(one, "age_band") == "65+" for one in made])
        stolen = np.concatenate([one.scenario == 3 for one in made])
        return float(stolen[old].mean() / stolen[~old].mean())

    assert 0.5 < relative_rate(False) < 1.6
    assert relative_rate(True) > 2.5


def test_spending_goes_a_little_with_age() -> None:
    people = draw_people(replace(SMALL, customers=5000))
    young, old = people.mean_amount[people.age == 0], people.mean_amount[people.age == 3]
    assert 2 < old.mean() - young.mean() < 20
    assert people.mean_amount.mean() == pytest.approx(52.5, abs=1.5)


# Arrival, labels, money


def test_one_event_in_a_hundred_arrives_late_by_up_to_two_hours() -> None:
    delay = (world().arrival - world().time) / np.timedelta64(1, "h")
    assert (delay > 0).mean() == pytest.approx(0.01, abs=0.002)
    assert delay.min() == 0
    assert delay.max() <= 2


def test_reviewed_rows_of_both_classes_are_labelled_within_hours() -> None:
    known = world().labels(np.ones(len(world()), dtype=bool))
    hours = (known - world().arrival) / np.timedelta64(1, "h")
    assert not np.isnat(known).any()
    assert hours.min() >= 1
    assert hours.max() <= 6


def test_unreviewed_rows_are_labelled_only_if_fraud_and_disputed() -> None:
    known = world().labels(np.zeros(len(world()), dtype=bool))
    fraud = world().fraud == 1
    delay = ((known - world().time) / DAY)[fraud & ~np.isnat(known)]
    assert np.isnat(known[~fraud]).all()
    assert np.isnat(known[fraud]).mean() == pytest.approx(0.08, abs=0.025)
    assert delay.min() >= 7
    assert delay.max() <= 30
    assert np.median(delay) == pytest.approx(7 + 23 * 0.159, abs=0.5)  # median of Beta(1, 4)


def test_a_label_time_depends_on_its_row_and_review_alone() -> None:
    reviewed = np.random.default_rng(5).random(len(world())) < 0.3
    whole = world().labels(reviewed)
    picked = np.random.default_rng(6).permutation(len(world()))[:500]
    ids = world().events["tx_id"].to_pylist()
    named = world().labels({ids[row]: True for row in np.flatnonzero(reviewed)})
    part = world().label_times(picked, reviewed[picked])
    assert np.array_equal(part, whole[picked], equal_nan=True)
    assert np.array_equal(named, whole, equal_nan=True)


def test_cost_adds_missed_amounts_reviews_and_blocked_customers() -> None:
    base = world()
    nobody = np.zeros(len(base), dtype=bool)
    fraud = base.fraud == 1
    assert cost(base, nobody) == pytest.approx(base.amount[fraud].sum())
    assert cost(base, fraud, review_cost=2) == 2 * fraud.sum()
    assert cost(base, ~nobody, 3, blocked_cost=1) == 3 * len(base) + (~fraud).sum()
    assert cost(base, nobody[:50], rows=slice(0, 50)) == base.amount[:50][fraud[:50]].sum()


def test_money_counts_in_euros_when_amounts_are_reported_in_cents() -> None:
    nobody = np.zeros(len(world()), dtype=bool)
    assert cost(world("schema_cents"), nobody) == cost(world(), nobody)


def test_days_partition_the_world() -> None:
    begin = 0
    for index, (midnight, rows, events) in enumerate(stream_days(world())):
        assert rows.start == begin
        assert midnight == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=index)
        assert all(time.date() == midnight.date() for time in events["time"].to_pylist()[::100])
        begin = rows.stop
    assert begin == len(world())


# Drift


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


# Shapes


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


# Refusals


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"customers": 0}, "world.customers"),
        ({"days": 1.5}, "world.days"),
        ({"never_disputed": 1.5}, "world.never_disputed"),
        ({"radius": float("nan")}, "world.radius"),
        ({"dispute_days": (9.0, 7.0)}, "world.dispute_days[1]"),
        ({"compromised_terminals_per_day": 5000}, "world.compromised_terminals_per_day"),
        ({"start": datetime(2026, 1, 1)}, "world.start"),
        ({"start": datetime(2026, 1, 1, 5, tzinfo=UTC)}, "world.start"),
    ],
)
def test_impossible_worlds_are_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ProjectFileError) as caught:
        replace(SMALL, **change)
    assert caught.value.where == field
    assert caught.value.fix


def test_unknown_drifts_are_refused_with_the_names_allowed() -> None:
    with pytest.raises(ProjectFileError, match="concept"):
        Drift("quake", 3)  # type: ignore[arg-type]
    with pytest.raises(ProjectFileError, match="strength"):
        Drift("prior", 3, strength=0)


def test_wrong_rows_and_reviews_are_refused() -> None:
    with pytest.raises(DataError, match="booleans"):
        world().labels([True])
    with pytest.raises(DataError, match="row numbers"):
        world().label_times([-1], [True])
    with pytest.raises(DataError, match="nobody"):
        world().labels({"nobody": True})
    with pytest.raises(DataError, match="day is 60"):
        world().day_slice(60)


def test_a_world_where_nobody_reaches_a_terminal_is_refused() -> None:
    with pytest.raises(ProjectFileError, match="radius"):
        generate(
            WorldConfig(
                customers=2,
                terminals=1,
                radius=1e-3,
                compromised_customers_per_day=0,
                compromised_terminals_per_day=0,
            )
        )
