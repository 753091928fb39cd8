"""Ingest, validate, snapshot: new batches become versions of the training data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.errors import DataError, ValidationFailed
from setpoint.workspace import Workspace


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


def labels_spec(workspace: Workspace) -> TableSpec:
    """Columns of a batch of labels: id, label, and when it became known."""
    project = workspace.project
    columns = (
        ColumnSpec(project.data.event_id, "id"),
        ColumnSpec(project.target.column, "category"),
        ColumnSpec("known_at", "time"),
    )
    return TableSpec(columns, project.data.event_id, "known_at", project.target.column)


def ingest(workspace: Workspace) -> Ingested:
    """Take in every batch that is new; a batch already taken in changes nothing.

    Raises:
        DataError: A batch cannot be read or lacks a column.
        ValidationFailed: A batch breaks the declared schema; it was quarantined whole.
    """
    project = workspace.project
    new: list[str] = []
    new += _take(workspace, project.data.events, "events", project.events_spec())
    if project.data.labels is not None:
        new += _take(workspace, project.data.labels, "labels", labels_spec(workspace))
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
            where=workspace.project.data.events,
            fix="put at least one batch where the project file says the data are",
        )
    digest = hashlib.sha256(f"{events.digest}:{labels.digest}".encode()).hexdigest()
    return Ingested(digest, events.version, labels.version, events.rows, batches)


def _take(workspace: Workspace, uri: str, table: str, spec: TableSpec) -> list[str]:
    from setpoint.adapters.sources import S3Options, list_batches, read_batch

    env = workspace.environment
    s3 = S3Options(env.s3_endpoint, env.s3_region, env.s3_access_key, env.s3_secret_key)
    store = workspace.snapshots(table)
    known = store.batches()
    taken: list[str] = []
    for ref in list_batches(workspace.address(uri), s3):
        if ref.name not in known:
            batch = read_batch(ref, spec)
            take_batch(workspace, table, batch, ref.name, spec)
            taken.append(f"{table}/{ref.name}")
    return taken


def take_batch(workspace: Workspace, table: str, batch: pa.Table, name: str, spec: TableSpec) -> None:
    """Validate one conformed batch and append it, its own labels apart.

    Raises:
        ValidationFailed: It breaks the schema; it was quarantined whole.
    """
    from setpoint.adapters.delta import quarantine
    from setpoint.adapters.expectations import validate

    report = validate(batch, spec, name, workspace.root / "datadocs")
    try:
        report.raise_if_failed()
    except ValidationFailed as err:
        kept = quarantine(batch, str(err), workspace.quarantine / table / name)
        raise ValidationFailed(
            err.what, where=err.where, fix=f"mend the source; the batch is kept whole in {kept}"
        ) from err
    project = workspace.project
    if table == "labels":
        workspace.snapshots("labels").append(as_labels(workspace, batch), name)
        return
    if spec.label:
        known = pc.add(batch[project.data.event_time], pa.scalar(project.target.delay))
        own = batch.select([project.data.event_id, spec.label]).append_column("known_at", known)
        own = own.filter(pc.is_valid(own[spec.label]))
        workspace.snapshots("labels").append(as_labels(workspace, own), name)
        batch = batch.drop_columns([spec.label])
    workspace.snapshots("events").append(batch, name)


def as_labels(workspace: Workspace, table: pa.Table) -> pa.Table:
    """Labels as 0 and 1: columns id, ``label`` (int8), ``known_at``."""
    target = workspace.project.target
    text = pc.cast(table[target.column], pa.string())
    positive = pc.equal(text, target.positive)
    return pa.table(
        {
            workspace.project.data.event_id: table[workspace.project.data.event_id],
            "label": pc.cast(positive, pa.int8()),
            "known_at": table["known_at"].cast(pa.timestamp("us", "UTC")),
        }
    )


def quarantined(workspace: Workspace) -> list[Path]:
    """Batches that were refused and wait for a person."""
    return sorted(p for p in workspace.quarantine.glob("*/*") if p.is_dir())
