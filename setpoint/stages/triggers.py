"""What starts a training by itself, beside incidents and a schedule, and each but once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from setpoint.domain.follow_up import PREFIX
from setpoint.stages import follow_up, fresh_labels
from setpoint.stages.ingest import Ingested
from setpoint.workspace import Workspace

LABELS = "labelled batch"
"""Cause of a training that so many new labels started."""
AGAIN = timedelta(minutes=1)
"""Wall time until a training that was told twice is told a third time; twice as long each time."""
_LABELS_KNOWN = "labels_trained"
_LEARNING = "labels_training"
_GIVEN_BACK = "labels_given_back"


@dataclass(frozen=True)
class Start:
    """A training that may begin.

    Attributes:
        since: From when on its candidate is judged; none: as the project file says.
    """

    since: datetime | None = None


def due(workspace: Workspace, now: datetime) -> list[str]:
    """Causes for which a training is to be started."""
    following = follow_up.due(workspace, now)
    found = [] if following is None else [following.cause]
    return [*found, LABELS] if _labels_due(workspace) else found


def to_tell(workspace: Workspace, cause: str, wall: datetime, *, again: bool) -> bool:
    """Whether a training that is due is to be told of now; it counts as told then.

    What is told while another training runs only waits behind it, so it is told ever more rarely.

    Args:
        workspace: The project.
        cause: One of ``due``.
        wall: Wall time.
        again: Also if it was told before: an event can be lost.
    """
    told = workspace.state.recall(_told(cause))
    times = 0
    if told:
        last, _, counted = told.partition(" ")
        times = int(counted or 1)
        wait = timedelta(0) if times == 1 else AGAIN * 2 ** (times - 2)
        if not again or wall - datetime.fromisoformat(last) < wait:
            return False
    workspace.state.remember(_told(cause), f"{wall.isoformat()} {times + 1}")
    return True


def take(workspace: Workspace, cause: str) -> Start | None:
    """Begin a training for a cause; ``None`` for one that has been answered meanwhile.

    Args:
        workspace: The project.
        cause: One of ``due``, or any other: what a person or a schedule asks for is always done.
    """
    workspace.state.remember(_told(cause), "")
    if cause.startswith(PREFIX):
        following = follow_up.take(workspace, cause, workspace.clock.now())
        return None if following is None else Start(following.since)
    if cause == LABELS and not _labels_due(workspace):
        return None
    return Start()


@contextmanager
def learning(workspace: Workspace, snapshot: Ingested, run: str) -> Iterator[None]:
    """A training on a snapshot until it is judged: labels are counted from here on.

    One that comes to nothing has had its labels: they would fail it again. One that was killed has
    not; ``given_back`` says what becomes of them.

    Args:
        workspace: The project.
        snapshot: What it trains on.
        run: Who trains, to be asked for later.
    """
    trained(workspace, snapshot, run)
    try:
        yield
    except Exception:  # raised again: whatever it came to nothing by, it has had its labels
        workspace.state.remember(_LEARNING, "")
        raise
    workspace.state.remember(_LEARNING, "")


def trained(workspace: Workspace, snapshot: Ingested, run: str = "") -> None:
    """Count labels from here on: those of this snapshot are in a training.

    Args:
        workspace: The project.
        snapshot: What is trained on.
        run: Who trains, if it may be killed.
    """
    # what a run that was killed before it knew is still unknown
    left = json.loads(workspace.state.recall(_LEARNING) or "{}")
    before = left.get("known") or workspace.state.recall(_LABELS_KNOWN)
    if run and before is not None:
        workspace.state.remember(_LEARNING, json.dumps({"run": run, "known": before}))
    workspace.state.remember(_LABELS_KNOWN, fresh_labels.learned(workspace, snapshot))


def given_back(workspace: Workspace, was_killed: Callable[[str], bool]) -> bool:
    """Count the labels again whose training was killed: once, for what kills may kill again.

    Args:
        workspace: The project.
        was_killed: Whether a run has ended without having come to an end.
    """
    text = workspace.state.recall(_LEARNING)
    left = json.loads(text) if text else None
    if left is None or not was_killed(left["run"]):
        return False
    again: bool = workspace.state.recall(_GIVEN_BACK) != left["known"]
    # Another training that began meanwhile has taken them over: then nothing is given back.
    if not workspace.state.swap(_LEARNING, str(text), ""):
        return False
    if again:
        workspace.state.remember(_GIVEN_BACK, left["known"])
        workspace.state.remember(_LABELS_KNOWN, left["known"])
    return again


def _told(cause: str) -> str:
    return f"told_due:{cause}"


def _labels_due(workspace: Workspace) -> bool:
    if workspace.state.unsettled_releases():
        return False  # another cannot begin beside it
    wanted = workspace.project.train.labelled_batch
    known = workspace.state.recall(_LABELS_KNOWN)
    if wanted is None or known is None:
        return False
    return fresh_labels.are_there(workspace, known, wanted)
