"""Reads windows of a decision log, whole or page by page, whichever store it is in.

A page is a question of its own that ends before the page is handed over: a slow reader keeps no
snapshot open, so neither the write-ahead log of a busy SQLite store nor dead rows in PostgreSQL
pile up behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from setpoint.adapters.decision_sql import Dialect, Place, select
from setpoint.adapters.decision_table import check_columns, to_table
from setpoint.ports import DecisionQuery

Fetch = Callable[[str, list[Any]], Sequence[Sequence[Any]]]
"""Runs SQL with its values and returns all rows; raises ``StateError``."""


def read(fetch: Fetch, query: DecisionQuery, dialect: Dialect, size: int) -> pa.Table:
    """All rows as one table; see ``DecisionLog.read``.

    Args:
        fetch: Asks the store.
        query: Which decisions.
        dialect: Of the store.
        size: Rows to fetch at a time; -1 for all, where the dialect's ``LIMIT`` takes it.

    Raises:
        DataError: A time has no time zone, or there is no such column.
        StateError: The store failed.
    """
    check_columns(query)
    return _table(query, [row for page in _pages(fetch, query, dialect, size) for row in page])


def batches(fetch: Fetch, query: DecisionQuery, dialect: Dialect, size: int) -> Iterator[pa.Table]:
    """The same in tables of at most ``size`` rows; see ``DecisionLog.batches``.

    Raises:
        DataError: A time has no time zone, or there is no such column.
        StateError: The store failed; also while it is read.
    """
    check_columns(query)
    select(query, None, size, dialect)  # what is wrong with the question is said now, not later
    return _tables(fetch, query, dialect, size)


def _tables(fetch: Fetch, query: DecisionQuery, dialect: Dialect, size: int) -> Iterator[pa.Table]:
    for page in _pages(fetch, query, dialect, size):
        table = _table(query, page)
        del page  # before the next one is read
        yield table


def _pages(
    fetch: Fetch, query: DecisionQuery, dialect: Dialect, size: int
) -> Iterator[Sequence[Sequence[Any]]]:
    after: Place | None = None
    while True:
        rows = fetch(*select(query, after, size, dialect))
        count = len(rows)
        if rows:
            after = (rows[-1][0], rows[-1][1])
        if rows or after is None:
            yield rows
        if count != size:
            return
        del rows


def _table(query: DecisionQuery, rows: Sequence[Sequence[Any]]) -> pa.Table:
    width = len(rows[0]) if rows else 0
    return to_table(query, [[row[i] for row in rows] for i in range(2, width)])  # zip is slower
