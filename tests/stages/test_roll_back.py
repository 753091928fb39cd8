"""What is rolled back to served well to its end, and is what it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Outcome
from setpoint.domain.incidents import Cause, Status
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import ReleaseError
from setpoint.stages import respond
from setpoint.stages.roll_back import last_good
from setpoint.workspace import StreamClock, Workspace
from tests.stages.releasing import ROLLS_BACK, looked, replaced, taken_up
from tests.stages.small import T0

DAY = timedelta(days=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return replaced(tmp_path)[0]


def test_a_version_that_served_well_to_its_end_is_good(workspace: Workspace) -> None:
    looked(workspace, 0, Outcome.FAILED)
    for day in range(1, 8):
        looked(workspace, day, Outcome.INCONCLUSIVE if day % 2 else Outcome.PASSED)
    looked(workspace, 8, Outcome.FAILED, "v2")
    assert last_good(workspace, "v2") == "v1"


def test_a_version_that_broke_a_setpoint_at_its_end_is_not(workspace: Workspace) -> None:
    looked(workspace, 1, Outcome.FAILED)
    looked(workspace, 2, Outcome.PASSED)
    with pytest.raises(ReleaseError, match="v1: ranking failed at 2026-02-02 00:00"):
        last_good(workspace, "v2")


@pytest.mark.parametrize("outcome", [None, Outcome.INCONCLUSIVE])
def test_a_version_of_whose_service_nothing_is_known_is_not(
    workspace: Workspace, outcome: Outcome | None
) -> None:
    if outcome is not None:
        looked(workspace, 1, outcome)
    with pytest.raises(ReleaseError, match="v1: none of its last windows could be judged"):
        last_good(workspace, "v2")


def test_a_bundle_that_was_altered_is_not_rolled_back_to(workspace: Workspace) -> None:
    model = workspace.bundle("v1") / "model.onnx"
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ReleaseError, match=r"v1: model\.onnx was altered"):
        last_good(workspace, "v2")


def test_a_bundle_that_is_gone_or_another_s_is_not_rolled_back_to(workspace: Workspace) -> None:
    workspace.registry.tag("v1", "bundle_digest", "0" * 64)
    with pytest.raises(ReleaseError, match="another bundle"):
        last_good(workspace, "v2")
    workspace.bundle("v1").rename(workspace.root / "elsewhere")
    with pytest.raises(ReleaseError, match="v1: "):
        last_good(workspace, "v2")


def test_where_nothing_served_before_there_is_nothing_to_roll_back_to(workspace: Workspace) -> None:
    again = Rollout("v1", "v2", (), Stage.PROMOTED, back=True, settled=True)
    workspace.state.begin_release(again)
    workspace.registry.point("champion", "v1")
    with pytest.raises(ReleaseError, match="no version that is good served before it"):
        last_good(workspace, "v1")


def test_a_champion_that_was_replaced_meanwhile_is_not_rolled_back(workspace: Workspace) -> None:
    with pytest.raises(ReleaseError, match="v2 took over from it meanwhile"):
        last_good(workspace, "v1")


def test_a_roll_back_waits_for_no_label(tmp_path: Path) -> None:
    workspace, _, _ = replaced(tmp_path, ROLLS_BACK.replace("delay: 1d", "delay: 9d"))
    streamed = replace(workspace, replay=True)
    StreamClock(workspace.state).advance(T0)
    assert taken_up(streamed, "a run", Cause.DRIFT).status == Status.RESPONDING


@pytest.mark.parametrize(
    ("stage", "settled", "status", "note"),
    [
        (Stage.PROMOTED, True, Status.RESOLVED, "rolled back to v1"),
        (
            Stage.ROLLED_BACK,
            True,
            Status.NEEDS_PERSON,
            "a former version, v1, did not take over: it does not start",
        ),
        (Stage.PENDING, False, Status.RESPONDING, ""),
    ],
)
def test_an_incident_whose_run_died_ends_as_its_roll_back_did(
    workspace: Workspace, stage: Stage, settled: bool, status: Status, note: str
) -> None:
    incident = taken_up(workspace, "a run")
    rollout = Rollout("v1", "v2", (), stage, cause=incident.id, back=True, settled=settled)
    workspace.state.begin_release(replace(rollout, reason="it does not start"))
    respond.left_behind(workspace, incident)
    after = workspace.state.incident(incident.id)
    assert (after.status, after.note) == (status, note)
