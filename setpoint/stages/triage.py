"""Give an incident its headlines before it is written."""

from __future__ import annotations

from dataclasses import replace

from setpoint.domain.incidents import Incident
from setpoint.domain.triage import headlines
from setpoint.workspace import Workspace

HISTORY = 60
"""Looks back to which the beginning of a failure is searched."""


def triaged(workspace: Workspace, incident: Incident) -> Incident:
    """An incident with its headlines; of a cause that is open already, with those since then.

    Raises:
        StateError: The history or the ledger cannot be read.
    """
    state, rule = workspace.state, workspace.project.watch
    known = [one for one in state.incidents(only_open=True) if one.cause == incident.cause]
    opened_at = known[0].opened_at if known else incident.opened_at
    windows = state.windows(since=incident.opened_at - HISTORY * rule.every)
    lines = headlines(incident.findings, windows, state.ledger(), opened_at, rule.window)
    return replace(incident, headlines=lines)
