"""Respond to an incident: retrain, gate, release, close."""

from __future__ import annotations

from datetime import datetime

from prefect import flow, runtime
from prefect.client.schemas.objects import State, StateType

from flows.deliver import Delivery, deliver_once
from setpoint.domain.incidents import Incident, Status
from setpoint.domain.rollout import Stage
from setpoint.stages import respond as stage
from setpoint.workspace import Workspace, open_workspace
from tasks import notifying, watching


@flow(name="respond", persist_result=False)
def respond(incident_id: str) -> State[None]:
    """Take an incident up and heal it.

    A second run for the same incident finds it taken and does nothing. Whatever goes wrong here
    leaves the incident open for the next run, with the reason in its note.

    Args:
        incident_id: As in the event.
    """
    workspace = open_workspace()
    incident = stage.take(workspace, incident_id, str(runtime.flow_run.id))
    if incident is None:
        return State(type=StateType.COMPLETED, message=f"{incident_id} needs no response")
    try:
        since = stage.began(workspace, incident, workspace.clock.now())
        done = deliver_once(workspace, incident.id, since)
    except Exception as err:  # raised again: the run fails, and the incident is not forgotten
        stage.broken_off(workspace, incident, str(err))
        notifying.notify(workspace, return_state=True)
        raise
    ended = _close(workspace, incident, done, since)
    # Its state is kept and not raised: what a channel does not take is told by the next sweep.
    notifying.notify(workspace, return_state=True)
    return ended


def _close(
    workspace: Workspace, incident: Incident, done: Delivery, since: datetime
) -> State[None]:
    if done.promoted:
        healed = stage.promoted(workspace, incident, done.candidate.version, since)
        # Its state is kept and not raised: a page that fails is shown as failed and heals nothing.
        watching.explain_incident(workspace, healed, return_state=True)
        return State(type=StateType.COMPLETED, name="Healed", message=healed.note)
    if done.stage == Stage.HELD:
        asked = stage.held(workspace, incident, f"{done.candidate.version} held: {done.reason}")
        watching.explain_incident(workspace, asked, return_state=True)
        return State(type=StateType.FAILED, name="NeedsPerson", message=asked.note)
    refusal = f"{done.candidate.version} refused: {done.reason}"
    after = stage.failed(workspace, incident, refusal, since)
    if after.status == Status.NEEDS_PERSON:
        watching.explain_incident(workspace, after, return_state=True)
    return State(type=StateType.FAILED, name="Refused", message=after.note)
