"""Take an incident up, and bring it to an end."""

from __future__ import annotations

from datetime import datetime

from setpoint.domain.incidents import Incident, Severity, Status
from setpoint.workspace import Workspace


def take(workspace: Workspace, incident_id: str, run: str) -> Incident | None:
    """Take up an incident for a run; ``None`` if there is nothing (more) to do.

    Raises:
        StateError: There is no such incident.
    """
    return workspace.state.take_incident(incident_id, run)


def waiting(workspace: Workspace, now: datetime) -> list[Incident]:
    """Incidents that want a response and that no run has taken up."""
    found = []
    for incident in workspace.state.incidents(only_open=True):
        after = workspace.state.recall(f"retry_after:{incident.id}")
        ripe = after is None or now >= datetime.fromisoformat(after)
        if incident.status == Status.OPEN and incident.severity == Severity.HIGH and ripe:
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
    return _close(workspace, incident.move(Status.RESOLVED, note=note, at=now), now)


def failed(workspace: Workspace, incident: Incident, reason: str) -> Incident:
    """A response came to nothing: open again for the next run, or for a person."""
    now = workspace.clock.now()
    rule = workspace.project.respond
    key = f"attempts:{incident.id}"
    attempts = int(workspace.state.recall(key) or 0) + 1
    workspace.state.remember(key, str(attempts))
    note = f"attempt {attempts} of {rule.attempts}: {reason}"
    if attempts >= rule.attempts:
        return _close(workspace, incident.move(Status.NEEDS_PERSON, note=note), now)
    workspace.state.remember(f"retry_after:{incident.id}", (now + rule.retry_after).isoformat())
    return _close(workspace, incident.move(Status.OPEN, note=note), now)


def _close(workspace: Workspace, incident: Incident, now: datetime) -> Incident:
    workspace.state.save_incident(incident)
    if incident.status in (Status.RESOLVED, Status.NEEDS_PERSON):
        workspace.state.remember("last_response", now.isoformat())
    workspace.state.record(now, f"incident_{incident.status}", incident.id, {"note": incident.note})
    return incident
