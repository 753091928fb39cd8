"""Who answers where versions are stopped."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.ledger import Entry
from setpoint.domain.oversight import (
    ALL,
    RESUMED,
    STOPPED,
    Stop,
    answers_for,
    diverted,
    in_force,
)
from setpoint.errors import StateError

NOW = datetime(2026, 2, 1, tzinfo=UTC)
VERSIONS = st.sampled_from(["v1", "v2", "v3", "v4"])


def _stop(scope: str, stand_in: str) -> Stop:
    return Stop(scope, stand_in, "ann", "why", NOW)


STOPS = st.lists(
    st.builds(_stop, st.sampled_from(["v1", "v2", "v3", ALL]), VERSIONS),
    unique_by=lambda one: one.scope,
    max_size=4,
)


@given(st.dictionaries(VERSIONS, st.integers(0, 100)), STOPS)
def test_all_traffic_is_answered_by_somebody(weights: dict[str, int], stops: list[Stop]) -> None:
    assert sum(diverted(weights, stops).values()) == sum(weights.values())


@given(VERSIONS, STOPS)
def test_a_stop_of_everything_leaves_its_stand_in_alone(version: str, stops: list[Stop]) -> None:
    whole = [*(one for one in stops if one.scope != ALL), _stop(ALL, "v9")]
    assert answers_for(version, whole) == "v9"


def test_where_the_stand_in_is_stopped_too_its_own_answers() -> None:
    assert answers_for("v1", [_stop("v1", "v2"), _stop("v2", "v3")]) == "v3"
    assert answers_for("v1", [_stop("v1", "v2"), _stop("v2", "v1")]) in ("v1", "v2")


def test_the_share_of_a_stopped_challenger_is_the_champions() -> None:
    assert diverted({"v1": 75, "v2": 25}, [_stop("v2", "v1")]) == {"v1": 100}


def _entry(kind: str, stop: Stop, seq: int) -> Entry:
    return Entry(seq, NOW.isoformat(), kind, f"cards/{stop.scope}", stop.evidence(), "", "")


def test_stops_in_force_are_those_of_the_ledger_that_nobody_ended() -> None:
    one, other = _stop("v1", "v2"), _stop(ALL, "v3")
    told = [_entry(STOPPED, one, 1), _entry(STOPPED, other, 2), _entry(RESUMED, one, 3)]
    assert in_force(told, lambda _: "holds") == (other,)
    assert in_force(told[:2], lambda _: "holds") == (one, other)
    assert in_force([*told, _entry(STOPPED, one, 4)], lambda _: "holds") == (other, one)


@pytest.mark.parametrize("state", ["void", "altered"])
def test_an_entry_that_nobody_vouches_for_ends_no_stop(state: str) -> None:
    one = _stop("v1", "v2")
    told = [_entry(STOPPED, one, 1), _entry(RESUMED, one, 2)]
    assert in_force(told, lambda entry: "holds" if entry.seq == 1 else state) == (one,)


def test_a_forged_stop_names_nobody_who_answers() -> None:
    told = [_entry(STOPPED, _stop("v1", "v2"), 1), _entry(STOPPED, _stop("v1", "v9"), 2)]
    with pytest.raises(StateError, match="entry 2, a stop, was altered"):
        in_force(told, lambda entry: "holds" if entry.seq == 1 else "altered")
    assert in_force(told, lambda entry: "holds" if entry.seq == 1 else "void") == (
        _stop("v1", "v2"),
    ), "by a key that was void"
    broken = replace(told[1], time="garbage", evidence={})
    with pytest.raises(StateError):
        in_force([told[0], broken], lambda entry: "holds" if entry.seq == 1 else "altered")
