"""Respond to an incident: retrain, gate and release, or switch to another version; then close."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from prefect import flow, runtime
from prefect.client.schemas.objects import State, StateType

from flows.deliver import Delivery, deliver_once
from flows.release import walk
from setpoint.domain.incidents import Incident, Status
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import ReleaseError, TrainingError
from setpoint.stages import respond as stage
from setpoint.stages.fallback import version_of
from setpoint.stages.roll_back import last_good
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
        close = ANSWERS[stage.answer_to(workspace, incident)](workspace, incident)
    except Exception as err:  # raised again: the run fails, and the incident is not forgotten
        since = stage.dated(workspace, incident) if isinstance(err, TrainingError) else None
        stage.broken_off(workspace, incident, str(err), since)
        notifying.notify(workspace, return_state=True)
        raise
    ended = close()
    # Its state is kept and not raised: what a channel does not take is told by the next sweep.
    notifying.notify(workspace, return_state=True)
    return ended


def _retrain(workspace: Workspace, incident: Incident) -> Callable[[], State[None]]:
    since = stage.began(workspace, incident, workspace.clock.now())
    done = deliver_once(workspace, incident.id, since)
    return partial(_close, workspace, incident, done, since)


def _roll_back(workspace: Workspace, incident: Incident) -> Callable[[], State[None]]:
    return _switch(workspace, incident, last_good)


def _fall_back(workspace: Workspace, incident: Incident) -> Callable[[], State[None]]:
    return _switch(workspace, incident, version_of, rule=True)


def _switch(
    workspace: Workspace,
    incident: Incident,
    choose: Callable[[Workspace, str], str],
    *,
    rule: bool = False,
) -> Callable[[], State[None]]:
    try:
        version = choose(workspace, incident.version)
    except ReleaseError as err:
        return partial(_ask, workspace, incident, err.what)
    rollout = walk(workspace, version, incident.id, instead_of=incident.version, rule=rule)
    return partial(_close_switch, workspace, incident, rollout)


ANSWERS = {"retrain": _retrain, "roll_back": _roll_back, "fall_back": _fall_back}
"""By what ``stages.respond.answer_to`` says."""


def _ask(workspace: Workspace, incident: Incident, reason: str) -> State[None]:
    asked = stage.held(workspace, incident, reason)
    watching.explain_incident(workspace, asked, return_state=True)
    return State(type=StateType.FAILED, name="NeedsPerson", message=asked.note)


def _close_switch(workspace: Workspace, incident: Incident, rollout: Rollout) -> State[None]:
    after = stage.switched(workspace, incident, rollout)
    watching.explain_incident(workspace, after, return_state=True)
    if after.status == Status.RESOLVED:
        return State(type=StateType.COMPLETED, name="Healed", message=after.note)
    return State(type=StateType.FAILED, name="NeedsPerson", message=after.note)


def _close(
    workspace: Workspace, incident: Incident, done: Delivery, since: datetime
) -> State[None]:
    if done.promoted:
        healed = stage.promoted(workspace, incident, done.candidate.version)
        # Its state is kept and not raised: a page that fails is shown as failed and heals nothing.
        watching.explain_incident(workspace, healed, return_state=True)
        return State(type=StateType.COMPLETED, name="Healed", message=healed.note)
    if done.stage == Stage.HELD:
        return _ask(workspace, incident, f"{done.candidate.version} held: {done.reason}")
    refusal = f"{done.candidate.version} refused: {done.reason}"
    after = stage.failed(workspace, incident, refusal, since)
    if after.status == Status.NEEDS_PERSON:
        watching.explain_incident(workspace, after, return_state=True)
    return State(type=StateType.FAILED, name="Refused", message=after.note)
