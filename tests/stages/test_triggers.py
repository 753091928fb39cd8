"""Trainings that nobody asks for start once each, and not while something else comes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.stages import follow_up, triggers
from setpoint.workspace import StreamClock, Workspace
from tests.stages.small import APART, T0, make_workspace

TEXT = APART.replace("trials: 1", "trials: 1, labelled_batch: 100") + "respond: {follow_ups: 2}\n"
SINCE = T0 - timedelta(days=9)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = replace(make_workspace(tmp_path, TEXT), replay=True)
    StreamClock(made.state).advance(T0)
    yield made


def _wait_for(workspace: Workspace, days: float) -> list[str]:
    StreamClock(workspace.state).advance(T0 + timedelta(days=days))
    return triggers.due(workspace, T0 + timedelta(days=days))


def test_a_heal_is_followed_up_as_often_as_the_project_file_says(workspace: Workspace) -> None:
    follow_up.begin(workspace, "small-1", SINCE, T0)
    assert _wait_for(workspace, 1.9) == []
    [cause] = _wait_for(workspace, 2.0)
    start = triggers.take(workspace, cause)
    assert start is not None and start.since == SINCE
    assert triggers.take(workspace, cause) is None, "an event that came twice"
    assert _wait_for(workspace, 4.4) == []
    assert _wait_for(workspace, 4.6) == [cause]
    assert triggers.take(workspace, cause) is not None
    assert _wait_for(workspace, 400) == []


@pytest.mark.parametrize(
    ("cause", "status"),
    [(Cause.PERFORMANCE, Status.OPEN), (Cause.FAULT, Status.NEEDS_PERSON)],
)
def test_an_open_incident_comes_first(workspace: Workspace, cause: Cause, status: Status) -> None:
    follow_up.begin(workspace, "small-1", SINCE, T0)
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    opened = Incident("", cause, Severity.HIGH, status, T0, "v1", (finding,))
    found, _ = workspace.state.open_incident(opened)
    assert _wait_for(workspace, 3) == []
    ended = found.move(Status.NEEDS_PERSON) if status == Status.OPEN else found
    workspace.state.move_incident(found, ended, T0)
    workspace.state.move_incident(ended, ended.move(Status.RESOLVED, at=T0), T0)
    assert len(_wait_for(workspace, 3)) == 1


def test_nothing_is_trained_beside_a_release_that_waits_for_a_person(workspace: Workspace) -> None:
    follow_up.begin(workspace, "small-1", SINCE, T0)
    held = Rollout("v2", "v1", plan("blue_green", shadowing=False), Stage.HELD)
    workspace.state.save_release(held)
    assert _wait_for(workspace, 3) == []
    assert triggers.take(workspace, "follow-up of small-1") is None
    workspace.state.save_release(replace(held, stage=Stage.ROLLED_BACK, settled=True))
    assert len(_wait_for(workspace, 3)) == 1


@pytest.mark.parametrize("cause", ["manual", "schedule", "first"])
def test_what_a_person_or_a_schedule_asks_for_is_always_done(
    workspace: Workspace, cause: str
) -> None:
    assert triggers.take(workspace, cause) == triggers.Start()


def test_a_training_that_waits_behind_another_is_told_ever_more_rarely(
    workspace: Workspace,
) -> None:
    told = [
        minute
        for minute in range(0, 121)
        if triggers.to_tell(workspace, "why", T0 + timedelta(minutes=minute), again=minute > 0)
    ]
    assert told == [0, 1, 2, 4, 8, 16, 32, 64]
    triggers.take(workspace, "why")
    assert triggers.to_tell(workspace, "why", T0 + timedelta(minutes=121), again=False)
