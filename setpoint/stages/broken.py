"""Event times at which the data were broken: no label of theirs judges or teaches.

A fault is claimed by the newest part of a window (``watch.NEWEST``), so it began no earlier than
that part did. It lasts until a person has ended its incident. A person who says that the data were
right all the time takes it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from setpoint.domain.features import MICROSECONDS
from setpoint.domain.incidents import Cause
from setpoint.domain.record import Span
from setpoint.workspace import Workspace

NEWEST = 3
"""One part of so many of a window, its newest, shows a fault: it began at a moment."""
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


def spans(workspace: Workspace) -> list[Span]:
    """From when to when each fault lasted, the end exclusive; one that is open lasts for ever."""
    reach = workspace.project.watch.window / NEWEST
    return [
        (one.opened_at - reach, one.closed_at or _FOR_EVER)
        for one in workspace.state.incidents()
        if one.cause == Cause.FAULT and not workspace.state.recall(sound(one.id))
    ]


def undecided(workspace: Workspace) -> datetime | None:
    """From when on a person has yet to say whether the data were broken; ``None``: nothing waits.

    What judges each row once must not pass over these rows: they may be taken back.
    """
    return min((begin for begin, end in spans(workspace) if end == _FOR_EVER), default=None)


def window_start(workspace: Workspace, now: datetime) -> datetime:
    """Where the window of a look begins: ``watch.window`` ago, or at the end of a fault since.

    Rows of a fault that a person has ended would drift on for a window, with nothing left to do.
    One that was not really over is found again by the rows after it.
    """
    begin = now - workspace.project.watch.window
    return max([begin, *(end for _, end in spans(workspace) if end <= now)])


def sound(incident_id: str) -> str:
    """Name of the fact that the data of an incident were right all the time."""
    return f"sound:{incident_id}"


def inside(found: Sequence[Span], time: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which event times, microseconds since the epoch, lie in one of the spans, [n]."""
    broken = np.zeros(len(time), dtype=bool)
    for begin, end in found:
        broken |= (time >= begin.timestamp() * MICROSECONDS) & (
            time < end.timestamp() * MICROSECONDS
        )
    return broken
