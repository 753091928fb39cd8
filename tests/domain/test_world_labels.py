"""When events arrive and labels become known in the simulated world, and what decisions cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from setpoint.domain.world import cost, stream_days
from tests.domain.worlds import DAY, world


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
