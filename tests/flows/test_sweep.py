"""What a killed run leaves is found by the sweep, against a real Prefect server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Stage
from setpoint.ports import TrafficPlan
from setpoint.workspace import Workspace
from tests.stages.releasing import DEAD, left_by_a_dead_run, two_versions
from tests.stages.small import T0

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The workspace that the sweep opens, over in-memory traffic."""
    made, _, _ = two_versions(tmp_path)
    monkeypatch.setattr("flows.sweep.open_workspace", lambda: made)
    yield made


def _responding(workspace: Workspace) -> Incident:
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", (finding,))
    opened, _ = workspace.state.open_incident(incident)
    taken = workspace.state.take_incident(opened.id, DEAD)
    assert taken is not None
    return taken


def _sweep() -> None:
    from flows.sweep import sweep

    assert sweep(return_state=True).is_completed()


def _releases_asked_for() -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    wanted = FlowFilter(name=FlowFilterName(any_=["release"]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_filter=wanted)


def test_a_promotion_whose_run_died_is_settled_and_its_incident_closed(
    workspace: Workspace,
) -> None:
    incident = _responding(workspace)
    left_by_a_dead_run(workspace, Stage.PROMOTED, cause=incident.id)
    _sweep()
    assert workspace.champion() == "v2"
    after = workspace.state.incident(incident.id)
    assert (after.status, after.note) == (Status.RESOLVED, "retrained; v2 promoted")


def test_a_release_whose_run_died_is_walked_on_by_another_and_asked_for_once(
    workspace: Workspace,
) -> None:
    from flows.release import release

    release.to_deployment(name="release").apply()
    incident = _responding(workspace)
    left_by_a_dead_run(workspace, Stage.CANARY, cause=incident.id)
    before = len(_releases_asked_for())
    for _ in range(2):
        _sweep()
    assert len(_releases_asked_for()) == before + 1
    assert workspace.state.incident(incident.id).status == Status.RESPONDING


def test_a_release_that_killed_too_many_runs_is_rolled_back_and_the_incident_opened_again(
    workspace: Workspace,
) -> None:
    incident = _responding(workspace)
    left_by_a_dead_run(workspace, Stage.CANARY, cause=incident.id, attempts=3)
    _sweep()
    assert workspace.champion() == "v1"
    assert workspace.state.unsettled_releases() == []
    assert workspace.state.incident(incident.id).status == Status.OPEN
    assert "rolled_back" in [e.kind for e in workspace.state.ledger()]


def test_a_run_that_died_while_it_held_a_release_leaves_the_challenger_no_traffic(
    workspace: Workspace,
) -> None:
    left_by_a_dead_run(workspace, Stage.CANARY)
    workspace.runtime.start("v2", workspace.bundle("v2"))
    walking = workspace.state.release("v2")
    assert walking is not None
    workspace.router.apply(
        TrafficPlan("canary", {"v1": 50, "v2": 50}, "v1"), workspace.runtime.endpoints()
    )
    workspace.state.save_release(walking.out_of_time("quiet", ask=True))
    for _ in range(2):
        _sweep()
    in_force = workspace.router.current()
    assert in_force is not None and in_force.weights == {"v1": 100, "v2": 0}
    assert [e.kind for e in workspace.state.ledger()].count("release_held") == 1


@pytest.mark.parametrize("cancelled", [False, True])
def test_labels_whose_training_was_killed_are_counted_again_unless_a_person_did_it(
    workspace: Workspace, cancelled: bool
) -> None:
    run = _cancelled() if cancelled else DEAD
    left = json.dumps({"run": run, "known": "7"})
    for name, text in (("labels_trained", "9"), ("labels_training", left)):
        workspace.state.remember(name, text)
    _sweep()
    assert workspace.state.recall("labels_trained") == ("9" if cancelled else "7")


def _cancelled() -> str:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    from flows.release import release

    with get_client(sync_client=True) as client:
        return str(
            client.create_flow_run(release, parameters={"version": "v2"}, state=Cancelled()).id
        )
