"""What starts a training by itself, beside incidents and a schedule, and each but once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from setpoint.domain.follow_up import PREFIX
from setpoint.stages import follow_up
from setpoint.workspace import Workspace

LABELS = "labelled batch"
"""Cause of a training that so many new labels started."""
_LABELS_KNOWN = "labels_trained"


@dataclass(frozen=True)
class Start:
    """A training that may begin.

    Attributes:
        since: From when on its candidate is judged; none: as the project file says.
    """

    since: datetime | None = None


def told(cause: str) -> str:
    """Name of the fact that a training was told to be due, until it is taken up."""
    return f"told_due:{cause}"


def due(workspace: Workspace, now: datetime) -> list[str]:
    """Causes for which a training is to be started."""
    following = follow_up.due(workspace, now)
    found = [] if following is None else [following.cause]
    return [*found, LABELS] if _labels_due(workspace) else found


def take(workspace: Workspace, cause: str) -> Start | None:
    """Begin a training for a cause; ``None`` for one that has been answered meanwhile.

    Args:
        workspace: The project.
        cause: One of ``due``, or any other: what a person or a schedule asks for is always done.
    """
    workspace.state.remember(told(cause), "")
    if cause.startswith(PREFIX):
        following = follow_up.take(workspace, cause, workspace.clock.now())
        return None if following is None else Start(following.since)
    if cause == LABELS and not _labels_due(workspace):
        return None
    return Start()


def trained(workspace: Workspace) -> None:
    """Count labels from here on: all that are there now are in a training."""
    workspace.state.remember(_LABELS_KNOWN, str(_labels(workspace)))


def _labels_due(workspace: Workspace) -> bool:
    if workspace.state.unsettled_releases():
        return False  # another cannot begin beside it
    wanted = workspace.project.train.labelled_batch
    known = workspace.state.recall(_LABELS_KNOWN)
    return None not in (wanted, known) and _labels(workspace) - int(known or 0) >= (wanted or 0)


def _labels(workspace: Workspace) -> int:
    newest = workspace.snapshots("labels").latest()
    return 0 if newest is None else newest.rows
