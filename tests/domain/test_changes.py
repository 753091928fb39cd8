"""A rise of errors: found soon, seldom claimed without one, the same however rows arrive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.changes import Cusum, caught_up, rise_at, threshold, watch_errors
from setpoint.errors import DataError

ERRORS = st.lists(st.booleans(), max_size=120)


def plainly(cusum: Cusum, errors: list[bool]) -> tuple[float, int | None]:
    """Row by row, as the definition says."""
    evidence, alarm = cusum.evidence, cusum.alarm_at
    for row, error in enumerate(errors):
        rates = (cusum.raised, cusum.base) if error else (1 - cusum.raised, 1 - cusum.base)
        evidence = max(0.0, evidence + math.log(rates[0] / rates[1]))
        if alarm is None and evidence > cusum.threshold:
            alarm = cusum.rows + row
    return evidence, alarm


@given(ERRORS, ERRORS)
def test_it_is_the_definition_however_the_rows_are_cut(first: list[bool], rest: list[bool]) -> None:
    start = Cusum(0.2, 0.4, 3.0)
    cut, whole = start.after(first).after(rest), start.after([*first, *rest])
    evidence, alarm = plainly(start, [*first, *rest])
    assert cut.evidence == pytest.approx(evidence, abs=1e-9)
    assert (cut.alarm_at, cut.rows, cut.since) == (whole.alarm_at, whole.rows, whole.since)
    assert whole.alarm_at == alarm


def test_without_a_change_it_alarms_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(3)
    rounds, rows, between = 2000, 5_000, 20_000.0
    for base in (0.02, 0.1, 0.4):
        test = Cusum(base, 2 * base, threshold(base, 2 * base, between))
        alarms = sum(
            test.after(rng.random(rows) < base).alarm_at is not None for _ in range(rounds)
        )
        assert alarms <= rounds * rows / between


def test_a_doubling_of_one_percent_is_found_within_2500_rows_on_average_and_never_missed() -> None:
    rng = np.random.default_rng(5)
    delays, false_alarms = [], 0
    for _ in range(200):
        test = watch_errors(int(rng.binomial(20_000, 0.01)), 20_000, 200_000)
        false_alarms += test.after(rng.random(100_000) < 0.01).alarm_at is not None
        after = test.after(rng.random(50_000) < 0.02)
        assert after.alarm_at is not None
        delays.append(after.alarm_at + 1)
    assert np.mean(delays) < 2_500
    assert false_alarms <= 0.5 * 200


def test_the_rows_needed_are_those_in_which_a_rise_is_found_about() -> None:
    rng = np.random.default_rng(4)
    test = Cusum(0.1, 0.2, 4.0)
    found = [test.after(rng.random(5_000) < 0.2).alarm_at for _ in range(200)]
    assert np.mean([at for at in found if at is not None]) == pytest.approx(test.delay, rel=0.25)


def test_it_says_where_the_rise_began() -> None:
    rng = np.random.default_rng(7)
    begun = []
    for _ in range(100):
        errors = np.r_[rng.random(2_000) < 0.05, rng.random(2_000) < 0.5]
        found = watch_errors(500, 10_000, 100_000).after(errors)
        assert found.alarm_at is not None and found.since <= found.alarm_at
        begun.append(found.since)
    assert abs(np.median(begun) - 2_000) < 20


def test_an_alarm_stays() -> None:
    test = watch_errors(10, 1_000, 1_000).after([True] * 50)
    assert test.alarm_at is not None
    assert test.after([False] * 5_000).alarm_at == test.alarm_at


def test_a_base_without_any_error_still_has_room_for_a_first_one() -> None:
    assert watch_errors(0, 500, 10_000).after([True]).alarm_at is None


def test_no_rows_change_nothing() -> None:
    test = watch_errors(10, 1_000, 1_000)
    assert test.after([]) is test


@pytest.mark.parametrize("errors", [[0, 2], [math.nan], [0.5]])
def test_what_is_no_error_flag_is_an_error(errors: list[float]) -> None:
    with pytest.raises(DataError, match="neither 0 nor 1"):
        watch_errors(10, 1_000, 1_000).after(errors)


@pytest.mark.parametrize(
    ("errors", "rows", "between", "ratio"),
    [(0, 0, 9, 2), (3, 2, 9, 2), (-1, 9, 9, 2), (1, 9, 1, 2), (1, 9, 9, 1), (95, 100, 9, 2)],
)
def test_impossible_designs_are_errors(
    errors: int, rows: int, between: float, ratio: float
) -> None:
    with pytest.raises(DataError):
        watch_errors(errors, rows, between, ratio)


@given(st.integers(40, 160), st.integers(0, 1000))
def test_a_rise_is_dated_where_it_is(at: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=200) + np.where(np.arange(200) >= at, 6.0, 0.0)
    assert abs(rise_at(values, 5) - at) <= 2


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(1, 30))
def test_both_sides_of_a_rise_have_as_many_rows_as_are_wanted(
    values: list[float], least: int
) -> None:
    if len(values) < 2 * least:
        with pytest.raises(DataError, match="for two sides"):
            rise_at(values, least)
        return
    assert least <= rise_at(values, least) <= len(values) - least


@pytest.mark.parametrize(
    "values",
    [np.where(np.arange(100) < 50, 5.0, 0.0), [5.0] + [1.0] * 99, [0.1] * 100, [1 / 3] * 100],
)
def test_what_never_rose_is_dated_as_early_as_can_be(values: Any) -> None:
    assert rise_at(values, 10) == 10


HOUR = 3600 * 10**6


@given(
    st.lists(st.booleans(), max_size=60),
    st.integers(1, 5),
    st.integers(0, 60),
    st.integers(0, 30),
)
def test_rows_that_waited_leave_the_test_as_if_each_had_been_judged_when_it_was_ripe(
    errors: list[bool], stands: int, waited_from: int, waited: int
) -> None:
    anew = Cusum(0.3, 0.6, 1.5)
    ripe = np.arange(len(errors)) // 2 * HOUR

    def looks(at: list[int]) -> tuple[Cusum, int | None]:
        test, told, seen = anew, None, 0
        for now in at:
            new = int(np.searchsorted(ripe, now))
            piece = slice(seen, new)
            test, told = caught_up(
                test, anew, errors[piece], ripe[piece], now,
                told=told, stands=stands * HOUR, between=HOUR,
            )  # fmt: skip
            seen = new
        return test, told

    every = [HOUR * i for i in range(1, len(errors) // 2 + 2)]
    paused = [at for at in every[:-1] if not waited_from <= at // HOUR < waited_from + waited]
    one, told = looks([*paused, every[-1]])
    other, told_at_once = looks(every)
    assert (told, one.alarm_at, one.rows) == (told_at_once, other.alarm_at, other.rows)
    assert one.evidence == pytest.approx(other.evidence, abs=1e-9)


def test_an_alarm_of_rows_that_waited_stands_only_for_what_is_left_of_its_time() -> None:
    anew = Cusum(0.1, 0.3, 4.0)
    errors = [True] * 8 + [False] * 40
    ripe = np.arange(len(errors)) * HOUR
    outcome = [
        caught_up(
            anew, anew, errors, ripe, 50 * HOUR, told=None, stands=stands * HOUR, between=HOUR
        )
        for stands in (40, 50)
    ]
    assert [told for _, told in outcome] == [None, 4 * HOUR]
    assert (outcome[0][0].alarm_at, outcome[1][0].alarm_at) == (None, 3)


def test_an_alarm_and_when_it_was_told_belong_together() -> None:
    anew = Cusum(0.1, 0.3, 4.0)
    with pytest.raises(DataError, match="without the time"):
        caught_up(anew, anew, [], np.zeros(0, np.int64), 5, told=3, stands=1, between=1)
