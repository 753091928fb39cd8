"""A monitor that is silent is itself an incident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Status
from setpoint.domain.windows import WindowRecord
from setpoint.stages import watchers
from setpoint.stages.watch import due
from setpoint.workspace import Workspace
from tests.stages.small import make_workspace

WALL = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def _by_name(found: list[Finding]) -> dict[str, Outcome]:
    return {f.label: f.outcome for f in found}


def test_before_anything_ran_nothing_is_claimed(workspace: Workspace) -> None:
    found = watchers.check(workspace, NOW, WALL)
    assert {f.outcome for f in found} == {Outcome.INCONCLUSIVE}
    assert watchers.open_incident(workspace, found, NOW) is None


def test_flows_that_run_and_a_fresh_window_are_in_order(workspace: Workspace) -> None:
    for flow in ("watch", "sweep"):
        watchers.beat(workspace, flow, WALL - timedelta(minutes=2))
    workspace.state.keep_window(WindowRecord(NOW - timedelta(days=1), "v1", ()))
    found = watchers.check(workspace, NOW, WALL)
    assert {f.outcome for f in found} == {Outcome.PASSED}


def test_a_watch_that_went_silent_is_one_incident_for_a_person(workspace: Workspace) -> None:
    watchers.beat(workspace, "watch", WALL - timedelta(hours=5))
    watchers.beat(workspace, "sweep", WALL)
    found = watchers.check(workspace, NOW, WALL)
    assert _by_name(found)["heartbeat[watch]"] == Outcome.FAILED
    assert _by_name(found)["heartbeat[sweep]"] == Outcome.PASSED
    opened = watchers.open_incident(workspace, found, NOW)
    assert opened is not None
    incident, new = opened
    assert new and (incident.cause, incident.status) == (Cause.MONITORING, Status.NEEDS_PERSON)
    told = ("heartbeat[watch]: last ran 18,000 seconds ago, 10,920 are allowed",)
    assert workspace.state.incident(incident.id).headlines == told
    again = watchers.open_incident(workspace, watchers.check(workspace, NOW, WALL), NOW)
    assert again is not None and (again[0].id, again[1]) == (incident.id, False)


def test_a_platform_that_was_down_is_not_blamed_on_its_flows(workspace: Workspace) -> None:
    watchers.beat(workspace, "watch", WALL - timedelta(days=5))
    workspace.root.mkdir(parents=True, exist_ok=True)
    workspace.set_platform({"started_at": (WALL - timedelta(minutes=1)).isoformat()})
    assert _by_name(watchers.check(workspace, NOW, WALL))["heartbeat[watch]"] == Outcome.PASSED


def test_decisions_that_no_window_looked_at_are_found(workspace: Workspace) -> None:
    workspace.state.keep_window(WindowRecord(NOW - timedelta(days=8), "v1", ()))
    assert _by_name(watchers.check(workspace, NOW, WALL))["window_age"] == Outcome.FAILED


def test_a_clock_that_goes_backwards_is_an_error_and_no_window_is_judged_twice(
    workspace: Workspace,
) -> None:
    workspace.state.keep_window(WindowRecord(NOW + timedelta(days=3), "v1", ()))
    found = watchers.check(workspace, NOW, WALL)
    assert _by_name(found)["window_age"] == Outcome.ERROR
    assert "backwards" in found[-1].reason
    assert not due(workspace, NOW)
    opened = watchers.open_incident(workspace, found, NOW)
    assert opened is not None and opened[0].cause == Cause.MONITORING
