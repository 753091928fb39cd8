"""Reads windows of the SQLite decision log, whole or page by page.

A page is a transaction of its own that ends before the page is handed over: a slow reader keeps
no snapshot open, so the write-ahead log of a busy store does not grow behind it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from setpoint.adapters.decision_table import check_columns, named_bodies, to_table
from setpoint.adapters.sqlite_decisions import micros, store_errors
from setpoint.ports import DecisionQuery

Place = tuple[int, int]
"""Event time and number of a row: where a page ended."""

STORED = {"id": "d.id", "label": "l.label", "label_known_at": "l.known_at"}


def read(connection: sqlite3.Connection, where: str, query: DecisionQuery) -> pa.Table:
    """All rows at once; see ``DecisionLog.read``.

    Raises:
        DataError: A time has no time zone, or there is no such column.
        StateError: The store failed.
    """
    check_columns(query)
    with store_errors(where):
        rows = connection.execute(*_select(query, None, -1)).fetchall()
    return _table(query, rows)


def batches(
    connection: sqlite3.Connection, where: str, query: DecisionQuery, size: int
) -> Iterator[pa.Table]:
    """The same in tables of at most ``size`` rows; see ``DecisionLog.batches``.

    Raises:
        DataError: A time has no time zone, or there is no such column.
        StateError: The store failed; also while it is read.
    """
    check_columns(query)
    _select(query, None, size)  # what is wrong with the question is said now, not at the first row
    return _pages(connection, where, query, size)


def _pages(
    connection: sqlite3.Connection, where: str, query: DecisionQuery, size: int
) -> Iterator[pa.Table]:
    after: Place | None = None
    while True:
        with store_errors(where):
            rows = connection.execute(*_select(query, after, size)).fetchall()
        if rows or after is None:
            yield _table(query, rows)
        if len(rows) < size:
            return
        after = rows[-1][:2]
        del rows


def _table(query: DecisionQuery, rows: list[tuple[Any, ...]]) -> pa.Table:
    width = len(rows[0]) if rows else 0
    return to_table(query, [[row[i] for row in rows] for i in range(2, width)])  # zip is slower


def _select(query: DecisionQuery, after: Place | None, limit: int) -> tuple[str, list[Any]]:
    wanted = [STORED.get(name, f"d.{name}") for name in query.columns]
    wanted += [f"CAST(d.{body} AS BLOB)" for body in named_bodies(query)]
    conditions: list[str] = ["shadow = ?"]
    values: list[Any] = [int(query.shadow)]
    start = None if query.start is None else micros(query.start, "window")
    for condition, moment in (
        ("event_time >= ?", start if after is None else after[0]),
        ("event_time < ?", None if query.end is None else micros(query.end, "window")),
    ):
        if moment is not None:
            conditions.append(condition)
            values.append(moment)
    if after is not None:
        conditions.append("(event_time > ? OR seq > ?)")
        values += after
    if query.version is not None:
        conditions.append("version = ?")
        values.append(query.version)
    else:  # the log is at-least-once across versions: the first answer is what the client holds
        conditions.append(
            "NOT EXISTS (SELECT 1 FROM decisions e WHERE e.id = d.id"
            " AND e.shadow = d.shadow AND e.seq < d.seq)"
        )
    labels = {"label", "label_known_at"} & set(query.columns)
    joined = " LEFT JOIN decision_labels l ON l.id = d.id" if labels else ""
    text = f"SELECT {', '.join(['event_time', 'seq', *wanted])} FROM decisions d{joined}"
    text += f" WHERE {' AND '.join(conditions)} ORDER BY event_time, seq LIMIT ?"
    return text, [*values, limit]
