"""An incident is taken up by one run at a time, and left by none that dies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.domain.split import hash_share
from setpoint.errors import StateError
from setpoint.ports import Decision, Label
from setpoint.stages import follow_up, respond
from setpoint.workspace import StreamClock, Workspace
from tests.stages.small import PROJECT, T0, make_workspace

WHOLE = plan("blue_green", shadowing=False)
TWICE = PROJECT + "respond: {attempts: 2, retry_after: 2d}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = replace(make_workspace(tmp_path, TWICE), replay=True)
    _at(made, T0)
    yield made


def _at(workspace: Workspace, time: datetime) -> None:
    StreamClock(workspace.state).advance(time)


def _opened(workspace: Workspace) -> Incident:
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", (finding,))
    return workspace.state.open_incident(incident)[0]


def _taken(workspace: Workspace, incident: Incident) -> Incident:
    found = respond.take(workspace, incident.id, "a run")
    assert found is not None
    return found


def _kinds(workspace: Workspace) -> list[str]:
    return [entry.kind for entry in workspace.state.ledger()]


def test_a_refused_retraining_is_not_tried_again_before_its_time(workspace: Workspace) -> None:
    incident = _opened(workspace)
    respond.failed(workspace, _taken(workspace, incident), "refused")
    assert respond.waiting(workspace, T0 + timedelta(days=1)) == []
    assert respond.take(workspace, incident.id, "an event that came twice") is None
    _at(workspace, T0 + timedelta(days=2))
    assert [i.id for i in respond.waiting(workspace, T0 + timedelta(days=2))] == [incident.id]
    assert _taken(workspace, incident).status == Status.RESPONDING


def test_a_refused_retraining_waits_until_its_rows_can_say_more(workspace: Workspace) -> None:
    incident = _opened(workspace)
    respond.failed(workspace, _taken(workspace, incident), "refused", T0 - timedelta(days=41))
    assert respond.waiting(workspace, T0 + timedelta(days=9)) == []
    assert respond.waiting(workspace, T0 + timedelta(days=10)) != []


def test_what_no_label_has_shown_is_answered_once_labels_tell_of_it(workspace: Workspace) -> None:
    finding = Finding("psi", Outcome.FAILED, 0.5, 0.25, "ceiling", 500, 0.001, "moved", slice="x")
    drift = Incident("", Cause.DRIFT, Severity.HIGH, Status.OPEN, T0, "v1", (finding,))
    opened, _ = workspace.state.open_incident(drift)
    window, delay = workspace.project.watch.window, workspace.project.target.delay
    assert respond.began(workspace, opened, T0) == T0 - window
    early = T0 - window / 2 + delay - timedelta(seconds=1)
    assert respond.waiting(workspace, early) == []
    assert respond.waiting(workspace, early + timedelta(seconds=1)) == [opened]


def _decided(workspace: Workspace, judge: bool, dearer_from: int, days: int = 28) -> None:
    """A hundred decisions a day of customers that judge or that do not; misses from a day on."""
    held = [n for n in map(str, range(4000)) if (hash_share(n) < 0.4) == judge]
    made, labels = [], []
    for i in range(days * 100):
        at = T0 - timedelta(days=days + 1 - i / 100)
        missed = i // 100 >= dearer_from
        made.append(
            Decision(
                id=held.pop(),
                event_time=at,
                request={},
                features={},
                score=0.1,
                threshold=0.5,
                action="approve",
                reasons=(),
                version="v1",
                bundle_digest="0" * 64,
            )
        )
        labels.append(Label(made[-1].id, int(missed), at))
    workspace.decisions.append(made)
    workspace.decisions.add_labels(labels)


def test_a_response_is_judged_from_the_day_on_which_decisions_became_dearer(
    workspace: Workspace,
) -> None:
    window = workspace.project.watch.window
    days = round(2 * window / timedelta(days=1))
    _decided(workspace, judge=False, dearer_from=days // 2 + 1, days=days)
    began = respond.began(workspace, _opened(workspace), T0)
    assert began == T0 - timedelta(days=days + 1) + timedelta(days=days // 2 + 1)


def test_the_customers_that_judge_do_not_say_from_when_on(workspace: Workspace) -> None:
    days = round(2 * workspace.project.watch.window / timedelta(days=1))
    _decided(workspace, judge=False, dearer_from=days // 2 + 1, days=days)
    before = respond.began(workspace, _opened(workspace), T0)
    _decided(workspace, judge=True, dearer_from=1, days=days)
    assert respond.began(workspace, _opened(workspace), T0) == before


def test_nothing_is_retrained_while_data_are_broken(workspace: Workspace) -> None:
    incident = _opened(workspace)
    fault = replace(incident, id="", cause=Cause.FAULT, status=Status.NEEDS_PERSON)
    fault, _ = workspace.state.open_incident(fault)
    assert respond.waiting(workspace, T0) == []
    assert respond.take(workspace, incident.id, "an event that was on its way") is None
    respond.by_person(workspace, fault.id, "the feed is mended", retry=False)
    assert [i.id for i in respond.waiting(workspace, T0)] == [incident.id]


def test_after_the_last_attempt_a_person_is_needed_and_can_have_it_tried_again(
    workspace: Workspace,
) -> None:
    incident = _opened(workspace)
    respond.failed(workspace, _taken(workspace, incident), "refused")
    _at(workspace, T0 + timedelta(days=2))
    after = respond.failed(workspace, _taken(workspace, incident), "refused")
    assert after.status == Status.NEEDS_PERSON and "attempt 2 of 2" in after.note
    again = respond.by_person(workspace, incident.id, "the feed is mended", retry=True)
    assert (again.status, again.severity) == (Status.OPEN, Severity.HIGH)
    assert [i.id for i in respond.waiting(workspace, workspace.clock.now())] == [incident.id]
    once = respond.failed(workspace, _taken(workspace, incident), "refused")
    assert "attempt 1 of 2" in once.note


def test_a_person_ends_an_incident_and_the_ledger_keeps_the_reason(workspace: Workspace) -> None:
    incident = _opened(workspace)
    ended = respond.by_person(workspace, incident.id, "a test of ours", retry=False)
    assert ended.status == Status.RESOLVED
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.evidence["note"]) == (
        "incident_resolved",
        "by a person: a test of ours",
    )
    with pytest.raises(StateError, match="cannot go from resolved"):
        respond.by_person(workspace, incident.id, "again", retry=False)


@pytest.mark.parametrize(
    ("rollout", "status"),
    [
        (None, Status.OPEN),
        (Rollout("v2", "v1", WHOLE, Stage.ROLLED_BACK, settled=True), Status.OPEN),
        (Rollout("v2", "v1", WHOLE, Stage.CANARY), Status.RESPONDING),
        (Rollout("v2", "v1", WHOLE, Stage.PROMOTED), Status.RESPONDING),
        (Rollout("v2", "v1", WHOLE, Stage.PROMOTED, settled=True), Status.RESOLVED),
    ],
)
def test_what_a_dead_run_had_taken_up_ends_as_its_release_did(
    workspace: Workspace, rollout: Rollout | None, status: Status
) -> None:
    incident = _taken(workspace, _opened(workspace))
    if rollout is not None:
        workspace.state.save_release(replace(rollout, cause=incident.id))
    respond.left_behind(workspace, incident)
    assert workspace.state.incident(incident.id).status == status


def test_a_heal_is_followed_up_though_the_run_that_answered_it_died(workspace: Workspace) -> None:
    incident = _taken(workspace, _opened(workspace))
    began = respond.began(workspace, incident, T0)
    healed = Rollout("v2", "v1", WHOLE, Stage.PROMOTED, cause=incident.id, settled=True)
    workspace.state.save_release(healed)
    respond.left_behind(workspace, incident)
    following = follow_up.waiting(workspace)
    assert following is not None
    assert (following.incident, following.since) == (incident.id, began)


def test_broken_data_are_not_responded_to_again(workspace: Workspace) -> None:
    fault = replace(_opened(workspace), id="", cause=Cause.FAULT, status=Status.NEEDS_PERSON)
    fault, _ = workspace.state.open_incident(fault)
    with pytest.raises(StateError, match="no training answers it"):
        respond.by_person(workspace, fault.id, "again", retry=True)
    assert workspace.state.incident(fault.id).status == Status.NEEDS_PERSON


def test_an_error_while_a_release_goes_on_leaves_its_incident_to_that_release(
    workspace: Workspace,
) -> None:
    incident = _taken(workspace, _opened(workspace))
    rollout = Rollout("v2", "v1", WHOLE, Stage.PROMOTED, cause=incident.id)
    workspace.state.save_release(rollout)
    respond.broken_off(workspace, incident, "a process does not stop")
    assert workspace.state.incident(incident.id).status == Status.RESPONDING
    workspace.state.save_release(replace(rollout, settled=True))
    respond.broken_off(workspace, incident, "a page cannot be made")
    assert workspace.state.incident(incident.id).status == Status.OPEN


def test_an_incident_that_healed_meanwhile_is_not_opened_again_by_a_late_sweep(
    workspace: Workspace,
) -> None:
    seen_by_the_sweep = _taken(workspace, _opened(workspace))
    respond.promoted(workspace, seen_by_the_sweep, "v2")
    respond.left_behind(workspace, seen_by_the_sweep)
    assert workspace.state.incident(seen_by_the_sweep.id).status == Status.RESOLVED
    assert _kinds(workspace) == ["incident_opened", "incident_resolved"]
