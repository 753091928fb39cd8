"""A rehearsed roll-back, against a real Prefect server, over in-memory traffic."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import CHALLENGER
from setpoint.adapters.scoring_metrics import ServiceCounts
from setpoint.domain.findings import Outcome
from setpoint.domain.ledger import Entry
from setpoint.ports import Endpoint
from setpoint.stages import drill as stage
from setpoint.stages import judging, release
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.releasing import ROLLS_BACK, looked, replaced, taken_up, two_versions

pytestmark = pytest.mark.usefixtures("prefect_server")

Made = tuple[Workspace, FakeRouter, FakeRuntime]
TEXT = ROLLS_BACK + "release: {steps: [10, 100], step_requests: 400, step_timeout: 3s}\n"


def _counted(monkeypatch: pytest.MonkeyPatch, *, rate: int) -> None:
    """Each look at a service finds ``rate`` answers more."""
    answered = count(0, rate)

    def read(_: Endpoint) -> ServiceCounts:
        return ServiceCounts(next(answered), 0, 0)

    monkeypatch.setattr(judging.Judge, "_expected_alerts", 0.1)  # no profile to read it from
    for module in (release, judging, stage):
        monkeypatch.setattr(module, "read_counts", read)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """``v1`` served before ``v2``, which is in service and has traffic."""
    found = replaced(tmp_path, TEXT)
    looked(found[0], 0, Outcome.PASSED)
    monkeypatch.setattr("flows.drill.open_workspace", lambda: found[0])
    _counted(monkeypatch, rate=2)
    return found


def _entries(workspace: Workspace, kind: str) -> list[Entry]:
    return [entry for entry in workspace.state.ledger() if entry.kind == kind]


def _nothing_changed(made: Made) -> None:
    workspace, router, runtime = made
    plan = router.current()
    assert plan is not None and {v: w for v, w in plan.weights.items() if w} == {"v2": 100}
    assert workspace.champion() == "v2" and set(runtime.endpoints()) == {"v2"}
    assert workspace.registry.version_of(CHALLENGER) is None
    assert workspace.state.unsettled_releases() == []


def test_a_former_version_is_let_in_fails_and_is_out_again_with_the_seconds_in_the_ledger(
    made: Made,
) -> None:
    from flows.drill import drill

    workspace, router, _ = made
    plans = len(router.plans)
    state = drill(return_state=True)
    assert (state.name, state.is_completed()) == ("Rehearsed", True)
    assert [plan.weights.get("v1", 0) for plan in router.plans[plans:]][:2] == [0, 10]
    _nothing_changed(made)
    [ended] = _entries(workspace, "rolled_back")
    assert ended.evidence["cause"] == "drill"
    assert "a version does not answer" in ended.evidence["reason"]
    [shown] = _entries(workspace, "drill")
    answered, seconds = shown.evidence["findings"]
    assert answered["value"] >= stage.FEWEST_ANSWERS
    assert 0 < seconds["value"] <= stage.MOST_SECONDS
    assert shown.subject.endswith("/v1") and shown.evidence["champion"] == "v2"


def test_a_drill_is_no_release_that_served_and_no_roll_back(made: Made) -> None:
    from flows.drill import drill

    workspace = made[0]
    served = workspace.state.promoted_releases()
    drill(return_state=True)
    assert workspace.state.promoted_releases() == served
    assert stage.former(workspace) == "v1"
    assert drill(return_state=True).name == "Rehearsed"


def test_a_former_version_without_a_request_to_answer_shows_nothing(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.drill import drill

    _counted(monkeypatch, rate=0)
    state = drill(return_state=True)
    assert (state.name, state.is_failed()) == ("NotShown", True)
    assert "v1 did not fail under traffic: canary 10 % stayed inconclusive" in str(state.message)
    _nothing_changed(made)


def test_a_former_version_that_does_not_start_shows_nothing(made: Made) -> None:
    from flows.drill import drill

    made[2].broken = frozenset({"v1"})
    state = drill(return_state=True)
    assert state.name == "NotShown" and "v1: it does not get ready" in str(state.message)
    _nothing_changed(made)


def test_what_a_killed_drill_left_is_not_taken_for_what_this_one_showed(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.drill import drill

    workspace = made[0]
    workspace.state.remember("drill:v1:failed", "2026-01-01T00:00:00+00:00")
    workspace.state.remember("drill:v1:answered", "9")
    _counted(monkeypatch, rate=0)
    assert drill(return_state=True).name == "NotShown"


def test_nothing_is_rehearsed_while_an_incident_is_responded_to(made: Made) -> None:
    from flows.drill import drill

    incident = taken_up(made[0], "a run")
    state = drill(return_state=True)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert incident.id in str(state.message)
    _nothing_changed(made)


def test_nothing_is_rehearsed_where_no_version_served_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.drill import drill

    workspace = two_versions(tmp_path)[0]
    monkeypatch.setattr("flows.drill.open_workspace", lambda: workspace)
    state = drill(return_state=True)
    assert state.name == "Skipped" and "no version served before v1" in str(state.message)
