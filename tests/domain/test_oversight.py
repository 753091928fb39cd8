"""Who answers where versions are stopped."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.oversight import ALL, Stop, answers_for, diverted

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


def test_a_stop_is_read_as_it_was_written() -> None:
    made = _stop("v1", "v2")
    assert Stop.from_dict(made.to_dict()) == made
