"""A release advances on proof alone, and never shares out more or less than all the traffic."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.findings import Outcome
from setpoint.domain.rollout import Period, Rollout, Stage, Strategy, plan, served_before
from setpoint.errors import ReleaseError

STEPS = (5, 25, 50, 100)
OUTCOMES = st.lists(st.sampled_from(list(Outcome)), max_size=12)
STRATEGIES = st.sampled_from(get_args(Strategy))
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def _start(
    champion: str | None = "v1", shadowing: bool = True, strategy: Strategy = "canary"
) -> Rollout:
    return Rollout("v2", champion, plan(strategy, shadowing=shadowing, steps=STEPS))


def _walked(rollout: Rollout) -> list[str]:
    seen = []
    while not rollout.ended:
        rollout = rollout.advance(Outcome.PASSED)
        seen.append(rollout.label)
    return seen


@pytest.mark.parametrize(
    ("strategy", "shadowing", "walked"),
    [
        ("blue_green", False, ["canary 100 %", "promoted"]),
        ("blue_green", True, ["shadow", "canary 100 %", "promoted"]),
        ("shadow", False, ["shadow", "canary 100 %", "promoted"]),
        ("ab", False, ["canary 5 %", "canary 25 %", "ab 50 %", "canary 100 %", "promoted"]),
        ("bandit", False, ["canary 5 %", "canary 25 %", "bandit 50 %", "canary 100 %", "promoted"]),
    ],
)
def test_every_strategy_is_a_plan_that_ends_in_promotion(
    strategy: Strategy, shadowing: bool, walked: list[str]
) -> None:
    assert _walked(_start(strategy=strategy, shadowing=shadowing)) == walked


@given(OUTCOMES)
def test_a_drill_is_never_promoted(outcomes: list[Outcome]) -> None:
    rollout = Rollout("v1", "v2", plan("canary", shadowing=False, steps=(5,)), drill=True)
    for outcome in [*outcomes, Outcome.PASSED, Outcome.PASSED]:
        if not rollout.ended:
            rollout = rollout.advance(outcome)
    assert rollout.stage == Stage.ROLLED_BACK
    assert Rollout.from_dict(rollout.to_dict()) == rollout


@given(STRATEGIES, st.booleans())
def test_no_strategy_goes_from_nothing_to_all_without_a_judged_step(
    strategy: Strategy, shadowing: bool
) -> None:
    first = _start(strategy=strategy, shadowing=shadowing).advance(Outcome.PASSED)
    assert not first.ended


@given(STRATEGIES, OUTCOMES)
def test_what_is_out_of_time_is_rolled_back_or_held_and_never_promoted(
    strategy: Strategy, outcomes: list[Outcome]
) -> None:
    rollout = _start(strategy=strategy)
    for outcome in outcomes:
        if rollout.ended:
            return
        late = rollout.out_of_time("nothing seen", ask=False)
        assert (late.stage, late.reason) == (Stage.ROLLED_BACK, "nothing seen")
        asked = rollout.out_of_time("nothing seen", ask=True)
        assert asked.weights() == {"v1": 100, "v2": 0}
        rollout = rollout.advance(outcome, "why")


def test_a_person_sends_a_held_release_on_to_the_next_step_or_back() -> None:
    held = _start(shadowing=False).advance(Outcome.PASSED).out_of_time("quiet", ask=True)
    assert (held.label, held.walking, held.ended) == ("held", False, False)
    with pytest.raises(ReleaseError, match="another stage"):
        held.advance(Outcome.PASSED)
    assert held.answered(promote=True, reason="me").label == "canary 25 %"
    back = held.answered(promote=False, reason="me: no")
    assert (back.stage, back.reason) == (Stage.ROLLED_BACK, "me: no")


def test_only_what_is_held_can_be_answered() -> None:
    with pytest.raises(ReleaseError, match="another stage"):
        _start().answered(promote=True, reason="me")


def _bandit() -> Rollout:
    rollout = Rollout("v2", "v1", plan("bandit", shadowing=False, steps=(100,), share=30))
    return rollout.advance(Outcome.PASSED).began(NOW)


def test_a_bandit_keeps_when_each_of_its_shares_began() -> None:
    later = NOW + timedelta(days=1)
    moved = _bandit().move_share(80, later)
    assert moved.periods == (Period(NOW, 30), Period(later, 80))
    assert (moved.weights(), moved.label) == ({"v1": 20, "v2": 80}, "bandit 80 %")
    assert moved.move_share(80, later + timedelta(days=1)) is moved
    assert moved.began(later) is moved
    assert moved.advance(Outcome.PASSED).periods == ()


def test_a_release_is_read_as_it_was_written() -> None:
    moved = _bandit().move_share(80, NOW + timedelta(days=1))
    assert Rollout.from_dict(json.loads(json.dumps(moved.to_dict()))) == moved


def test_only_a_bandit_moves_its_share() -> None:
    with pytest.raises(ReleaseError, match="another stage"):
        _start().advance(Outcome.PASSED).move_share(10, NOW)


def test_runs_that_died_are_counted_anew_when_a_release_has_come_on() -> None:
    taken = _start().advance(Outcome.PASSED).taken_over("b").taken_over("c")
    assert taken.attempts == 3
    assert taken.advance(Outcome.PASSED).attempts == 1


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
    back = Rollout("v1", None, plan("blue_green", shadowing=False)).roll_back("it does not start")
    assert back.weights() == {}


@pytest.mark.parametrize("stage", [Stage.PROMOTED, Stage.ROLLED_BACK])
def test_a_release_that_has_ended_is_not_rolled_back(stage: Stage) -> None:
    with pytest.raises(ReleaseError, match="has ended"):
        Rollout("v2", "v1", plan("shadow", shadowing=True), stage=stage).roll_back("too late")


def test_a_former_version_comes_back_in_one_switch_once_it_is_ready() -> None:
    back = Rollout("v1", "v2", (), back=True)
    assert back.weights() == {"v2": 100, "v1": 0}
    assert back.advance(Outcome.INCONCLUSIVE) == back
    there = back.advance(Outcome.PASSED)
    assert (there.stage, there.entry) == (Stage.PROMOTED, "roll_back")
    assert there.weights() == {"v2": 0, "v1": 100}
    refused = back.advance(Outcome.ERROR, "it does not start")
    assert (refused.weights(), refused.entry) == ({"v2": 100, "v1": 0}, "rolled_back")
    assert Rollout.from_dict(json.loads(json.dumps(there.to_dict()))) == there


@pytest.mark.parametrize(
    ("promoted", "before"),
    [
        ("1 2 3", "2 1"),
        ("1 2 3 2b", "1"),
        ("1 2 3 2b 1b", ""),
        ("1 2 3 2b 3", "2 1"),
        ("1 2 3 2b 4", "2 1"),
        ("1", ""),
    ],
)
def test_what_was_rolled_back_from_is_not_rolled_back_to(promoted: str, before: str) -> None:
    made: list[Rollout] = []
    for name in promoted.split():
        champion = made[-1].challenger if made else None
        made.append(Rollout(name[0], champion, (), Stage.PROMOTED, back=name.endswith("b")))
    assert served_before(made, made[-1].challenger) == before.split()
