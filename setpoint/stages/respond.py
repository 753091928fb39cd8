"""Take an incident up, and bring it to an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import StateError
from setpoint.workspace import Workspace


def take(workspace: Workspace, incident_id: str, run: str) -> Incident | None:
    """Take up an incident for a run; ``None`` if there is nothing (more) to do, or not yet.

    Raises:
        StateError: There is no such incident.
    """
    if not _ripe(workspace, incident_id, workspace.clock.now()):
        return None
    return workspace.state.take_incident(incident_id, run)


def _ripe(workspace: Workspace, incident_id: str, now: datetime) -> bool:
    """Whether its time has come, and the data can be trained on."""
    if any(one.cause == Cause.FAULT for one in workspace.state.incidents(only_open=True)):
        return False
    after = workspace.state.recall(f"retry_after:{incident_id}")
    return after is None or now >= datetime.fromisoformat(after)


def taken(workspace: Workspace) -> list[Incident]:
    """Incidents that a run has taken up."""
    found = workspace.state.incidents(only_open=True)
    return [incident for incident in found if incident.status == Status.RESPONDING]


def broken_off(workspace: Workspace, incident: Incident, reason: str) -> None:
    """A response ended in an error: open again, unless its release goes on without it."""
    releases = workspace.state.releases_for(incident.id)
    if not releases or releases[-1].settled:
        failed(workspace, incident, reason)


def left_behind(workspace: Workspace, incident: Incident) -> None:
    """End or open again an incident whose run died, by what became of its release."""
    releases = workspace.state.releases_for(incident.id)
    last = releases[-1] if releases else None
    if last is not None and last.stage == Stage.HELD:
        held(workspace, incident, last.reason)
        return
    if last is not None and not last.settled:
        return  # another run walks it on
    if last is not None and last.stage == Stage.PROMOTED:
        promoted(workspace, incident, last.challenger)
    else:
        failed(workspace, incident, f"run {incident.taken_by} died")


def waiting(workspace: Workspace, now: datetime) -> list[Incident]:
    """Incidents that want a response and that no run has taken up."""
    found = []
    for incident in workspace.state.incidents(only_open=True):
        urgent = incident.status == Status.OPEN and incident.severity == Severity.HIGH
        if urgent and _ripe(workspace, incident.id, now):
            found.append(incident)
    return found


def began(workspace: Workspace, incident: Incident) -> datetime:
    """From when on candidates are judged: the window that opened the incident and the one before.

    A fault that takes more than one window to be proven began before the window that proved it.
    """
    return incident.opened_at - workspace.project.label_age - 2 * workspace.project.watch.window


def promoted(workspace: Workspace, incident: Incident, version: str) -> Incident:
    """The challenger was promoted: the incident is over."""
    now = workspace.clock.now()
    note = f"retrained; {version} promoted"
    return _move(workspace, incident, incident.move(Status.RESOLVED, note=note, at=now), now)


def held(workspace: Workspace, incident: Incident, reason: str) -> Incident:
    """The release that should heal it waits for a person, and so does the incident."""
    moved = incident.move(Status.NEEDS_PERSON, note=reason)
    return _move(workspace, incident, moved, workspace.clock.now())


def after_release(workspace: Workspace, rollout: Rollout) -> None:
    """Close the incident that a promotion answers, where no run responds to it any more."""
    if rollout.stage != Stage.PROMOTED:
        return
    for incident in workspace.state.incidents(only_open=True):
        if incident.id == rollout.cause and incident.status == Status.NEEDS_PERSON:
            promoted(workspace, incident, rollout.challenger)


def by_person(
    workspace: Workspace, incident_id: str, note: str, *, retry: bool, person: str = ""
) -> Incident:
    """A person ends an incident, or has it responded to again.

    Args:
        workspace: The project.
        incident_id: The incident.
        note: Why, in the person's words.
        retry: Open it again, with all attempts, instead of ending it.
        person: Who it is, for the note and the ledger.

    Raises:
        StateError: There is no such incident, it has ended, or it moved meanwhile.
    """
    incident = workspace.state.incident(incident_id)
    now = workspace.clock.now()
    status = Status.OPEN if retry else Status.RESOLVED
    moved = incident.move(status, note=f"by {person or 'a person'}: {note}", at=now)
    if retry:
        workspace.state.remember(f"attempts:{incident.id}", "0")
        workspace.state.remember(f"retry_after:{incident.id}", now.isoformat())
        moved = replace(moved, severity=Severity.HIGH)
    if not workspace.state.move_incident(incident, moved, now, person):
        raise StateError(
            f"{incident_id} has moved meanwhile", where="incidents", fix="look at it again"
        )
    return moved


def failed(workspace: Workspace, incident: Incident, reason: str) -> Incident:
    """A response came to nothing: open again for the next run, or for a person."""
    now = workspace.clock.now()
    rule = workspace.project.respond
    key = f"attempts:{incident.id}"
    attempts = int(workspace.state.recall(key) or 0) + 1
    workspace.state.remember(key, str(attempts))
    note = f"attempt {attempts} of {rule.attempts}: {reason}"
    if attempts >= rule.attempts:
        return _move(workspace, incident, incident.move(Status.NEEDS_PERSON, note=note), now)
    workspace.state.remember(f"retry_after:{incident.id}", (now + rule.retry_after).isoformat())
    return _move(workspace, incident, incident.move(Status.OPEN, note=note), now)


def _move(workspace: Workspace, was: Incident, incident: Incident, now: datetime) -> Incident:
    """The incident as it is then: moved, unless somebody else has moved it meanwhile."""
    if not workspace.state.move_incident(was, incident, now):
        return workspace.state.incident(was.id)
    if incident.status in (Status.RESOLVED, Status.NEEDS_PERSON):
        workspace.state.remember("last_response", now.isoformat())
    return incident
