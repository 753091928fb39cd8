"""Decisions as a Parquet file: whole records, written batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from setpoint.errors import StateError
from setpoint.ports import FIXED, RECORD, DecisionLog, DecisionQuery

Kinds = dict[str, pa.DataType]


def export(log: DecisionLog, query: DecisionQuery, path: Path) -> int:
    """Write the decisions of a query to a Parquet file; memory does not grow with their number.

    The file has the columns ``FIXED`` and ``RECORD`` of ``setpoint.ports``, so nothing of a
    decision is left out, then a column for each feature and request field that the query names.
    It is there as a whole or not at all; an older file of that name is replaced.

    Args:
        log: The decisions.
        query: Which of them; its ``columns`` do not matter.
        path: The file; its folder is made if it is not there.

    Returns:
        How many decisions were written.

    Raises:
        DataError: A time has no time zone.
        StateError: The log cannot be read, or the file cannot be written.
    """
    query = replace(query, columns=(*FIXED, *RECORD))
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    kinds: Kinds = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A field may turn out wider, e.g. text after numbers, than the file was begun with.
            while (rows := _write(log.batches(query), kinds, beside)) is None:
                pass
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"the file cannot be written: {error}",
            where=str(path),
            fix="name a file in a folder that is writable and has space",
        ) from error
    return rows


def _write(batches: Iterator[pa.Table], kinds: Kinds, path: Path) -> int | None:
    """Write all batches; ``None`` if ``kinds`` had to grow, and the file is to be begun anew."""
    first = next(batches)
    _widen(kinds, first)
    schema = pa.schema([(name, kinds[name]) for name in first.column_names])
    rows = 0
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            batch: pa.Table | None = first
            while batch is not None:
                if _widen(kinds, batch):
                    return None
                columns = [_as(batch[name], kinds[name]) for name in schema.names]
                writer.write_table(pa.table(columns, schema=schema))
                rows += batch.num_rows
                batch = next(batches, None)
        file.flush()
        os.fsync(file.fileno())
    return rows


def _widen(kinds: Kinds, batch: pa.Table) -> bool:
    """Make ``kinds`` hold the values of a batch; returns whether one of them changed."""
    changed = False
    for name in batch.column_names:
        column = batch[name]
        own = name in FIXED or name in RECORD
        # Of a field without values nothing is known.
        kind = pa.null() if not own and column.null_count == len(column) else column.type
        wider = _both(kinds.get(name, kind), kind)
        changed |= kinds.get(name) != wider
        kinds[name] = wider
    return changed


def _both(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> Any:
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    if pa.types.is_string(kind):
        return pa.array([None if v is None else str(v) for v in column.to_pylist()], kind)
    return pc.cast(column, kind, safe=False)
