"""People are told once, also where channels fail and runs are killed; nothing secret is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import NotificationError, StateError
from setpoint.stages import attention, notify
from setpoint.workspace import StreamClock, Workspace
from tests.adapters.receivers import SECRET, Webhook, webhook
from tests.stages.small import PROJECT, T0, make_workspace

NOTIFY = """\
notify:
  channels: {team: {url_from: TEAM_URL}, oncall: {url_from: ONCALL_URL}, ui: {block: json/ui}}
  levels: [[team, ui], [oncall]]
  escalate_after: 4h
"""


class Wall:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.time = datetime(2027, 5, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """As it was set."""
        return self.time


class Blocks:
    """Takes what is sent through blocks."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.broken = False

    def __call__(self, channel: str, block: str, title: str, body: str) -> None:
        if self.broken:
            raise NotificationError("it did not take it", where=channel, fix="mend it")
        self.taken.append(title)


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as made:
        monkeypatch.setenv("TEAM_URL", made.url)
        yield made


@pytest.fixture
def oncall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as made:
        monkeypatch.setenv("ONCALL_URL", made.url)
        yield made


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = replace(make_workspace(tmp_path, PROJECT + NOTIFY), replay=True)
    StreamClock(made.state).advance(T0)
    return made


def _opened(workspace: Workspace, severity: Severity = Severity.HIGH) -> Incident:
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    incident = Incident("", Cause.PERFORMANCE, severity, Status.OPEN, T0, "v1", (finding,))
    lines = ("does not hold: ranking 0.5, floor 0.6",)
    return workspace.state.open_incident(replace(incident, headlines=lines))[0]


def _everything(workspace: Workspace) -> bytes:
    return b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())


def test_an_incident_is_told_with_its_triage_and_climbs_until_it_is_acknowledged(
    workspace: Workspace, team: Webhook, oncall: Webhook
) -> None:
    wall, blocks = Wall(), Blocks()
    incident = _opened(workspace)
    for _ in range(2):
        notify.tell(workspace, wall, blocks)
    assert team.titles == blocks.taken == ["small-1 is open: performance, high"]
    assert "does not hold: ranking 0.5, floor 0.6" in team.bodies[0]["message"]
    assert "setpoint acknowledge small-1" in team.bodies[0]["message"]
    wall.time += timedelta(hours=4)
    for _ in range(2):
        notify.tell(workspace, wall, blocks)
    told = "small-1 is open: performance, high, level 1: nobody acknowledged it"
    assert (oncall.titles, len(team.titles)) == ([told], 1)
    said = attention.acknowledge(workspace, incident.id, "ada").attention
    assert (said.acknowledged_by, said.acknowledged_at) == ("ada", T0)
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.evidence) == ("incident_acknowledged", {"person": "ada"})
    read = workspace.state.incident(incident.id)
    workspace.state.move_incident(read, read.move(Status.RESOLVED, note="healed", at=T0), T0)
    for _ in range(2):
        notify.tell(workspace, wall, blocks)
    assert team.titles[1:] == oncall.titles[1:] == ["small-1 is over: performance, high"]
    assert workspace.state.untold_incidents() == []
    assert SECRET.encode() not in _everything(workspace)


def test_a_channel_that_fails_stops_no_other_and_is_told_by_the_next_run(
    workspace: Workspace, team: Webhook
) -> None:
    blocks = Blocks()
    team.status = 500
    _opened(workspace)
    with pytest.raises(NotificationError, match=r"notify\.channels\.team") as caught:
        notify.tell(workspace, Wall(), blocks)
    assert SECRET not in str(caught.value)
    assert len(blocks.taken) == 1 and len(team.paths) == 1
    team.status = 200
    notify.tell(workspace, Wall(), blocks)
    assert (len(team.titles), len(blocks.taken)) == (1, 1)


def test_a_channel_that_fails_is_tried_once_in_a_run_and_every_failing_one_is_named(
    workspace: Workspace, team: Webhook
) -> None:
    blocks = Blocks()
    blocks.broken, team.status = True, 500
    _opened(workspace)
    drift = Incident("", Cause.DRIFT, Severity.LOW, Status.WATCHING, T0, "v1", ())
    workspace.state.open_incident(drift)
    with pytest.raises(NotificationError, match=r"team.*; ui: it did not") as caught:
        notify.tell(workspace, Wall(), blocks)
    assert len(team.paths) == 1 and "mend it" in caught.value.fix


def test_an_address_that_is_not_set_names_its_variable(workspace: Workspace) -> None:
    _opened(workspace)
    with pytest.raises(NotificationError, match="TEAM_URL is not set"):
        notify.tell(workspace, Wall(), Blocks())


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("method", ["claim_telling", "end_telling"])
def test_a_run_that_is_killed_loses_nothing_and_repeats_one_at_most(
    workspace: Workspace, team: Webhook, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    wall, blocks = Wall(), Blocks()
    _opened(workspace)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(workspace.state, method, kill)
        notify.tell(workspace, wall, blocks)
    sent = len(team.titles)
    notify.tell(workspace, wall, blocks)
    assert len(team.titles) == max(sent, 1), "what another run may be telling is left to it"
    wall.time += notify.CLAIM
    for _ in range(3):
        notify.tell(workspace, wall, blocks)
    assert len(team.titles) == sent + 1 and len(blocks.taken) == 1


def test_two_runs_at_once_tell_one_thing_once(workspace: Workspace, team: Webhook) -> None:
    wall, blocks = Wall(), Blocks()

    def second_run(channel: str, block: str, title: str, body: str) -> None:
        notify.tell(workspace, wall, blocks)
        blocks(channel, block, title, body)

    _opened(workspace)
    notify.tell(workspace, wall, second_run)
    assert len(team.titles) == len(blocks.taken) == 1


def test_what_ended_before_there_were_channels_is_not_told_when_there_are(
    tmp_path: Path, team: Webhook
) -> None:
    before = replace(make_workspace(tmp_path), replay=True)
    StreamClock(before.state).advance(T0)
    incident = _opened(before)
    before.state.move_incident(incident, incident.move(Status.RESOLVED, at=T0), T0)
    notify.tell(before, Wall(), Blocks())
    after = replace(make_workspace(tmp_path, PROJECT + NOTIFY), replay=True)
    blocks = Blocks()
    notify.tell(after, Wall(), blocks)
    assert team.titles == blocks.taken == []


def test_a_snooze_is_kept_in_event_time_and_in_the_ledger(
    workspace: Workspace, team: Webhook, oncall: Webhook
) -> None:
    wall, blocks = Wall(), Blocks()
    incident = _opened(workspace)
    notify.tell(workspace, wall, blocks)
    attention.snooze(workspace, incident.id, "ada", timedelta(days=3))
    entry = workspace.state.ledger()[-1]
    until = (T0 + timedelta(days=3)).isoformat()
    assert (entry.kind, entry.evidence) == ("incident_snoozed", {"person": "ada", "until": until})
    wall.time += timedelta(days=30)
    notify.tell(workspace, wall, blocks)
    assert len(team.titles) == 1 and oncall.titles == []
    StreamClock(workspace.state).advance(T0 + timedelta(days=3))
    notify.tell(workspace, wall, blocks)
    assert len(team.titles) == 2 and oncall.titles == []


def test_what_a_run_read_hours_ago_does_not_undo_what_a_person_said_meanwhile(
    workspace: Workspace,
) -> None:
    incident = _opened(workspace)
    taken = workspace.state.take_incident(incident.id, "a run")
    assert taken is not None
    attention.acknowledge(workspace, incident.id, "ada")
    assert workspace.state.move_incident(taken, taken.move(Status.OPEN, note="refused"), T0)
    assert workspace.state.incident(incident.id).attention.acknowledged_by == "ada"


def test_of_two_people_who_speak_at_once_one_is_asked_to_say_it_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = _opened(workspace)
    attention.acknowledge(workspace, incident.id, "ada")
    with monkeypatch.context() as patch, pytest.raises(StateError, match="changed meanwhile"):
        patch.setattr(workspace.state, "incident", lambda _: incident)
        attention.acknowledge(workspace, incident.id, "bob")
    assert workspace.state.incident(incident.id).attention.acknowledged_by == "ada"
    assert [e.kind for e in workspace.state.ledger()].count("incident_acknowledged") == 1
