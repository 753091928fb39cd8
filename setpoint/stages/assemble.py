"""From snapshots to rows a model can be trained or judged on, as known at a moment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.arrivals import integers
from setpoint.domain.features import FeatureSpec
from setpoint.domain.record import Span
from setpoint.domain.training import Rows, as_rows
from setpoint.errors import DataError, StateError, TrainingError
from setpoint.ports import DecisionQuery
from setpoint.stages.broken import inside, spans
from setpoint.workspace import Workspace

_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class History:
    """Events and labels known at a moment.

    Attributes:
        events: Events with ``_arrival``, in order of arrival.
        labels: id, ``label``, ``known_at``, ``_arrival``.
        now: The moment; nothing later is in it.
        broken: Event times at which the data were broken; ``None``: as the incidents say when it
            is asked.
    """

    events: pa.Table
    labels: pa.Table
    now: datetime
    broken: tuple[Span, ...] | None = None


def history(
    workspace: Workspace,
    now: datetime | None = None,
    at: tuple[int, int] | None = None,
    *,
    verified: bool = False,
) -> History:
    """All that the snapshots knew at ``now``, labels in the order in which they were told.

    Args:
        workspace: The project.
        now: The moment; none: the last event or label, but no later than the clock.
        at: Versions of events and labels; none: the newest ones.
        verified: Whether the snapshots must be signed, and their content as it was signed.

    Raises:
        DataError: No events or no labels were ever taken in, or there is no such version.
        StateError: A snapshot is not signed, or was altered.
    """
    events, labels = snapshot(workspace, at, verified=verified)
    now = present(workspace, events, labels) if now is None else now
    return as_known(workspace, events, labels, now, tuple(spans(workspace)))


def snapshot(
    workspace: Workspace, at: tuple[int, int] | None = None, *, verified: bool = False
) -> tuple[pa.Table, pa.Table]:
    """Events and labels as they are stored, at two versions or the newest.

    Raises:
        DataError: No events or no labels were ever taken in, or there is no such version.
        StateError: Verified, one is not signed or was altered.
    """
    one, two = at or (None, None)
    events = _stored(workspace, "events", one, verified)
    return events, _stored(workspace, "labels", two, verified)


def as_known(
    workspace: Workspace,
    events: pa.Table,
    labels: pa.Table,
    now: datetime,
    broken: tuple[Span, ...] | None = None,
) -> History:
    """What stored events and labels told at a moment.

    Args:
        workspace: The project.
        events: As stored.
        labels: As stored.
        now: The moment; nothing later is in it.
        broken: As in ``History``.
    """
    from setpoint.domain.arrivals import with_arrival

    data = workspace.project.data
    labels = labels.sort_by([("known_at", "ascending")])  # stable
    events = events.filter(pc.less_equal(events[data.event_time], pa.scalar(now, _TIME)))
    labels = labels.filter(pc.less_equal(labels["known_at"], pa.scalar(now, _TIME)))
    spec = workspace.project.feature_spec()
    events, labels = with_arrival(
        spec, events.drop_columns(["_arrival"]), labels.drop_columns(["_arrival"])
    )
    return History(events, labels, now, broken)


def present(workspace: Workspace, events: pa.Table, labels: pa.Table) -> datetime:
    """The last event or label, but no later than the clock: one absurd time moves nothing.

    Data end where deliveries end, so the clock alone would count rows as complete whose labels
    were never delivered.
    """
    times = (events[workspace.project.data.event_time], labels["known_at"])
    last: datetime = max(pc.max(column).as_py() for column in times)
    with suppress(StateError):  # a stream that nobody plays has no time
        return min(last, workspace.clock.now())
    return last


def _stored(workspace: Workspace, table: str, version: int | None, verified: bool) -> pa.Table:
    store = workspace.snapshots(table)
    found = store.latest() if version is None else store.get(version)
    if found is None:
        raise DataError(
            f"there are no {table} yet",
            where=", ".join(workspace.project.data.events),
            fix="put at least one batch where the project file says the data are, and ingest it",
        )
    # The very rows that were verified are used: nothing is read twice.
    return store.read_verified(found) if verified else store.read(found.version)


def training_rows(workspace: Workspace, known: History, spec: FeatureSpec | None = None) -> Rows:
    """Features of the rows whose labels are complete, with those labels.

    Features are computed over the whole history; rows younger than the label delay are left
    out, positives and negatives alike, because only some of their positives are known yet. So are
    rows of times at which the data were broken: a model would learn the fault.

    Args:
        workspace: The project.
        known: What is known.
        spec: Features, if not the project file's (a champion may have been built with others).

    Raises:
        TrainingError: No row has a complete label.
    """
    from setpoint.adapters.duckdb_features import compute

    project = workspace.project
    spec = spec or project.feature_spec()
    label, _ = labels_of(known, project.data.event_id)
    if project.target.unlabelled == "negative":
        label = pc.fill_null(label, pa.scalar(0, pa.int8()))
    ripe = pc.less_equal(
        known.events[project.data.event_time], pa.scalar(known.now - project.target.delay)
    )
    keep = pc.and_(ripe, pc.is_valid(label))
    if project.train.history is not None:
        start = pa.scalar(known.now - project.train.history - project.target.delay)
        keep = pc.and_(keep, pc.greater(known.events[project.data.event_time], start))
    faults = spans(workspace) if known.broken is None else known.broken
    broken = inside(faults, integers(known.events[project.data.event_time]))
    keep = pc.and_(keep, pa.array(~broken))
    if not pc.any(keep).as_py():
        raise TrainingError(
            f"none of {known.events.num_rows} rows has a complete label at {known.now:%Y-%m-%d}",
            where="training data",
            fix="wait for labels, or shorten target.delay in the project file",
        )
    features = compute(spec, known.events, known.labels)
    events = known.events.append_column("label", label)
    return as_rows(
        spec,
        features.filter(keep),
        events.filter(keep),
        project.sticky_column,
        kept_columns(workspace),
        explored(workspace, known.now),
    )


def kept_columns(workspace: Workspace) -> list[str]:
    """Raw columns that rows keep: for costs, groups, segments, slices, and where they are from."""
    project = workspace.project
    source = () if project.data.source is None else (project.data.source,)
    parted = {*project.data.protected, *project.release.segments, *project.gates.slices.columns}
    return sorted(parted | {*cost_columns(workspace), *source})


def explored(workspace: Workspace, now: datetime) -> dict[str, float]:
    """How many decisions each one that exploration drew stands for, by id, as known at a moment.

    The others like it have no label, or a complaint's, and count as that says. Nothing is read
    where the project does not explore.
    """
    if not workspace.project.exploration.share:
        return {}
    columns = ("id", "action", "label_propensity")
    window = DecisionQuery(end=now, columns=columns)
    found: dict[str, float] = {}
    for batch in workspace.decisions.batches(window):
        acted = pc.equal(batch["action"], workspace.project.actions.positive)
        drawn = batch.filter(pc.and_(acted, pc.less(batch["label_propensity"], 1.0)))
        weight = pc.divide(1.0, drawn["label_propensity"])
        found.update(zip(drawn["id"].to_pylist(), weight.to_pylist(), strict=True))
    return found


def final_labels(workspace: Workspace, known: History) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Label of each event and when it became known; unlabelled ones as the project file says.

    An event that counts as negative for want of a label counts so from the label delay on.
    """
    project = workspace.project
    label, told = labels_of(known, project.data.event_id)
    if project.target.unlabelled == "negative":
        ripe = pc.add(known.events[project.data.event_time], pa.scalar(project.target.delay))
        told = pc.if_else(pc.is_valid(label), told, ripe)
        label = pc.fill_null(label, pa.scalar(0, pa.int8()))
    return label, told


def labels_of(known: History, event_id: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Label of each event and when it became known, null where unknown; the newest of several."""
    newest_first = pc.sort_indices(known.labels["known_at"])[::-1]
    order = known.labels.take(newest_first)
    # index_in finds the first match, so the newest label of an event.
    place = pc.index_in(known.events[event_id], value_set=order[event_id].combine_chunks())
    return order["label"].take(place), order["known_at"].take(place)


def cost_columns(workspace: Workspace) -> set[str]:
    """Columns that the costs are taken from."""
    costs = workspace.project.costs
    cells = (getattr(costs, name) for name in type(costs).model_fields)
    return {cell.column for cell in cells if cell.column is not None}
