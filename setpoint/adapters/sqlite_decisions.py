"""The decision log in SQLite: what was acknowledged is in it, and each id once.

The log can share a connection, and so a transaction, with the online store.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setpoint.adapters.decision_sql import (
    BATCH,
    FORGET_REST,
    FORGET_ROWS,
    ONCE,
    Dialect,
    check_aware,
    chunks,
    counts_of,
    decision_of,
    json_text,
    tally,
    without_decision,
)
from setpoint.adapters.sqlite_link import Durability, connect, store_errors, transaction
from setpoint.ports import Decision, DecisionCount, DecisionQuery, Label

if TYPE_CHECKING:
    import pyarrow as pa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS decisions (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, version TEXT NOT NULL,
        shadow INTEGER NOT NULL, event_time INTEGER NOT NULL, score REAL NOT NULL,
        threshold REAL NOT NULL, action TEXT NOT NULL, propensity REAL,
        bundle_digest TEXT NOT NULL, trace_id TEXT NOT NULL, reasons TEXT NOT NULL,
        request TEXT NOT NULL, features TEXT NOT NULL)""",
    f"CREATE UNIQUE INDEX IF NOT EXISTS decisions_once ON decisions ({ONCE})",
    # Not led by shadow: SQLite would then look up ids through it, by reading the whole log.
    "CREATE INDEX IF NOT EXISTS decisions_in_time ON decisions (event_time)",
    """CREATE TABLE IF NOT EXISTS decision_labels (
        id TEXT PRIMARY KEY, label INTEGER NOT NULL, known_at INTEGER NOT NULL)""",
)
# Stores that were made before a column was there have to get it.
ADDED = {"label_propensity": "REAL", "client": "TEXT NOT NULL DEFAULT ''"}
HAS = "SELECT 1 FROM pragma_table_info('decisions') WHERE name = ?"
COLUMNS = (
    "id, version, shadow, event_time, score, threshold, action, propensity, label_propensity, "
    "bundle_digest, trace_id, reasons, request, features, client"
)
WITHOUT_DECISION = "NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = decision_labels.id)"
# An answer given again after a retry is not logged again: the first row stands.
INSERT = f"INSERT OR IGNORE INTO decisions ({COLUMNS}) VALUES ({','.join('?' * 15)})"


class SqliteDecisionLog:
    """The port ``DecisionLog`` on SQLite.

    Args:
        store: The database file, or a connection made by ``connect`` to share.
        durability: What an acknowledged decision survives; of no effect on a shared connection.

    Raises:
        StateError: The store cannot be opened.
    """

    def __init__(
        self, store: Path | str | sqlite3.Connection, durability: Durability = "full"
    ) -> None:
        if isinstance(store, sqlite3.Connection):
            self._where, self._connection = "decision log", store
        else:
            self._where, self._connection = str(store), connect(Path(store), durability)
        with store_errors(self._where), transaction(self._connection):
            for statement in SCHEMA:
                self._connection.execute(statement)
            for name, kind in ADDED.items():
                if self._connection.execute(HAS, (name,)).fetchone() is None:
                    self._connection.execute(f"ALTER TABLE decisions ADD COLUMN {name} {kind}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def append(self, decisions: Sequence[Decision]) -> None:
        """Write durably; of what was logged before, the first row stands.

        Raises:
            DataError: An event time has no time zone.
            StateError: The store failed; nothing was written.
        """
        rows = [_row(decision) for decision in decisions]
        with store_errors(self._where), transaction(self._connection):
            self._connection.executemany(INSERT, rows)

    def find(self, ids: Iterable[str]) -> dict[str, Decision]:
        """Served decisions by id; unknown ids are left out.

        Raises:
            StateError: The store failed.
        """
        found: dict[str, Decision] = {}
        with store_errors(self._where):
            for chunk in chunks(ids):
                query = f"SELECT {COLUMNS} FROM decisions WHERE shadow = 0 AND id IN ("
                query += ",".join("?" * len(chunk)) + ")"
                for row in self._connection.execute(query, chunk):
                    found[row[0]] = _decision(row)
        return found

    def add_labels(self, labels: Sequence[Label]) -> list[str]:
        """Attach labels; of several of an id the one that became known last stands.

        Labels of unknown decisions are kept and belong to the decision once it comes.

        Returns:
            The ids that no served decision is known for, in the order given, each once.

        Raises:
            DataError: A time has no time zone.
            StateError: The store failed; nothing was written.
        """
        rows = [(one.id, one.label, micros(one.known_at, "known_at")) for one in labels]
        known: set[str] = set()
        with store_errors(self._where), transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO decision_labels (id, label, known_at) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET label = excluded.label,"
                " known_at = excluded.known_at WHERE excluded.known_at >= known_at",
                rows,
            )
            for chunk in chunks(one.id for one in labels):
                query = "SELECT id FROM decisions WHERE shadow = 0 AND id IN ("
                query += ",".join("?" * len(chunk)) + ")"
                known.update(row[0] for row in self._connection.execute(query, chunk))
        return without_decision(labels, known)

    def read(self, query: DecisionQuery) -> pa.Table:
        """Decisions in event-time order, each id once; see the port for the columns.

        A request or feature column that no row has is all null. A request column whose name is
        taken by a fixed one comes as ``r_<name>``.

        Raises:
            DataError: A time has no time zone, or there is no such column.
            StateError: The store failed.
        """
        # here, for the scoring service does without Arrow
        from setpoint.adapters.decision_window import read

        return read(self._fetch, query, DIALECT, -1)

    def batches(self, query: DecisionQuery, rows: int = BATCH) -> Iterator[pa.Table]:
        """As ``read``, at most ``rows`` rows a table: memory does not grow with the window.

        Each table is read when it is asked for; between two, others may write. A request or
        feature column of which a table knows no value is float64 there.

        Args:
            query: Which decisions.
            rows: Most rows of a table, >= 1.

        Raises:
            DataError: A time has no time zone, or there is no such column.
            StateError: The store failed; also while it is read.
        """
        from setpoint.adapters.decision_window import batches

        return batches(self._fetch, query, DIALECT, rows)

    def summary(self, query: DecisionQuery) -> list[DecisionCount]:
        """Counts of a window by version and action, made by the store; see the port.

        Raises:
            DataError: A time has no time zone.
            StateError: The store failed.
        """
        rows = self._fetch(*tally(query, DIALECT))
        return counts_of(rows, lambda stored: EPOCH + stored * MICROSECOND)

    def _fetch(self, text: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with store_errors(self._where):
            return self._connection.execute(text, values).fetchall()

    def forget(self, before: datetime) -> int:
        """Drop decisions of events before ``before`` with their labels; returns how many.

        Mirrored ones go too, and labels that no decision came for once they were known before
        ``before``. A retry of an id that is gone is decided anew. Without an outer transaction
        it writes in small ones and rests as long after each as it took, so that requests get
        through.

        Raises:
            DataError: ``before`` has no time zone.
            StateError: The store failed; a part may be dropped.
        """
        limit = micros(before, "before")
        with store_errors(self._where):
            newest = self._connection.execute("SELECT max(seq) FROM decisions").fetchone()[0]
            dropped = 0
            while newest is not None:
                with self._small_transaction():
                    some = self._forget_some(limit, newest)
                dropped += some
                if some < FORGET_ROWS:
                    break
            self._forget_labels(limit)
        return dropped

    def _forget_some(self, limit: int, newest: int) -> int:
        gone = self._connection.execute(
            "DELETE FROM decisions WHERE seq IN (SELECT seq FROM decisions"
            " WHERE event_time < ? AND seq <= ? ORDER BY event_time LIMIT ?) RETURNING id",
            (limit, newest, FORGET_ROWS),
        ).fetchall()
        self._connection.executemany(
            f"DELETE FROM decision_labels WHERE id = ? AND {WITHOUT_DECISION}", gone
        )
        return len(gone)

    def _forget_labels(self, limit: int) -> None:
        """Drop old labels without a decision: looked for without the write lock."""
        alone = f"known_at < ? AND {WITHOUT_DECISION}"
        find = f"SELECT rowid FROM decision_labels WHERE rowid > ? AND {alone} ORDER BY rowid"
        last = 0
        while True:
            rows = self._connection.execute(f"{find} LIMIT ?", (last, limit, FORGET_ROWS))
            found = [(row, limit) for (row,) in rows]
            if not found:
                return
            with self._small_transaction():
                self._connection.executemany(
                    f"DELETE FROM decision_labels WHERE rowid = ? AND {alone}", found
                )
            last = found[-1][0]

    @contextmanager
    def _small_transaction(self) -> Iterator[None]:
        """A transaction, then a rest as long, so that those who wait for the lock get it."""
        began, shared = time.monotonic(), self._connection.in_transaction
        with transaction(self._connection):
            yield
        if not shared:
            time.sleep(max(FORGET_REST, time.monotonic() - began))


def _row(decision: Decision) -> tuple[Any, ...]:
    return (
        decision.id,
        decision.version,
        int(decision.shadow),
        micros(decision.event_time, "event_time"),
        decision.score,
        decision.threshold,
        decision.action,
        decision.propensity,
        decision.label_propensity,
        decision.bundle_digest,
        decision.trace_id,
        json_text(list(decision.reasons)),
        json_text(dict(decision.request)),
        json_text(dict(decision.features)),
        decision.client,
    )


def _decision(row: Sequence[Any]) -> Decision:
    return decision_of(row, EPOCH + row[3] * MICROSECOND)


def micros(moment: datetime, name: str) -> int:
    """Microseconds since 1970.

    Raises:
        DataError: The time called ``name`` has no time zone.
    """
    return (check_aware(moment, name) - EPOCH) // MICROSECOND


DIALECT = Dialect("?", "CAST({} AS BLOB)", micros)
