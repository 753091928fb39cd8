"""A release advances on proof alone, and never shares out more or less than all the traffic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.findings import Outcome
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import ReleaseError

STEPS = (5, 25, 50, 100)
OUTCOMES = st.lists(st.sampled_from(list(Outcome)), max_size=12)


def _start(champion: str | None = "v1", shadowing: bool = True) -> Rollout:
    return Rollout("v2", champion, STEPS, shadowing)


def test_a_release_goes_through_shadow_and_every_step() -> None:
    rollout, seen = _start(), []
    while not rollout.ended:
        rollout = rollout.advance(Outcome.PASSED)
        seen.append((rollout.label, rollout.percent))
    assert seen == [
        ("shadow", 0),
        ("canary 5 %", 5),
        ("canary 25 %", 25),
        ("canary 50 %", 50),
        ("canary 100 %", 100),
        ("promoted", 100),
    ]


def test_without_shadowing_the_canary_comes_first() -> None:
    assert _start(shadowing=False).advance(Outcome.PASSED).label == "canary 5 %"


def test_a_first_release_has_nobody_to_compare_with_and_is_promoted() -> None:
    assert _start(champion=None).advance(Outcome.PASSED).stage == Stage.PROMOTED


@given(OUTCOMES)
def test_nothing_but_passed_gives_the_challenger_more_traffic(outcomes: list[Outcome]) -> None:
    rollout = _start()
    for outcome in outcomes:
        if rollout.ended:
            break
        then = rollout.advance(outcome, "why")
        if outcome == Outcome.INCONCLUSIVE:
            assert then == rollout
        elif outcome != Outcome.PASSED:
            assert (then.stage, then.percent, then.reason) == (Stage.ROLLED_BACK, 0, "why")
        assert outcome == Outcome.PASSED or then.percent <= rollout.percent
        rollout = then


@given(OUTCOMES)
def test_weights_add_up_to_all_and_keep_their_order(outcomes: list[Outcome]) -> None:
    rollout = _start()
    for outcome in outcomes:
        if not rollout.ended:
            rollout = rollout.advance(outcome)
        assert list(rollout.weights()) == ["v1", "v2"]
        assert sum(rollout.weights().values()) == 100


@pytest.mark.parametrize("last", [Outcome.PASSED, Outcome.FAILED])
def test_a_release_that_has_ended_does_not_move(last: Outcome) -> None:
    rollout = _start(champion=None).advance(last)
    assert rollout.ended
    for outcome in Outcome:
        with pytest.raises(ReleaseError, match="has ended"):
            rollout.advance(outcome)


def test_rolled_back_all_traffic_is_the_champions() -> None:
    rollout = _start().advance(Outcome.PASSED).advance(Outcome.PASSED).advance(Outcome.FAILED)
    assert rollout.weights() == {"v1": 100, "v2": 0}


def test_a_first_release_that_is_rolled_back_leaves_nothing_in_service() -> None:
    back = Rollout("v1", None, (100,), shadowing=False).roll_back("it does not start")
    assert back.weights() == {}


@pytest.mark.parametrize("stage", [Stage.PROMOTED, Stage.ROLLED_BACK])
def test_a_release_that_has_ended_is_not_rolled_back(stage: Stage) -> None:
    with pytest.raises(ReleaseError, match="has ended"):
        Rollout("v2", "v1", (100,), shadowing=False, stage=stage).roll_back("too late")
