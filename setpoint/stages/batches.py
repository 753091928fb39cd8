"""Batches on their way into a snapshot: found, read, judged, appended or refused.

A batch is one file. It is known by its declared address and name, and taken in once. Its rows
are appended in the order of their event time: rows of a file carry no arrival time of their own.
A refused file is kept in the quarantine and passed over from then on, until its content or the
rules change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain import validation
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.validation import RuleResult, ValidationReport
from setpoint.errors import DataError
from setpoint.workspace import WallClock, Workspace

if TYPE_CHECKING:
    from setpoint.adapters.delta import Snapshot
    from setpoint.adapters.sources import BatchRef

FUTURE = timedelta(days=1)
"""How far event times, and those of labels, may be ahead of the wall clock."""


@dataclass(frozen=True)
class Batch:
    """A file that was read.

    Attributes:
        ref: The file.
        key: What the batch is known by.
        sha256: Digest of the file's content.
        rows: Its rows in the declared columns, in the order of the file.
        spec: What they are.
        negative: Label value that stands for negative; empty if there is no label or none yet.
    """

    ref: BatchRef
    key: str
    sha256: str
    rows: pa.Table
    spec: TableSpec
    negative: str = ""

    @property
    def note(self) -> str:
        """What is kept with the batch in the snapshot."""
        found = {"size": self.ref.size, "etag": self.ref.etag, "sha256": self.sha256}
        return json.dumps(found | {"negative": self.negative})


@dataclass(frozen=True)
class Found:
    """New batches up to the first file that cannot be used.

    Attributes:
        batches: In the order in which they are taken in.
        refused: Keys of files that were passed over.
        unfit: The file that cannot be used, its content and why.
    """

    batches: list[Batch]
    refused: list[str]
    unfit: tuple[BatchRef, str, DataError] | None = None


def labels_spec(workspace: Workspace, *, timed: bool) -> TableSpec:
    """Columns of a batch of labels: id, label, and when it became known if that is told."""
    project = workspace.project
    declared = project.data.columns.get(project.target.column)
    label = ColumnSpec(
        project.target.column,
        "category",
        values=declared.values if declared else (),
        personal=declared.personal if declared else False,
    )
    columns = [ColumnSpec(project.data.event_id, "id"), label]
    columns += [ColumnSpec("known_at", "time")] if timed else []
    event_time = "known_at" if timed else ""
    return TableSpec(tuple(columns), project.data.event_id, event_time, label.name)


def _files(workspace: Workspace, table: str) -> list[tuple[str, BatchRef]]:
    """All files of a table with their keys, in the order of their names over all addresses."""
    from setpoint.adapters.sources import batch_key, list_batches

    data = workspace.project.data
    found: dict[str, tuple[str, BatchRef]] = {}
    for declared in data.events if table == "events" else data.labels:
        for ref in list_batches(workspace.address(declared), workspace.s3):
            found.setdefault(ref.uri, (batch_key(declared, ref), ref))
    return sorted(found.values(), key=lambda file: (file[1].name, file[0]))


def read_new(workspace: Workspace, table: str, snapshot: Snapshot | None) -> Found:
    """Read the files that are neither taken in nor refused.

    Raises:
        DataError: A file cannot be opened, or one that was taken in has changed since.
    """
    from setpoint.adapters.quarantine import refused
    from setpoint.adapters.sources import read_bytes

    notes = dict(zip(snapshot.batches, snapshot.notes, strict=True)) if snapshot else {}
    kept = refused(workspace.quarantine / table, _terms(workspace))
    batches: list[Batch] = []
    passed_over: list[str] = []
    for key, ref in _files(workspace, table):
        if key in notes:
            _check_unchanged(workspace, ref, notes[key])
            continue
        data = read_bytes(ref.uri, workspace.s3)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in kept:
            passed_over.append(key)
            continue
        try:
            rows, spec = _rows(workspace, ref, data, table)
        except DataError as err:
            return Found(batches, passed_over, (ref, sha256, err))
        batches.append(Batch(replace(ref, size=len(data)), key, sha256, rows, spec))
    return Found(batches, passed_over)


def _check_unchanged(workspace: Workspace, ref: BatchRef, note: str) -> None:
    """Make sure that a file is the one that was taken in; it is read only if it looks changed."""
    from setpoint.adapters.sources import read_bytes

    if not note:
        return
    was = json.loads(note)
    same_size = ref.size == was["size"]
    if same_size and ref.etag == was["etag"]:
        return
    if same_size:
        found = hashlib.sha256(read_bytes(ref.uri, workspace.s3)).hexdigest()
        if found == was["sha256"]:
            return
    change = f"had {was['size']} bytes and has {ref.size}"
    raise DataError(
        f"the file was replaced after it was taken in: it "
        f"{'has the same size and other content' if same_size else change}",
        where=ref.uri,
        fix="put the old file back and deliver new rows under a new name; to correct rows that are "
        "in, start a new snapshot folder",
    )


def _terms(workspace: Workspace) -> str:
    """Digest of the rules that a batch is judged by."""
    project = workspace.project
    places = {"events", "labels", "snapshots"}
    rules = [project.data.model_dump_json(exclude=places), project.target.model_dump_json()]
    return hashlib.sha256("\n".join(rules).encode()).hexdigest()


def _rows(
    workspace: Workspace, ref: BatchRef, data: bytes, table: str
) -> tuple[pa.Table, TableSpec]:
    """Rows of a file in the declared columns, and what they are.

    Raises:
        DataError: It cannot be read, or a column is missing, extra or of another type.
    """
    from setpoint.adapters.sources import parse_batch
    from setpoint.domain.conform import conform

    project = workspace.project
    if table == "events":
        spec = project.events_spec()
        rows = parse_batch(ref, data, spec, project.sources())
        ignore = {*project.data.ignore, *({project.target.column} if project.data.labels else ())}
    else:
        rows = parse_batch(ref, data, labels_spec(workspace, timed=True))
        spec = labels_spec(workspace, timed="known_at" in rows.column_names)
        ignore = set(rows.column_names) - set(spec.names)
    zone = project.data.time_zone
    return conform(rows, spec, ref.uri, ignore=ignore, time_zone=zone), spec


def judge(
    workspace: Workspace, table: str, snapshot: Snapshot | None, batches: list[Batch]
) -> tuple[list[Batch], ValidationReport | None]:
    """The batches before the first that breaks a rule, and what that one breaks."""
    more, batches = _rules_beyond_the_batch(workspace, table, snapshot, batches)
    first = next((i for i, rules in enumerate(more) if not all(r.passed for r in rules)), None)
    before = batches[:first]
    if not _sound_together(workspace, table, before):
        for i, batch in enumerate(before):
            report = _report(workspace, table, batch)
            if not report.passed:
                return before[:i], report
    if first is None:
        return before, None
    report = _report(workspace, table, batches[first])
    return before, replace(report, results=(*report.results, *more[first]))


def _report(workspace: Workspace, table: str, batch: Batch) -> ValidationReport:
    from setpoint.adapters.expectations import validate

    docs = workspace.root / "datadocs" / table
    return replace(validate(batch.rows, batch.spec, batch.key, docs), where=batch.ref.uri)


def _sound_together(workspace: Workspace, table: str, new: list[Batch]) -> bool:
    """Whether all new batches pass as one: one run of the suite instead of one a batch.

    If not, each is judged alone, so that only the failing one is refused.
    """
    from setpoint.adapters.expectations import validate

    if len(new) < 2 or len({batch.spec for batch in new}) > 1:
        return False
    spec = new[0].spec
    if any(c.nullable and c.max_null_share < 1 for c in spec.columns):
        return False  # a share may hold for all and not for each
    together = pa.concat_tables([batch.rows for batch in new])
    name = f"{new[0].key} to {new[-1].key}"
    return validate(together, spec, name, workspace.root / "datadocs" / table).passed


def _rules_beyond_the_batch(
    workspace: Workspace, table: str, snapshot: Snapshot | None, batches: list[Batch]
) -> tuple[list[list[RuleResult]], list[Batch]]:
    """Rules that hold a batch against other batches or the clock; the batches, classes noted."""
    rules: list[list[RuleResult]] = [[] for _ in batches]
    if table == "events" and batches:
        for found, result in zip(rules, _ids(workspace, snapshot, batches), strict=True):
            found.append(result)
    clock = workspace.clock
    for found, batch in zip(rules, batches, strict=True):
        if isinstance(clock, WallClock) and batch.spec.event_time:
            at, latest = batch.spec.column(batch.spec.event_time), clock.now() + FUTURE
            found.append(validation.not_in_the_future(at, batch.rows[at.name], latest))
    noted: list[Batch] = []
    negative = _known_negative(workspace) if any(b.spec.label for b in batches) else ""
    for found, batch in zip(rules, batches, strict=True):
        if batch.spec.label:
            label = batch.spec.column(batch.spec.label)
            text = pc.cast(batch.rows[label.name], pa.string())
            positive = workspace.project.target.positive
            result, negative = validation.two_classes(label, text, positive, negative)
            found.append(result)
        noted.append(replace(batch, negative=negative))
    return rules, noted


def _ids(
    workspace: Workspace, snapshot: Snapshot | None, batches: Sequence[Batch]
) -> list[RuleResult]:
    """Whether the ids of each batch are in no batch before it."""
    column = batches[0].spec.column(batches[0].spec.event_id)
    known = pa.chunked_array([], pa.string())
    if snapshot is not None:
        # At that version: what another run took in since then is not held against its own files.
        store = workspace.snapshots("events")
        known = store.read(snapshot.version, columns=[column.name])[column.name]
    return validation.not_seen_before(column, [b.rows[column.name] for b in batches], known)


def _known_negative(workspace: Workspace) -> str:
    """Label value that stands for negative in the batches taken in, empty if none was seen."""
    snapshot = workspace.snapshots("labels").latest()
    notes = [json.loads(note) for note in snapshot.notes if note] if snapshot else []
    return next((str(note["negative"]) for note in notes if note["negative"]), "")


def refuse(workspace: Workspace, table: str, ref: BatchRef, sha256: str, reason: Any) -> str:
    """Put a file into the quarantine.

    Raises:
        DataError: It is no longer the file that was refused, or cannot be read.
    """
    from setpoint.adapters.quarantine import quarantine
    from setpoint.adapters.sources import read_bytes

    data = read_bytes(ref.uri, workspace.s3)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(
            "the file changed while it was read",
            where=ref.uri,
            fix="ingest again when it is complete; write files beside and rename them",
        )
    folder = workspace.quarantine / table
    return quarantine(ref, reason, folder, s3=workspace.s3, data=data, terms=_terms(workspace))


def append_batch(workspace: Workspace, table: str, batch: Batch) -> None:
    """Append one validated batch to its snapshots, the labels it carries apart.

    Raises:
        DataError: Labels that do not say when they became known belong to no event.
    """
    data, store = workspace.project.data, workspace.snapshots("labels")
    rows, label, note = batch.rows, batch.spec.label, batch.note
    if table == "labels":
        timed = rows if "known_at" in rows.column_names else _with_known_at(workspace, batch)
        store.append(as_labels(workspace, timed), batch.key, note)
        return
    rows = rows.sort_by([(data.event_time, "ascending")])  # stable
    if label:
        known = pc.add(rows[data.event_time], pa.scalar(workspace.project.target.delay))
        own = rows.select([data.event_id, label]).append_column("known_at", known)
        own = own.filter(pc.is_valid(own[label]))
        if own.num_rows:
            store.append(as_labels(workspace, own), batch.key, note)
        rows = rows.drop_columns([label])
    workspace.snapshots("events").append(rows, batch.key, note)


def _with_known_at(workspace: Workspace, batch: Batch) -> pa.Table:
    """Labels that do not say when they became known: at their event's time plus the delay.

    Raises:
        DataError: A label belongs to no event.
    """
    data, store, labels = workspace.project.data, workspace.snapshots("events"), batch.rows
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
            where=batch.ref.uri,
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
