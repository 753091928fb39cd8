"""Ingest, validate, snapshot: new batches become versions of the training data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.errors import DataError
from setpoint.workspace import Workspace

if TYPE_CHECKING:
    from setpoint.adapters.sources import BatchRef


@dataclass(frozen=True)
class Ingested:
    """What an ingest did.

    Attributes:
        digest: Digest of the training data: of events and labels together.
        events_version: Delta version of the events.
        labels_version: Delta version of the labels.
        rows: Events in the snapshot.
        batches: Batches that were new.
    """

    digest: str
    events_version: int
    labels_version: int
    rows: int
    batches: tuple[str, ...]


def labels_spec(workspace: Workspace, *, timed: bool) -> TableSpec:
    """Columns of a batch of labels: id, label, and when it became known if that is told."""
    project = workspace.project
    columns = [
        ColumnSpec(project.data.event_id, "id"),
        ColumnSpec(project.target.column, "category"),
    ]
    columns += [ColumnSpec("known_at", "time")] if timed else []
    return TableSpec(tuple(columns), project.data.event_id, "known_at" if timed else "")


def ingest(workspace: Workspace) -> Ingested:
    """Take in every batch that is new; a batch already taken in changes nothing.

    Raises:
        DataError: A batch cannot be read or lacks a column.
        ValidationFailed: A batch breaks the declared schema; it was quarantined whole.
    """
    data = workspace.project.data
    new = [name for uri in data.events for name in _take(workspace, uri, "events")]
    new += [name for uri in data.labels for name in _take(workspace, uri, "labels")]
    return current(workspace, tuple(new))


def current(workspace: Workspace, batches: tuple[str, ...] = ()) -> Ingested:
    """The newest snapshot.

    Raises:
        DataError: There is none yet.
    """
    events = workspace.snapshots("events").latest()
    labels = workspace.snapshots("labels").latest()
    if events is None or labels is None:
        missing = "events" if events is None else "labels"
        raise DataError(
            f"there are no {missing} yet",
            where=", ".join(workspace.project.data.events),
            fix="put at least one batch where the project file says the data are",
        )
    digest = hashlib.sha256(f"{events.digest}:{labels.digest}".encode()).hexdigest()
    return Ingested(digest, events.version, labels.version, events.rows, batches)


def _take(workspace: Workspace, uri: str, table: str) -> list[str]:
    """Take in the new batches of an address, in the order of their names."""
    from setpoint.adapters.quarantine import quarantine
    from setpoint.adapters.sources import list_batches

    latest = workspace.snapshots(table).latest()
    known = set(latest.batches) if latest else set()
    new: list[tuple[str, pa.Table, TableSpec]] = []
    for ref in list_batches(workspace.address(uri), workspace.s3):
        if ref.name in known:
            continue
        try:
            new.append((ref.name, *_read(workspace, ref, table)))
        except DataError as err:
            kept = quarantine(ref, str(err), str(workspace.quarantine / table), s3=workspace.s3)
            fix = f"{err.fix}; the batch is kept whole in {kept}"
            raise DataError(err.what, where=err.where, fix=fix) from err
    sound = _sound_together(workspace, table, new)
    for name, batch, spec in new:
        if not sound:
            check_batch(workspace, table, batch, name, spec)
        append_batch(workspace, table, batch, name, spec)
    return [f"{table}/{name}" for name, _, _ in new]


def _sound_together(
    workspace: Workspace, table: str, new: list[tuple[str, pa.Table, TableSpec]]
) -> bool:
    """Whether all new batches pass as one: one run of the suite instead of one a batch.

    If not, each is judged alone, so that only the failing one is refused.
    """
    from setpoint.adapters.expectations import validate

    if len(new) < 2 or len({spec for _, _, spec in new}) > 1:
        return False
    together = pa.concat_tables([batch for _, batch, _ in new])
    name = f"{new[0][0]} to {new[-1][0]}"
    return validate(together, new[0][2], name, workspace.root / "datadocs" / table).passed


def _read(workspace: Workspace, ref: BatchRef, table: str) -> tuple[pa.Table, TableSpec]:
    """One batch in the declared columns, and what they are.

    Raises:
        DataError: It cannot be read, or a column is missing, extra or of another type.
    """
    from setpoint.adapters.sources import read_batch
    from setpoint.domain.conform import conform

    project = workspace.project
    spec = project.events_spec()
    rows = read_batch(ref, spec, workspace.s3)
    if table == "events":
        ignore = {*project.data.ignore, *({project.target.column} if project.data.labels else ())}
    else:
        spec = labels_spec(workspace, timed="known_at" in rows.column_names)
        ignore = set(rows.column_names) - set(spec.names)
    aliases = project.sources() if table == "events" else {}
    return conform(rows, spec, ref.uri, ignore=ignore, aliases=aliases), spec


def check_batch(
    workspace: Workspace, table: str, batch: pa.Table, name: str, spec: TableSpec
) -> None:
    """Validate one conformed batch.

    Raises:
        ValidationFailed: It breaks the schema; it was quarantined whole.
    """
    from setpoint.adapters.expectations import validate
    from setpoint.adapters.quarantine import quarantine

    report = validate(batch, spec, name, workspace.root / "datadocs" / table)
    if not report.passed:
        rules = {"rules": [str(r) for r in report.failed]}
        report.raise_if_failed(quarantine(batch, rules, workspace.quarantine / table, name=name))


def append_batch(
    workspace: Workspace, table: str, batch: pa.Table, name: str, spec: TableSpec
) -> None:
    """Append one validated batch to its snapshots, the labels it carries apart."""
    project = workspace.project
    if table == "labels":
        timed = batch if "known_at" in batch.column_names else _with_known_at(workspace, batch)
        workspace.snapshots("labels").append(as_labels(workspace, timed), name)
        return
    if spec.label:
        known = pc.add(batch[project.data.event_time], pa.scalar(project.target.delay))
        own = batch.select([project.data.event_id, spec.label]).append_column("known_at", known)
        own = own.filter(pc.is_valid(own[spec.label]))
        workspace.snapshots("labels").append(as_labels(workspace, own), name)
        batch = batch.drop_columns([spec.label])
    workspace.snapshots("events").append(batch, name)


def _with_known_at(workspace: Workspace, labels: pa.Table) -> pa.Table:
    """Labels that do not say when they became known: at their event's time plus the delay.

    Raises:
        DataError: A label belongs to no event.
    """
    data, store = workspace.project.data, workspace.snapshots("events")
    latest = store.latest()
    orphans = labels.num_rows
    if latest is not None:
        times = store.read(latest.version, columns=[data.event_id, data.event_time])
        place = pc.index_in(labels[data.event_id], times[data.event_id].combine_chunks())
        orphans = place.null_count
    if orphans:
        raise DataError(
            f"{orphans} of {labels.num_rows} labels belong to no event and do not say when they "
            "became known",
            where=", ".join(data.labels),
            fix="deliver the events first, or add a column known_at",
        )
    known = pc.add(times[data.event_time].take(place), pa.scalar(workspace.project.target.delay))
    return labels.append_column("known_at", known)


def as_labels(workspace: Workspace, table: pa.Table) -> pa.Table:
    """Labels as 0 and 1: columns id, ``label`` (int8), ``known_at``."""
    target = workspace.project.target
    text = pc.cast(table[target.column], pa.string())
    positive = pc.equal(text, target.positive)
    return pa.table(
        {
            workspace.project.data.event_id: table[workspace.project.data.event_id],
            "label": pc.cast(pc.cast(positive, pa.uint8()), pa.int8()),
            "known_at": table["known_at"].cast(pa.timestamp("us", "UTC")),
        }
    )


def quarantined(workspace: Workspace) -> list[Path]:
    """Batches that were refused and wait for a person."""
    return sorted(p for p in workspace.quarantine.glob("*/*") if p.is_dir())
