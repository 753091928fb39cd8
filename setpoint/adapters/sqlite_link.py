"""Connections to a SQLite store that several processes write to.

Durability is a setting that says what it survives: ``full`` a power cut, ``normal`` a killed
process.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from setpoint.errors import StateError

Durability = Literal["full", "normal"]
CHECKPOINT_PAGES = 4000
"""Pages of the write-ahead log after which a writer moves them into the database.

Each holds up everybody; at SQLite's 1,000, which is some 150 decisions, they cost a tenth of the
throughput.
"""
FREE_THE_STORE = "free disk space or end the process that holds the store, then send it again"
_AGAIN_SECONDS = 0.01


def connect(
    path: Path, durability: Durability = "full", busy_milliseconds: int = 5000
) -> sqlite3.Connection:
    """Open a store for use by several processes and by any thread of this one, one at a time.

    Args:
        path: The database; made if it is not there.
        durability: ``full`` survives a power cut, ``normal`` a killed process.
        busy_milliseconds: How long to wait for another writer.

    Raises:
        StateError: It cannot be opened.
    """
    with store_errors(path):
        connection = sqlite3.connect(
            path,
            timeout=busy_milliseconds / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        _write_ahead(connection, busy_milliseconds / 1000)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    return connection


def _write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Journal ahead of the file; SQLite does not wait where several open a new one at once."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)


@contextmanager
def store_errors(where: Path | str) -> Iterator[None]:
    """Turn SQLite's errors into ``StateError``."""
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(
            f"the store failed: {error}", where=str(where), fix=FREE_THE_STORE
        ) from error


@contextmanager
def transaction(connection: sqlite3.Connection, *, synced: bool = True) -> Iterator[None]:
    """All or nothing; inside an outer transaction, a part of that one.

    Args:
        connection: Made by ``connect``.
        synced: Whether it survives a power cut, where the connection's transactions do. One that
            does not survives a killed process, and the next synced one makes it survive too.

    Raises:
        sqlite3.Error: The store is locked, full or broken; nothing was written.
    """
    if connection.in_transaction:
        yield
        return
    durable = None if synced else connection.execute("PRAGMA synchronous").fetchone()[0]
    if durable is not None:
        connection.execute("PRAGMA synchronous = NORMAL")
    try:
        with _whole(connection):
            yield
    finally:
        if durable is not None:
            connection.execute(f"PRAGMA synchronous = {durable}")


@contextmanager
def _whole(connection: sqlite3.Connection) -> Iterator[None]:
    _begin(connection)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write, asking again every millisecond while another process writes.

    SQLite's own waiting backs off to 100 ms: two services on one store would miss a 50 ms
    objective by that alone.
    """
    patience = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + patience / 1000
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                busy = (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= deadline:
                    raise
                time.sleep(0.001)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
