"""The form in the Prefect UI: a suspended run that a typed answer brings on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from setpoint.domain.approval import Standing
from setpoint.stages import approval
from setpoint.stages.publish import Candidate
from setpoint.workspace import Workspace
from tests.stages.releasing import two_versions
from tests.stages.small import PROJECT, T0

pytestmark = pytest.mark.usefixtures("prefect_server")
TEXT = (
    PROJECT
    + "risk_tier: high\napproval: {persons: 2}\n"
    + "access:\n  people: {ann: [approve], bob: [approve], cid: [audit]}\n"
    + "  services: {setpoint: [train, release]}\n"
)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, list[str]]:
    """``v2`` waits for two people; releases that are started are listed."""
    workspace, _, _ = two_versions(tmp_path, TEXT)
    workspace.state.record(T0, "accepted", "small/v2", {"verdict": {"findings": []}})
    candidate = Candidate("v2", "", "0" * 64, "run", "snapshot", {}, T0)
    approval.ask(workspace, candidate, "first", datetime.now(UTC))
    started: list[str] = []
    monkeypatch.setattr("flows.approve.open_workspace", lambda: workspace)
    monkeypatch.setattr("tasks.approving._start", lambda name, _: started.append(name))
    return workspace, started


def _run(flow_run_id: Any = None) -> Any:
    """Run the flow as a worker does: anew, or where it was suspended."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    from flows.approve import approve

    with get_client(sync_client=True) as client:
        if flow_run_id is None:
            made = client.create_deployment(client.create_flow(approve), "approve")
            parameters = {"version": "v2"}
            found = client.create_flow_run_from_deployment(made, parameters=parameters)
        else:
            found = client.read_flow_run(flow_run_id)
    try:
        run_flow(approve, flow_run=found, parameters={"version": "v2"}, return_type="state")
    except BaseException as err:  # how a suspended run leaves its process
        if type(err).__name__ not in ("Pause", "Abort"):
            raise
    with get_client(sync_client=True) as client:
        return client.read_flow_run(found.id)


def _answer(run: Any, **form: str) -> Any:
    """What the button in the UI sends, and what the worker does then."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run.id)
        assert found.state.is_paused()
        client.resume_flow_run(run.id, run_input=form)
    return _run(run.id)


def test_two_forms_of_two_people_let_a_version_be_released(
    asked: tuple[Workspace, list[str]],
) -> None:
    workspace, started = asked
    run = _run()
    assert run.state.name == "Suspended"
    run = _answer(run, person="ann", decision="approve", note="fine")
    assert run.state.name == "Suspended" and not started
    run = _answer(run, person="ann", decision="approve", note="me again")
    assert run.state.name == "Suspended" and not started
    run = _answer(run, person="cid", decision="approve", note="I may not")
    assert run.state.name == "Suspended" and not started
    run = _answer(run, person="bob", decision="approve", note="fine too")
    assert run.state.name == "Approved" and started == ["release/release"]
    request = approval.request_of(workspace, "v2")
    assert [voice.person for voice in request.voices] == ["ann", "bob"]
    assert not approval.waiting(workspace)


def test_one_refusal_ends_it(asked: tuple[Workspace, list[str]]) -> None:
    workspace, started = asked
    run = _answer(_run(), person="ann", decision="refuse", note="biased")
    assert run.state.name == "Refused" and not started
    standing = approval.request_of(workspace, "v2").standing(datetime.now(UTC))
    assert standing == Standing.REFUSED


def test_what_the_command_line_approved_meanwhile_takes_the_form_away(
    asked: tuple[Workspace, list[str]],
) -> None:
    from prefect.client.orchestration import get_client

    from tasks import approving

    workspace, started = asked
    run = _run()
    now = datetime.now(UTC) + timedelta(seconds=1)
    for person in ("ann", "bob"):
        approval.say(workspace, "v2", person, "fine", approves=True, now=now)
    [request] = approval.approved(workspace, now)
    approving.start_release.fn(workspace, request)
    assert started == ["release/release"]
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run.id).state.is_completed()


def test_a_form_that_a_delivery_asks_for_is_a_run_of_its_own_for_another_s_cannot_be_suspended(
    asked: tuple[Workspace, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client

    from flows.approve import approve
    from tasks import approving

    workspace, _ = asked
    monkeypatch.undo()
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(approve), "approve")
    candidate = Candidate("v2", "", workspace.registry.digest("v2"), "run", "snapshot", {}, T0)

    @flow
    def delivering() -> None:
        assert approving.ask(workspace, candidate, "first") is not None

    delivering()
    with get_client(sync_client=True) as client:
        runs = [r for r in client.read_flow_runs(limit=200) if r.parameters == {"version": "v2"}]
    newest = max(runs, key=lambda run: run.created)
    assert newest.parent_task_run_id is None
