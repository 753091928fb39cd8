"""Whether a snapshot is what was written, and a batch one that can be added to it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from setpoint.adapters.delta_state import State
from setpoint.domain.signatures import Check, snapshot_message
from setpoint.domain.table_digest import plain_table, table_digest
from setpoint.domain.validation import bounded
from setpoint.errors import DataError, StateError

_ARRIVAL = "_arrival"


def check_record(uri: str, table: str, state: State, check: Check) -> None:
    """Refuse a snapshot whose record no trusted key signed.

    Args:
        uri: Where the snapshot lies, for the error.
        table: ``events`` or ``labels``.
        state: What its commit says of it.
        check: Whether a trusted key signed a message.

    Raises:
        StateError: It is not signed, or the signature does not hold.
    """
    signed = state.signature
    if signed is None:
        raise StateError(
            "the snapshot is not signed",
            where=uri,
            fix="ingest a batch: what is appended is signed, with all that was there before; make "
            "sure first that nobody else wrote to it",
        )
    if not check(signed.key, snapshot_message(table, state.record), signed.signature):
        raise StateError(
            f"the snapshot's signature does not hold: key {signed.key[:16]} is not trusted here, "
            "or its commit was altered",
            where=uri,
            fix="restore the folder, or the public key that signed it, from a backup; train "
            "nothing on it",
        )


def altered(uri: str, delta: DeltaTable | None, state: State, reason: str) -> StateError:
    """The error that a snapshot is not what was written, with the files that are to blame.

    Args:
        uri: Where it lies.
        delta: The table at its version; ``None`` if it is gone.
        state: What its commit says of it.
        reason: How it was noticed.
    """
    files = _altered_files(delta, state) if delta is not None else []
    return StateError(
        f"the snapshot was altered after it was written, in {', '.join(files) or 'its log'}: "
        f"{bounded(reason, 300)}",
        where=uri,
        fix="restore the folder from a backup; train nothing on it",
    )


def _altered_files(delta: DeltaTable, state: State) -> list[str]:
    """Files of a snapshot whose rows are not those of the batches written in them, sorted.

    Which rows a file should have is taken from the statistics in the log, not from the file.
    """
    batches, first = [], 0
    for _, digest, rows, _ in state.batches:
        batches.append((first, first + rows, digest))
        first += rows
    actions = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    held = [(a["path"], a.get(f"min.{_ARRIVAL}"), a.get(f"max.{_ARRIVAL}")) for a in actions]
    bad: set[str] = set()
    for path, low, high in held:
        if low is None or high is None or _rows_of(delta, path) is None:
            bad.add(path)
    for start, end, digest in batches:
        paths = [p for p, low, high in held if low is not None and low < end and high >= start]
        if bad.intersection(paths):
            continue  # the batch cannot be read, and it is known why
        if not _is_batch([_rows_of(delta, p) for p in paths], start, end, digest):
            bad.update(paths)
    return sorted(bad)


def _rows_of(delta: DeltaTable, path: str) -> pa.Table | None:
    """Rows of one file; ``None`` if it cannot be read."""
    dataset = delta.to_pyarrow_dataset()
    try:
        files = [f for f in dataset.get_fragments() if f.path.endswith(path)]
        return pads.FileSystemDataset(
            files, dataset.schema, dataset.format, dataset.filesystem
        ).to_table()
    except (DeltaError, pa.ArrowException, OSError, ValueError):
        return None


def _is_batch(parts: list[pa.Table | None], start: int, end: int, digest: str) -> bool:
    tables = [part for part in parts if part is not None]
    if not tables or len(tables) < len(parts):
        return False
    try:
        rows = plain_table(pa.concat_tables(tables).replace_schema_metadata(None))
        inside = pc.and_(pc.greater_equal(rows[_ARRIVAL], start), pc.less(rows[_ARRIVAL], end))
        rows = rows.filter(inside).sort_by(_ARRIVAL)
        numbered = rows[_ARRIVAL].to_pylist() == list(range(start, end))
        return numbered and table_digest(rows.drop_columns([_ARRIVAL])) == digest
    except (DataError, pa.ArrowException):
        return False


def same_content(name: str, known: str, found: str) -> None:
    """Refuse a batch under the name of another one.

    Raises:
        DataError: The digests differ.
    """
    if known != found:
        raise DataError(
            f"other content (digest {known[:12]}) was applied under this name before, this is "
            f"{found[:12]}",
            where=f"batch {name}",
            fix="deliver corrected data under a new name",
        )


def same_columns(stored: pa.Schema, found: pa.Schema, name: str) -> None:
    """Refuse a batch of other columns than the stored ones.

    Raises:
        DataError: Names, types or their order differ.
    """
    stored, found = stored.remove_metadata(), found.remove_metadata()
    if stored.names == found.names and stored.types == found.types:
        return
    changed = sorted(set(map(str, stored)) ^ set(map(str, found))) or ["their order"]
    raise DataError(
        f"the columns differ from the stored ones in: {'; '.join(changed)}",
        where=f"batch {name}",
        fix="declare the columns as they were, or start a new snapshot folder",
    )
