"""Arrival numbers: in which order events and labels became known.

Also reads the columns of Arrow tables as numpy arrays without importing pandas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from setpoint.domain.features import FeatureSpec
from setpoint.domain.seen import Floats, Ints
from setpoint.errors import DataError

ARRIVAL = "_arrival"


def with_arrival(
    spec: FeatureSpec, events: pa.Table, labels: pa.Table | None = None, known_at: str = "known_at"
) -> tuple[pa.Table, pa.Table | None]:
    """Number events by row order and labels by the moment they became known.

    Args:
        spec: Names the event id and the event time.
        events: Rows in the order in which they became known.
        labels: Event id, ``label`` and ``known_at`` (timestamp with a time zone).
        known_at: Name of the column that says when a label became known.

    Returns:
        Both tables with ``_arrival``; events count from 1.

    Raises:
        DataError: A column is missing, has nulls where it must not, or is no time.
    """
    if ARRIVAL in events.column_names:
        events = events.drop_columns([ARRIVAL])
    numbered = events.append_column(ARRIVAL, pa.array(np.arange(1, events.num_rows + 1)))
    if labels is None:
        return numbered, None
    return numbered, label_arrivals(spec, numbered, labels, known_at)


def label_arrivals(
    spec: FeatureSpec, events: pa.Table, labels: pa.Table, known_at: str = "known_at"
) -> pa.Table:
    """Give labels the arrival number that their known time stands for.

    A label is seen by the first event (by arrival) whose time is not before ``known_at`` and by
    all that arrived after that one; the clock is the running maximum of event time, so a late
    event does not turn it back.

    Args:
        spec: Names the event time.
        events: Event time and ``_arrival``.
        labels: A table with the column ``known_at``.
        known_at: Name of that column.

    Returns:
        ``labels`` with ``_arrival``.

    Raises:
        DataError: A column is missing, has nulls or is no time.
    """
    need_columns(events, (spec.event_time, ARRIVAL), "events")
    need_columns(labels, (known_at,), "labels")
    arrival = integers(events[ARRIVAL])
    order = np.argsort(arrival)
    clock = np.maximum.accumulate(event_micros(events, spec.event_time)[order])
    first = np.searchsorted(clock, event_micros(labels, known_at), side="left")
    # One past the newest event: a label that nothing has seen yet. Minus 1 below, because a
    # label is seen by larger numbers only.
    numbers = np.append(arrival[order], arrival.max(initial=0) + 1)
    if ARRIVAL in labels.column_names:
        labels = labels.drop_columns([ARRIVAL])
    return labels.append_column(ARRIVAL, pa.array(numbers[first] - 1, pa.int64()))


def event_micros(table: pa.Table, column: str) -> Ints:
    """A time column as microseconds since the epoch; finer digits are cut off.

    Raises:
        DataError: The column has nulls, or is neither an aware timestamp nor an integer.
    """
    values = table[column]
    kind = values.type
    if values.null_count:
        raise DataError(
            f"{values.null_count} of {len(values)} times are null",
            where=column,
            fix="drop these rows, or give them a time",
        )
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return integers(values.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(pa.int64()))
    if pa.types.is_integer(kind):
        return integers(values)
    raise DataError(
        f"the time column is of type {kind}",
        where=column,
        fix="convert it to a timestamp with time zone UTC, so that no zone has to be guessed",
    )


def need_columns(table: pa.Table, columns: Iterable[str], what: str) -> None:
    """Refuse a table that lacks columns; ``what`` names it in the message.

    Raises:
        DataError: Columns are missing.
    """
    missing = sorted(set(columns) - set(table.column_names))
    if missing:
        raise DataError(
            f"the {what} lack {', '.join(missing)}",
            where=what,
            fix=f"add the columns; there are {', '.join(table.column_names)}",
        )


def floats(column: pa.ChunkedArray) -> Floats:
    """A numeric or boolean column as float64, null as NaN."""
    values = column.cast(pa.float64()).fill_null(float("nan"))
    return np.asarray(_buffer(values, np.dtype(np.float64)))


def integers(column: pa.ChunkedArray) -> Ints:
    """A column without nulls as int64."""
    return np.asarray(_buffer(column.cast(pa.int64()), np.dtype(np.int64)))


def _buffer(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> Any:
    # Array.to_numpy would import pandas, which takes seconds.
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as strings, null as ``""``."""
    return column.cast(pa.string()).fill_null("")
