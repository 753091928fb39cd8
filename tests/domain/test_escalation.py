"""Who is told of an incident: it climbs while nobody looks after it; each thing is told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain import escalation
from setpoint.domain.escalation import Mark, Notice, Rule, attend, due
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Attention, Cause, Incident, Severity, Status
from setpoint.errors import StateError

NOW = datetime(2026, 1, 10, tzinfo=UTC)
WALL = datetime(2027, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULE = Rule((("team",), ("oncall",), ("boss", "oncall")), 4 * HOUR)
FINDING = Finding("recall", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")


def _incident(
    status: Status = Status.OPEN, severity: Severity = Severity.HIGH, **attention: object
) -> Incident:
    opened = Incident("c-1", Cause.PERFORMANCE, severity, status, NOW, "v1", (FINDING,))
    return replace(opened, attention=Attention(**attention))  # type: ignore[arg-type]


def _attended(incident: Incident, wall: datetime, now: datetime = NOW) -> Incident:
    return replace(incident, attention=attend(incident, RULE, now, wall))


class Loop:
    """An incident as runs see it: attended to, told, remembered what was told."""

    def __init__(self, incident: Incident, rule: Rule = RULE) -> None:
        self.incident, self.rule = incident, rule
        self.told: dict[str, Mark] = {}
        self.now, self.wall = NOW, WALL

    def run(self, passed: timedelta = timedelta(0)) -> list[Notice]:
        """One run, so much later by both clocks; what it told."""
        self.now, self.wall = self.now + passed, self.wall + passed
        attention = attend(self.incident, self.rule, self.now, self.wall)
        self.incident = replace(self.incident, attention=attention)
        found = due(self.incident, self.told, self.rule, self.now)
        self.told |= {one.channel: one.mark for one in found}
        return list(found)

    def channels(self, passed: timedelta = timedelta(0)) -> list[str]:
        """Who was told by one run."""
        return [one.channel for one in self.run(passed)]


def test_an_incident_nobody_acknowledges_climbs_a_level_each_time_and_stays_on_the_last() -> None:
    loop = Loop(_incident())
    assert loop.channels() == ["team"]
    assert loop.channels(4 * HOUR - timedelta(seconds=1)) == []
    assert loop.channels(timedelta(seconds=1)) == ["oncall"]
    assert sorted(loop.channels(4 * HOUR)) == ["boss", "oncall"]
    assert loop.channels(400 * HOUR) == []
    assert loop.incident.attention.level == 2


def test_a_platform_that_was_down_for_days_begins_with_the_first_level() -> None:
    loop = Loop(_incident())
    assert loop.channels(100 * HOUR) == ["team"]
    assert loop.channels(100 * HOUR) == ["oncall"]


def test_event_time_alone_climbs_nothing() -> None:
    incident = _attended(_incident(), WALL)
    assert _attended(incident, WALL, NOW + 1000 * HOUR).attention.level == 0


def test_an_acknowledged_incident_climbs_no_further() -> None:
    loop = Loop(_incident())
    loop.run()
    seen = escalation.acknowledge(loop.incident, "ada", NOW)
    loop.incident = replace(loop.incident, attention=seen)
    assert loop.channels(100 * HOUR) == [] and loop.incident.attention.level == 0
    assert (seen.acknowledged_by, seen.acknowledged_at) == ("ada", NOW)


def test_whom_a_level_did_not_reach_before_the_acknowledgement_is_left_in_peace() -> None:
    incident = _incident(level=1, since=WALL, acknowledged_by="ada")
    assert [one.channel for one in due(incident, {}, RULE, NOW)] == ["team"]


def test_a_snoozed_incident_neither_notifies_nor_climbs_and_begins_anew_when_it_is_over() -> None:
    loop = Loop(_incident())
    loop.run()
    loop.run(5 * HOUR)
    silent = escalation.snooze(loop.incident, "ada", loop.now + 72 * HOUR)
    loop.incident = replace(loop.incident, attention=silent)
    assert loop.channels(71 * HOUR) == []
    assert loop.incident.attention.level == 1
    assert loop.channels(1 * HOUR) == ["team"]
    assert loop.incident.attention == Attention(turn=1, since=loop.wall)


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_worse_severity_ends_the_snooze_and_the_acknowledgement(acknowledged: bool) -> None:
    loop = Loop(_incident(Status.WATCHING, Severity.LOW))
    loop.run()
    attention = escalation.snooze(loop.incident, "ada", NOW + 72 * HOUR)
    who = "ada" if acknowledged else ""
    loop.incident = replace(loop.incident, attention=replace(attention, acknowledged_by=who))
    loop.incident = loop.incident.renewed(_incident(Status.WATCHING, Severity.LOW))
    assert loop.channels(HOUR) == []
    loop.incident = loop.incident.renewed(_incident())
    assert loop.channels() == ["team"]
    assert loop.incident.severity == Severity.HIGH
    assert loop.channels(4 * HOUR) == ["oncall"]


def test_an_incident_that_comes_to_need_a_person_is_told_anew_each_time() -> None:
    loop = Loop(_incident())
    loop.run()
    for _ in range(2):
        loop.incident = loop.incident.move(Status.RESPONDING)
        assert loop.channels() == []
        loop.incident = loop.incident.move(Status.NEEDS_PERSON)
        assert [(n.channel, n.what) for n in loop.run()] == [("team", "needs_person")]
        loop.incident = loop.incident.move(Status.OPEN)
        assert loop.channels() == []


def test_the_end_is_told_to_the_first_level_and_to_whoever_was_told() -> None:
    loop = Loop(_incident())
    loop.run()
    loop.run(4 * HOUR)
    loop.incident = loop.incident.move(Status.NEEDS_PERSON)
    loop.run()
    loop.incident = loop.incident.move(Status.RESOLVED, at=NOW)
    assert [(n.channel, n.what) for n in loop.run(400 * HOUR)] == [
        ("team", "resolved"),
        ("oncall", "resolved"),
    ]
    assert loop.channels(400 * HOUR) == []


def test_the_end_of_a_snoozed_incident_is_told() -> None:
    loop = Loop(_incident(Status.WATCHING, Severity.LOW))
    loop.run()
    silent = escalation.snooze(loop.incident, "ada", NOW + 72 * HOUR)
    loop.incident = replace(loop.incident, attention=silent).move(Status.RESOLVED, at=NOW)
    assert loop.channels() == ["team"]


def test_a_channel_that_was_out_of_order_gets_the_present_and_not_the_past() -> None:
    incident = _incident(level=1, since=WALL).move(Status.RESOLVED, at=NOW)
    assert [(n.channel, n.what) for n in due(incident, {}, RULE, NOW)] == [("team", "resolved")]


@pytest.mark.parametrize(
    ("on", "status", "told"),
    [
        ({"opened"}, Status.NEEDS_PERSON, ["opened"]),
        ({"needs_person"}, Status.OPEN, []),
        ({"needs_person", "resolved"}, Status.NEEDS_PERSON, ["needs_person"]),
    ],
)
def test_only_what_is_asked_for_is_told_and_climbs(
    on: set[escalation.What], status: Status, told: list[str]
) -> None:
    loop = Loop(_incident(status), replace(RULE, on=frozenset(on)))
    assert [one.what for one in loop.run()] == told
    loop.run(5 * HOUR)
    assert loop.incident.attention.level == len(told)
    assert loop.incident.attention.since == (loop.wall if told else None)


def test_the_end_of_what_nobody_was_told_of_is_not_told() -> None:
    rule = replace(RULE, on=frozenset({"needs_person", "resolved"}))
    loop = Loop(_incident(), rule)
    loop.run()
    loop.incident = loop.incident.move(Status.RESOLVED, at=NOW)
    assert loop.run() == []


def test_without_channels_nobody_is_told_and_nothing_climbs() -> None:
    loop = Loop(_incident(), Rule())
    assert loop.run(400 * HOUR) == []
    assert loop.incident.attention == Attention()


@pytest.mark.parametrize("say", [escalation.acknowledge, escalation.snooze])
def test_what_is_over_can_be_neither_acknowledged_nor_snoozed(say) -> None:  # type: ignore[no-untyped-def]
    over = _incident().move(Status.RESOLVED, at=NOW)
    with pytest.raises(StateError, match="c-1 is resolved"):
        say(over, "ada", NOW)


_STEP = st.one_of(
    st.tuples(st.just("pass"), st.integers(0, 30)),
    st.tuples(st.just("move"), st.sampled_from(sorted(Status))),
    st.tuples(st.just("snooze"), st.integers(1, 50)),
    st.tuples(st.just("acknowledge"), st.just(0)),
    st.tuples(st.just("renew"), st.sampled_from(sorted(Severity))),
)


@given(st.lists(_STEP, max_size=30), st.sampled_from(sorted(Severity)))
def test_whatever_happens_silence_is_kept_and_nothing_is_told_twice(
    steps: list[tuple[str, object]], severity: Severity
) -> None:
    loop = Loop(_incident(Status.WATCHING, severity))
    said: set[tuple[str, Mark]] = set()
    for what, value in steps:
        before = loop.incident
        if what == "move":
            try:
                loop.incident = before.move(Status(value), at=loop.now)
            except StateError:
                continue
        elif what == "snooze" and before.is_open:
            silent = escalation.snooze(before, "ada", loop.now + int(str(value)) * HOUR)
            loop.incident = replace(before, attention=silent)
        elif what == "acknowledge" and before.is_open:
            seen = escalation.acknowledge(before, "ada", loop.now)
            loop.incident = replace(before, attention=seen)
        elif what == "renew" and before.is_open:
            loop.incident = before.renewed(_incident(severity=Severity(value)))
        level, turn = loop.incident.attention.level, loop.incident.attention.turn
        told = loop.run(int(str(value)) * HOUR if what == "pass" else timedelta(0))
        after = loop.incident.attention
        if escalation.snoozed(loop.incident, loop.now):
            assert told == [] and after.level == level
        if not loop.incident.is_open or (after.turn == turn and after.acknowledged_by):
            assert after.level == level
        assert after.level <= level + 1
        news = {(one.channel, one.mark) for one in told}
        assert len(news) == len(told) and not news & said
        said |= news
        assert due(loop.incident, loop.told, RULE, loop.now) == ()
