"""Train again after a heal, as ``domain.follow_up`` says when."""

from __future__ import annotations

from datetime import datetime

from setpoint.domain.follow_up import FollowUp
from setpoint.workspace import Workspace

FACT = "follow_up"


def waiting(workspace: Workspace) -> FollowUp | None:
    """The one that is to come, due or not."""
    text = workspace.state.recall(FACT)
    return FollowUp.from_json(text) if text else None


def due(workspace: Workspace, now: datetime) -> FollowUp | None:
    """The one whose time has come, unless an incident is open that must be answered first, or a
    release is on its way, beside which none can begin.
    """
    found = waiting(workspace)
    if found is None or now < found.due:
        return None
    urgent = [one for one in workspace.state.incidents(only_open=True) if one.stops_training]
    return None if urgent or workspace.state.unsettled_releases() else found


def begin(workspace: Workspace, incident: str, since: datetime, now: datetime) -> None:
    """An incident was healed by a model that was judged on rows from ``since`` on."""
    _keep(workspace, incident, since, now, workspace.project.respond.follow_ups)


def take(workspace: Workspace, cause: str, now: datetime) -> FollowUp | None:
    """Take one up by its cause; ``None`` if it is not due (any more).

    The next one is set before this one is trained: a run that dies costs one training, not the
    order of them.
    """
    found = due(workspace, now)
    if found is None or found.cause != cause:
        return None
    _keep(workspace, found.incident, found.since, now, found.left - 1)
    return found


def _keep(workspace: Workspace, incident: str, since: datetime, now: datetime, left: int) -> None:
    ripe = now - workspace.project.target.delay
    following = FollowUp.after(incident, since, now, ripe, left)
    workspace.state.remember(FACT, following.to_json() if following else "")
