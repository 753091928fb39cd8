"""A cause that is rolled back, against a real Prefect server, over in-memory traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import CHALLENGER
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.windows import WindowRecord
from setpoint.ports import TrafficPlan
from setpoint.stages import release
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.releasing import DEAD, looked, replaced, taken_up
from tests.stages.small import T0

pytestmark = pytest.mark.usefixtures("prefect_server")

BROKEN = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
Made = tuple[Workspace, FakeRouter, FakeRuntime]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """``v1`` served before ``v2``, which is in service."""
    found = replaced(tmp_path)
    looked(found[0], 0, Outcome.PASSED)
    for flow in ("respond", "release", "sweep"):
        monkeypatch.setattr(f"flows.{flow}.open_workspace", lambda: found[0])
    return found


def _opened(workspace: Workspace) -> Incident:
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v2", (BROKEN,))
    return workspace.state.open_incident(incident)[0]


def _plan(router: FakeRouter) -> TrafficPlan:
    found = router.current()
    assert found is not None
    return found


def test_a_cause_that_is_rolled_back_ends_with_the_former_version_in_service(made: Made) -> None:
    from flows.respond import respond

    workspace, router, runtime = made
    plans = len(router.plans)
    incident = _opened(workspace)
    state = respond(incident.id, return_state=True)
    assert state.is_completed() and state.name == "Healed"
    assert [plan.weights for plan in router.plans[plans:]] == [{"v1": 100}]
    assert set(runtime.endpoints()) == {"v1"} and workspace.champion() == "v1"
    assert workspace.registry.version_of(CHALLENGER) is None
    after = workspace.state.incident(incident.id)
    assert (after.status, after.note) == (Status.RESOLVED, "rolled back to v1")
    [entry] = [e for e in workspace.state.ledger() if e.kind == "roll_back"]
    assert entry.subject == "small/v1"
    assert (entry.evidence["cause"], entry.evidence["champion"]) == (incident.id, "v2")
    assert not {"accepted", "refused"} & {e.kind for e in workspace.state.ledger()}
    assert not workspace.state.audit_ledger(()).breaks


def test_a_roll_back_without_a_good_version_asks_a_person_and_changes_nothing(made: Made) -> None:
    from flows.respond import respond

    workspace, router, _ = made
    workspace.state.keep_window(WindowRecord(T0, "v1", (BROKEN,)))
    before = _plan(router)
    incident = _opened(workspace)
    state = respond(incident.id, return_state=True)
    assert state.is_failed() and state.name == "NeedsPerson"
    after = workspace.state.incident(incident.id)
    assert after.status == Status.NEEDS_PERSON
    assert "v1: ranking failed at 2026-02-01 00:00" in after.note
    assert _plan(router) == before and workspace.champion() == "v2"


def test_a_former_version_that_does_not_start_leaves_the_champion_and_asks_a_person(
    made: Made,
) -> None:
    from flows.respond import respond

    workspace, router, runtime = made
    runtime.broken = frozenset({"v1"})
    incident = _opened(workspace)
    state = respond(incident.id, return_state=True)
    assert state.name == "NeedsPerson"
    after = workspace.state.incident(incident.id)
    assert (
        after.status == Status.NEEDS_PERSON
        and "a former version, v1, did not take over" in after.note
    )
    assert _plan(router).weights == {"v2": 100} and workspace.champion() == "v2"
    assert workspace.state.ledger()[-2].kind == "rolled_back"


def test_a_roll_back_killed_between_its_state_and_the_traffic_is_finished_by_the_sweep(
    made: Made,
) -> None:
    from flows.sweep import sweep

    workspace, router, _ = made
    incident = taken_up(workspace, DEAD)
    begun = release.begin(workspace, "v1", incident.id, DEAD, instead_of="v2")
    workspace.state.save_release(begun.advance(Outcome.PASSED))
    assert _plan(router).weights == {"v2": 100}
    assert sweep(return_state=True).is_completed()
    assert _plan(router).weights == {"v1": 100} and workspace.champion() == "v1"
    after = workspace.state.incident(incident.id)
    assert (after.status, after.note) == (Status.RESOLVED, "rolled back to v1")
    assert [entry.kind for entry in workspace.state.ledger()].count("roll_back") == 1


def test_a_roll_back_killed_before_its_version_was_ready_goes_on_under_another_run(
    made: Made,
) -> None:
    from flows.release import release as release_flow

    workspace, router, _ = made
    incident = taken_up(workspace, DEAD)
    release.begin(workspace, "v1", incident.id, DEAD, instead_of="v2")
    state = release_flow("v1", return_state=True)
    assert state.name == "Promoted"
    assert _plan(router).weights == {"v1": 100} and workspace.champion() == "v1"
    [known] = workspace.state.releases_for(incident.id)
    assert known.back and known.settled


def test_what_was_rolled_back_from_is_released_anew_and_is_a_release_of_its_own(
    made: Made,
) -> None:
    from flows.respond import respond

    workspace, _, _ = made
    respond(_opened(workspace).id, return_state=True)
    workspace.registry.tag("v2", "gated_against", "v1")
    again = release.begin(workspace, "v2", "manual", "a run")
    assert not again.back and again.champion == "v1"
    assert workspace.state.unsettled_releases() == [again] == [workspace.state.release("v2")]
    assert [r.challenger for r in workspace.state.promoted_releases()] == ["v1", "v2", "v1"]
