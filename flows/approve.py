"""Ask people whether a version may serve: a form in the Prefect UI."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prefect import flow, get_run_logger, runtime, suspend_flow_run
from prefect.client.schemas.objects import State, StateType
from prefect.input import RunInput

from setpoint.domain.access import Actor
from setpoint.domain.approval import Standing
from setpoint.errors import SetpointError
from setpoint.stages import access
from setpoint.stages import approval as stage
from setpoint.workspace import open_workspace
from tasks import approving


class Answer(RunInput):
    """The form."""

    person: str
    decision: Literal["approve", "refuse"]
    note: str


@flow(name="approve", persist_result=True)
def approve(version: str) -> State[None]:
    """Wait, suspended, until enough people have approved a version, one refuses, or it expires.

    Each answer is a form of its own, with the verdict of the gates above it. What a person says by
    ``setpoint approve`` meanwhile counts as well.

    Args:
        version: What its gates let through.
    """
    workspace = open_workspace()
    request = stage.held_by(workspace, version, str(runtime.flow_run.id))
    while request.standing(datetime.now(UTC)) == Standing.WAITING:
        left = (request.expires_at - datetime.now(UTC)).total_seconds()
        form = Answer.with_initial_data(description=stage.evidence(workspace, request))
        said = suspend_flow_run(
            wait_for_input=form, timeout=max(1, round(left)), key=f"form-{request.forms}"
        )
        request = stage.filled_in(workspace, version)
        try:
            actor = Actor(said.person, "person", said.person)
            access.check(workspace, actor, "approve", "the form of approve")
            request = stage.say(
                workspace,
                version,
                said.person,
                said.note,
                approves=said.decision == "approve",
                now=datetime.now(UTC),
            )  # without a login: the entry says that nobody verified the name
        except SetpointError as err:  # another form is shown, and why
            get_run_logger().error("%s", err)
    standing = request.standing(datetime.now(UTC))
    if standing == Standing.APPROVED:
        approving.start_release(workspace, request)
        return State(type=StateType.COMPLETED, name="Approved", message=f"{version} is approved")
    stage.expire(workspace, datetime.now(UTC))
    return State(type=StateType.FAILED, name=standing.title(), message=f"{version} is {standing}")
