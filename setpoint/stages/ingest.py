"""Ingest, validate, snapshot: new batches become versions of the training data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from setpoint.domain import validation
from setpoint.errors import DataError
from setpoint.stages import batches
from setpoint.workspace import Workspace

if TYPE_CHECKING:
    from setpoint.adapters.delta import Snapshot


@dataclass(frozen=True)
class Ingested:
    """What an ingest did.

    Attributes:
        digest: Digest of the training data: of events and labels together.
        events_version: Delta version of the events.
        labels_version: Delta version of the labels.
        rows: Events in the snapshot.
        batches: Batches that were new: ``events/`` or ``labels/``, then declared address and name.
        refused: Files that were passed over because their content is in the quarantine.
        labels_waiting: Labels in the snapshot whose event is not there (yet).
    """

    digest: str
    events_version: int
    labels_version: int
    rows: int
    batches: tuple[str, ...]
    refused: tuple[str, ...] = ()
    labels_waiting: int = 0


def ingest(workspace: Workspace) -> Ingested:
    """Take in every batch that is new, in the order of file names over all addresses.

    A batch that cannot be used is quarantined whole and ends the ingest once the batches before
    it are in; the next ingest passes it over.

    Raises:
        DataError: A file cannot be read, lacks a column, or has changed since it was taken in; or
            there are no events or no labels yet.
        ValidationFailed: A batch breaks the declared schema, repeats an id of another batch, has
            a time in the future or a third label value; it was quarantined whole.
    """
    new: list[str] = []
    refused: list[str] = []
    for table in ("events", "labels"):
        taken, passed_over = _take(workspace, table)
        new += [f"{table}/{key}" for key in taken]
        refused += [f"{table}/{key}" for key in passed_over]
    return current(workspace, tuple(new), tuple(refused))


def current(
    workspace: Workspace, new: tuple[str, ...] = (), refused: tuple[str, ...] = ()
) -> Ingested:
    """The newest snapshot.

    Raises:
        DataError: There is none yet.
    """
    events = workspace.snapshots("events").latest()
    labels = workspace.snapshots("labels").latest()
    if events is None or labels is None:
        raise _nothing_yet(workspace, "events" if events is None else "labels", refused)
    digest = data_digest(events.digest, labels.digest)
    waiting = _waiting(workspace, events, labels) if workspace.project.data.labels else 0
    return Ingested(digest, events.version, labels.version, events.rows, new, refused, waiting)


def data_digest(events: str, labels: str) -> str:
    """Digest of the training data, of the content digests of events and labels."""
    return hashlib.sha256(f"{events}:{labels}".encode()).hexdigest()


def _nothing_yet(workspace: Workspace, table: str, refused: tuple[str, ...]) -> DataError:
    data = workspace.project.data
    known = f"; {len(refused)} files are refused: {', '.join(refused)}" if refused else ""
    fix = "put at least one batch where the project file says the data are"
    if refused:
        fix = f"read why in {workspace.quarantine}, and correct these files"
    addresses = data.labels if table == "labels" and data.labels else data.events
    return DataError(
        f"there are no {table} yet{validation.bounded(known, 500)}",
        where=", ".join(addresses),
        fix=fix,
    )


def _waiting(workspace: Workspace, events: Snapshot, labels: Snapshot) -> int:
    """Number of labels whose event is not in the snapshot."""
    known, told = (
        workspace.snapshots(table).read(at.version, [workspace.project.data.event_id]).column(0)
        for table, at in (("events", events), ("labels", labels))
    )
    return int(pc.sum(pc.invert(pc.is_in(told, value_set=known))).as_py() or 0)


def _take(workspace: Workspace, table: str) -> tuple[list[str], list[str]]:
    """Take in the new batches of a table; keys of those, and of the files passed over."""
    snapshot = workspace.snapshots(table).latest()
    found = batches.read_new(workspace, table, snapshot)
    sound, report = batches.judge(workspace, table, snapshot, found.batches)
    for batch in sound:
        batches.append_batch(workspace, table, batch)
    if report is not None:
        broken = found.batches[len(sound)]
        reason = {"rules": [str(r) for r in report.failed]}
        report.raise_if_failed(batches.refuse(workspace, table, broken.ref, broken.sha256, reason))
    if found.unfit is not None:
        ref, sha256, err = found.unfit
        kept = batches.refuse(workspace, table, ref, sha256, str(err))
        fix = f"{err.fix}; this one is passed over, delete {kept} to have it tried again as it is"
        raise DataError(err.what, where=err.where, fix=fix) from err
    return [batch.key for batch in sound], found.refused


def quarantined(workspace: Workspace) -> list[Path]:
    """Batches that were refused and wait for a person."""
    return sorted(p for p in workspace.quarantine.glob("*/*") if p.is_dir())
