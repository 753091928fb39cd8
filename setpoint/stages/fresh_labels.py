"""Labels that a training could learn from and the last one did not know.

Counted are events, not rows of a delivery: those whose label was unknown to the last training or
another one. So a batch that repeats what is known brings nothing, and a correction counts once. A
label counts from the moment at which a training would learn it: once it is known, its event is
there and older than the label delay, and its data are not held to be broken. What only the scoring
service is told judges the model and is in no training: it counts once it is delivered.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.arrivals import integers
from setpoint.domain.record import Span
from setpoint.stages.assemble import History, labels_of, present
from setpoint.stages.broken import inside, spans
from setpoint.workspace import Workspace

if TYPE_CHECKING:
    from setpoint.stages.ingest import Ingested


_TOO_FEW = "labels_too_few"
"""Fact: digest of what was asked last and answered with no."""


@dataclass(frozen=True)
class Learned:
    """What a training knew.

    Attributes:
        labels: Rows of labels in its snapshot: the first so many of every later one.
        events: Rows of events, likewise; ``None``: of all that are there.
        until: The moment as of which it knew them; ``None``: the present one.
        broken: Event times it left out, the data being broken; ``None``: as it is known at present.
        held: At most so many of ``labels`` it could not learn from (yet).
    """

    labels: int
    events: int | None
    until: datetime | None
    broken: tuple[Span, ...] | None
    held: int

    def text(self) -> str:
        """To be kept as a fact."""
        broken = [[edge.isoformat() for edge in span] for span in self.broken or ()]
        until = self.until.isoformat() if self.until else None
        return json.dumps(vars(self) | {"until": until, "broken": broken}, sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Learned:
        """From a fact; one that tells but the number of labels says nothing of the rest."""
        kept = json.loads(text)
        if isinstance(kept, int):
            return cls(kept, None, None, None, kept)
        begin_end = (map(datetime.fromisoformat, span) for span in kept["broken"])
        broken = tuple((begin, end) for begin, end in begin_end)
        until = datetime.fromisoformat(kept["until"])
        return cls(kept["labels"], kept["events"], until, broken, kept["held"])


def learned(workspace: Workspace, snapshot: Ingested) -> str:
    """What a training on a snapshot knows, to be counted from."""
    events, labels = _stored(workspace, snapshot.events_version, snapshot.labels_version)
    now, broken = present(workspace, events, labels), tuple(spans(workspace))
    known = _known(workspace, events, labels, now, broken)
    held = labels.num_rows - (len(known) - known.null_count)
    return Learned(labels.num_rows, events.num_rows, now, broken, held).text()


def are_there(workspace: Workspace, text: str, wanted: int) -> bool:
    """Whether there are so many labels that the last training did not know.

    Nothing is read while there cannot be as many, nor twice for the same snapshots in an hour of
    event time.

    Args:
        workspace: The project.
        text: From ``learned``.
        wanted: How many, >= 1.
    """
    happened, told = (workspace.snapshots(name).latest() for name in ("events", "labels"))
    before = Learned.read(text)
    if happened is None or told is None or told.rows - before.labels + before.held < wanted:
        return False
    broken = tuple(spans(workspace))
    asked = [happened.version, told.version, text, wanted, str(broken), _hour(workspace)]
    look = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    if workspace.state.recall(_TOO_FEW) == look:
        return False
    events, labels = _stored(workspace, happened.version, told.version)
    now = present(workspace, events, labels)
    # a clock that went back makes nothing unknown again
    until = now if before.until is None else max(now, before.until)
    after = _known(workspace, events, labels, until, broken)
    was = _known(
        workspace,
        events.slice(0, before.events),
        labels.slice(0, before.labels),
        before.until or now,
        broken if before.broken is None else before.broken,
    )
    was = pa.concat_arrays([was, pa.nulls(len(after) - len(was), pa.int8())])
    same = pc.fill_null(pc.equal(was, after), False)
    fresh = pc.and_(pc.is_valid(after), pc.invert(same))
    enough = int(pc.sum(fresh).as_py() or 0) >= wanted
    if not enough:
        workspace.state.remember(_TOO_FEW, look)
    return enough


def _hour(workspace: Workspace) -> str:
    return f"{workspace.clock.now():%Y-%m-%dT%H}"


def _stored(workspace: Workspace, events: int, labels: int) -> tuple[pa.Table, pa.Table]:
    """Ids and times of events, and labels, of two versions in the order of arrival."""
    data = workspace.project.data
    happened = workspace.snapshots("events").read(events, [data.event_id, data.event_time])
    told = workspace.snapshots("labels").read(labels, [data.event_id, "label", "known_at"])
    return happened, told


def _known(
    workspace: Workspace,
    events: pa.Table,
    labels: pa.Table,
    now: datetime,
    broken: tuple[Span, ...],
) -> pa.Array:
    """Label of each event as a training at ``now`` learns it, int8; null where it does not.

    Of the same rows as ``assemble.training_rows``.
    """
    project = workspace.project
    labels = labels.filter(pc.less_equal(labels["known_at"], pa.scalar(now)))
    label, _ = labels_of(History(events, labels, now, broken), project.data.event_id)
    time = events[project.data.event_time]
    ripe = now - project.target.delay
    learns = pc.less_equal(time, pa.scalar(ripe))
    if project.train.history is not None:
        learns = pc.and_(learns, pc.greater(time, pa.scalar(ripe - project.train.history)))
    learns = pc.and_(learns, pa.array(~inside(broken, integers(time))))
    known = pc.if_else(learns, label, pa.scalar(None, pa.int8()))
    return pa.concat_arrays([*known.chunks, pa.nulls(0, pa.int8())])
