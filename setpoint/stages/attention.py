"""What people say to an incident: that they look after it, or that it be silent for a while."""

from __future__ import annotations

from datetime import timedelta

from setpoint.domain import escalation
from setpoint.domain.incidents import Attention, Incident
from setpoint.errors import StateError
from setpoint.workspace import Workspace


def acknowledge(workspace: Workspace, incident_id: str, person: str) -> Incident:
    """Somebody looks after an incident: it climbs no further; written to the ledger.

    Raises:
        StateError: There is no such incident, it is over, or it changed meanwhile.
    """
    incident = workspace.state.incident(incident_id)
    now = workspace.clock.now()
    attention = escalation.acknowledge(incident, person, now)
    return _say(workspace, incident, attention, "incident_acknowledged", {"person": person})


def snooze(workspace: Workspace, incident_id: str, person: str, span: timedelta) -> Incident:
    """An incident is silent for a span of event time, unless it gets worse; written to the ledger.

    Raises:
        StateError: There is no such incident, it is over, or it changed meanwhile.
    """
    incident = workspace.state.incident(incident_id)
    until = workspace.clock.now() + span
    attention = escalation.snooze(incident, person, until)
    evidence = {"person": person, "until": until.isoformat()}
    return _say(workspace, incident, attention, "incident_snoozed", evidence)


def _say(
    workspace: Workspace,
    incident: Incident,
    attention: Attention,
    kind: str,
    evidence: dict[str, str],
) -> Incident:
    said = (workspace.clock.now(), kind, evidence)
    if not workspace.state.attend_incident(incident, attention, said):
        raise StateError(
            f"{incident.id} has changed meanwhile", where="incidents", fix="say it again"
        )
    return workspace.state.incident(incident.id)
