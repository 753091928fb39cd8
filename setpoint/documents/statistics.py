"""What a snapshot holds, column by column; values of personal columns are left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.adapters.delta import ARRIVAL, Snapshot
from setpoint.documents.record import Record, moment, number
from setpoint.workspace import Workspace

SHARES = (0.05, 0.5, 0.95)
"""Quantiles that are told of a number."""
COMMONEST = 5
"""Categories that are told, commonest first."""
LABELS = "labels"
LABEL = "label"
"""Column of the labels: 1 for the positive value, 0 for the other."""


@dataclass(frozen=True)
class ColumnStatistics:
    """One column of a snapshot.

    Attributes:
        name: Its name.
        kind: As declared, or as stored where it is not declared.
        missing: Share of rows without a value, 0 to 1.
        values: Its values in a line; ``personal`` where they may not be told.
    """

    name: str
    kind: str
    missing: float
    values: str


@dataclass(frozen=True)
class TableStatistics:
    """One table of a snapshot.

    Attributes:
        name: ``events`` or ``labels``.
        snapshot: Which version of it the model was trained on.
        columns: In the order of the table.
        positives: Labels that are the positive value, of those that there are.
    """

    name: str
    snapshot: Snapshot
    columns: tuple[ColumnStatistics, ...]
    positives: tuple[int, int] | None = None


def snapshot_statistics(workspace: Workspace, record: Record) -> list[TableStatistics]:
    """Statistics of what a version was trained on, read column by column.

    Raises:
        DataError: The snapshot that its bundle names is not there.
    """
    versions = record.bundle.manifest.snapshot.version.split(".")
    return [
        _table(workspace, record, name, int(version))
        for name, version in zip(("events", LABELS), versions, strict=True)
    ]


def _table(workspace: Workspace, record: Record, name: str, version: int) -> TableStatistics:
    store = workspace.snapshots(name)
    snapshot = store.get(version)
    columns: list[ColumnStatistics] = []
    positives: tuple[int, int] | None = None
    for column in store.columns(version):
        if column == ARRIVAL:
            continue
        values = store.read(version, [column]).column(0)
        columns.append(_column(record, column, values))
        if (name, column) == (LABELS, LABEL):
            positives = int(pc.sum(values).as_py() or 0), len(values) - values.null_count
    return TableStatistics(name, snapshot, tuple(columns), positives)


def _column(record: Record, name: str, values: pa.ChunkedArray) -> ColumnStatistics:
    columns, target = record.project.data.columns, record.project.target.column
    declared = columns.get(target if name == LABEL else name)
    kind = declared.type if declared is not None else str(values.type)
    missing = values.null_count / max(len(values), 1)
    personal = name in record.personal or (declared is not None and declared.personal)
    told = "personal" if personal else _values(LABEL if name == LABEL else kind, values)
    return ColumnStatistics(name, kind, missing, told)


def _values(kind: str, values: pa.ChunkedArray) -> str:
    found = values.drop_null()
    if len(found) == 0:
        return ""
    if pa.types.is_timestamp(found.type):
        ends = pc.min_max(found).as_py()
        return f"{moment(ends['min'])} to {moment(ends['max'])}"
    if kind == "id":
        return f"{pc.count_distinct(found).as_py():,} different"
    if kind != LABEL and (pa.types.is_integer(found.type) or pa.types.is_floating(found.type)):
        return _numbers(found)
    return _categories(found)


def _numbers(values: pa.ChunkedArray) -> str:
    ends, cuts = pc.min_max(values).as_py(), pc.quantile(values, q=list(SHARES)).to_pylist()
    quantiles = ", ".join(f"{s:.0%} {number(c)}" for s, c in zip(SHARES, cuts, strict=True))
    mean = number(float(pc.mean(values).as_py()))
    return f"{number(ends['min'])} to {number(ends['max'])}, mean {mean}, {quantiles}"


def _categories(values: pa.ChunkedArray) -> str:
    counts = pc.value_counts(pc.cast(values.combine_chunks(), pa.string())).to_pylist()
    ranked: list[dict[str, Any]] = sorted(counts, key=lambda c: (-c["counts"], c["values"]))
    told = [f"{c['values']} {c['counts'] / len(values):.1%}" for c in ranked[:COMMONEST]]
    more = len(ranked) - COMMONEST
    return ", ".join([*told, *([f"{more} more"] if more > 0 else [])])


def rows_of(tables: Iterable[TableStatistics]) -> list[tuple[str, ...]]:
    """All columns as cells: table, column, kind, missing, values."""
    return [
        (t.name, c.name, c.kind, f"{c.missing:.2%}", c.values) for t in tables for c in t.columns
    ]
