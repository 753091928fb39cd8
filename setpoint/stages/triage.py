"""Give an incident its headlines before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from setpoint.domain.findings import Finding
from setpoint.domain.incidents import Incident
from setpoint.domain.loss import LOSS
from setpoint.domain.triage import headlines
from setpoint.workspace import Workspace

HISTORY = 60
"""Looks back to which the beginning of a failure is searched."""


def triaged(workspace: Workspace, incident: Incident, window: Sequence[Finding]) -> Incident:
    """An incident with its headlines; of a cause that is open already, with those since then.

    Args:
        workspace: The project.
        incident: The incident, not yet written.
        window: All findings of its window, those among them that do not belong to its cause.

    Raises:
        StateError: The history or the ledger cannot be read.
    """
    state, rule = workspace.state, workspace.project.watch
    known = [one for one in state.incidents(only_open=True) if one.cause == incident.cause]
    opened_at = known[0].opened_at if known else incident.opened_at
    windows = state.windows(since=incident.opened_at - HISTORY * rule.every)
    loss = next((f for f in window if f.name == LOSS), None)
    lines = headlines(incident.findings, windows, state.ledger(), opened_at, rule.window, loss)
    return replace(incident, headlines=lines)
