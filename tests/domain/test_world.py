"""The simulated world holds what its configuration promises, and impossible ones are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from setpoint.domain.world import Drift, WorldConfig, generate, steady_fraud_rate
from setpoint.domain.world.base import draw_people
from setpoint.errors import DataError, ProjectFileError
from tests.domain.worlds import SMALL, START, TENTH, days_of, values, world


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
