"""The online feature store in SQLite: recent events, labels, and features at request time.

Embedded home of the port ``OnlineStore``. Several processes may share one file; each takes the
write lock for the length of a call. Events and labels take their arrival numbers from one
counter, so what a request saw can be computed again later, online or in a batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setpoint.adapters.decision_sql import chunks
from setpoint.adapters.sqlite_history import (
    EntityReader,
    entities_with_history,
    index_sql,
    load_history,
    number,
    quoted,
    stored_columns,
)
from setpoint.adapters.sqlite_link import transaction
from setpoint.domain.calendar import calendar_part
from setpoint.domain.features import FeatureSpec
from setpoint.errors import DataError, StateError
from setpoint.ports import Label

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_SECONDS = 5.0
_FORGET_ROWS = 1_000

# label_from is the arrival of the label that the event row carries; older ones are in
# online_labels.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS online_events (
    arrival INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, t INTEGER NOT NULL,
    label INTEGER, label_from INTEGER NOT NULL DEFAULT -1);
CREATE TABLE IF NOT EXISTS online_labels (
    arrival INTEGER, id TEXT, label INTEGER NOT NULL, known INTEGER,
    PRIMARY KEY (arrival, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS online_labels_by_id ON online_labels (id, arrival, label);
"""
_LABELS = "SELECT id, label, arrival FROM online_labels WHERE id IN"
_NEXT_ARRIVAL = (
    "SELECT 1 + max(coalesce((SELECT max(arrival) FROM online_events), 0),"
    " coalesce((SELECT max(arrival) FROM online_labels), 0))"
)

_Place = list[Any]
"""Arrival number and time of an event, and its entities."""


def micros_of(moment: datetime) -> int:
    """Microseconds since the epoch.

    Raises:
        DataError: The time has no zone.
    """
    if moment.tzinfo is None:
        raise DataError(
            f"the time {moment} has no zone",
            where="event time",
            fix="pass an aware datetime in UTC",
        )
    return (moment - _EPOCH) // _MICROSECOND


class SqliteOnlineStore:
    """Online features of one spec; see the port ``OnlineStore``.

    Args:
        connection: A path, or a connection in autocommit mode (``isolation_level=None``). With a
            connection that is in a transaction (opened with ``BEGIN IMMEDIATE``) the methods
            take part in it and leave the commit to its owner; otherwise each commits its own.
        spec: The features to compute.

    Raises:
        StateError: The connection is not in autocommit mode, or the file cannot be used.
    """

    def __init__(self, connection: sqlite3.Connection | str | Path, spec: FeatureSpec) -> None:
        if not isinstance(connection, sqlite3.Connection):
            connection = _open(connection)
        if connection.isolation_level is not None:
            raise StateError(
                f"the connection has isolation level {connection.isolation_level!r}",
                where="online store",
                fix="open it with sqlite3.connect(..., isolation_level=None)",
            )
        self._connection = connection
        self._spec = spec
        self._schema_version = -1
        self._insert = ""
        self._stored: list[str] = []
        with self._translated():
            if not connection.in_transaction:
                connection.execute("PRAGMA journal_mode = WAL")
        self._prepare_file()
        self._readers = [EntityReader(spec, entity) for entity in entities_with_history(spec)]
        self._find = "SELECT id, arrival, t{} FROM online_events WHERE id IN".format(
            "".join(f", {quoted(reader.column)}" for reader in self._readers)
        )
        names = [name for reader in self._readers for name in reader.names]
        wanted = spec.number_names[len(spec.numbers) + len(spec.calendar) :]
        self._order = [names.index(name) for name in wanted]

    def serve(self, events: Sequence[Mapping[str, Any]]) -> list[tuple[list[float], list[str]]]:
        """Record events in the order given and return each one's model inputs.

        An id seen before keeps its first arrival number, time and entities, so a retry gets the
        same numbers as long as nothing they come from was forgotten.

        Args:
            events: Validated rows; the event time is an aware ``datetime``.

        Returns:
            For each event the numbers (in the order of ``FeatureSpec.number_names``, NaN where
            missing) and the categories (``""`` where missing).

        Raises:
            DataError: An event time has no zone.
            StateError: The file cannot be written.
        """
        with self._transaction():
            self._follow_schema()
            # All are recorded first: what each is answered reaches to its own arrival only.
            places = self._record(events)
            return [self._inputs(event, places[self._id(event)]) for event in events]

    def learn(self, labels: Sequence[Label]) -> None:
        """Record labels; a label for an id seen before replaces it.

        Raises:
            DataError: A known time has no zone.
            StateError: The file cannot be written.
        """
        execute = self._connection.execute
        with self._transaction():
            for label in labels:
                last = execute(
                    "SELECT label FROM online_labels WHERE id = ? ORDER BY arrival DESC LIMIT 1",
                    (label.id,),
                ).fetchone()
                if last is not None and last[0] == label.label:
                    continue
                arrival = self._next_arrival()
                execute(
                    "INSERT INTO online_labels VALUES (?, ?, ?, ?)",
                    (arrival, label.id, label.label, micros_of(label.known_at)),
                )
                execute(
                    "UPDATE online_events SET label = ?, label_from = ? WHERE id = ?",
                    (label.label, arrival, label.id),
                )

    def forget(self, before: datetime) -> int:
        """Drop events older than ``before`` with their labels; returns how many events.

        Labels that no event came for are dropped once they were known before ``before``. Without
        an outer transaction the write lock is given up now and then, so that requests get through.

        Raises:
            DataError: ``before`` has no zone.
            StateError: The file cannot be written.
        """
        limit = micros_of(before)
        with self._translated():
            rows = self._connection.execute("SELECT id FROM online_events WHERE t < ?", (limit,))
            old = [id_ for (id_,) in rows]
        dropped = 0
        for start in range(0, len(old), _FORGET_ROWS):
            with self._transaction():
                dropped += self._forget_some(old[start : start + _FORGET_ROWS], limit)
        with self._transaction():
            self._connection.execute(
                "DELETE FROM online_labels WHERE known < ?"
                " AND id NOT IN (SELECT id FROM online_events)",
                (limit,),
            )
        return dropped

    def seed(self, events: pa.Table, labels: pa.Table | None = None) -> int:
        """Fill an empty store with history; arrival numbers go on after the largest one.

        A store that holds events takes none, so that of several processes that start on one file
        the first fills it.

        Args:
            events: Columns of the spec and ``_arrival`` (int64, >= 0, unique), as for the batch.
            labels: Event id, ``label``, ``_arrival``, as for the batch.

        Returns:
            Number of events taken.

        Raises:
            DataError: Columns are missing or ids or arrival numbers repeat.
            StateError: The file cannot be written.
        """
        with self._transaction():
            self._follow_schema()
            if self._connection.execute("SELECT 1 FROM online_events LIMIT 1").fetchone():
                return 0
            try:
                load_history(self._connection, self._spec, self._stored, events, labels)
            except sqlite3.IntegrityError as error:
                raise DataError(
                    f"the history cannot be loaded: {error}",
                    where="seed",
                    fix="give every event and every label its own arrival number and id, >= 0",
                ) from error
            return int(events.num_rows)

    def _prepare_file(self) -> None:
        with self._transaction():
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._read_columns()
            for name in stored_columns(self._spec):
                if name not in self._stored:
                    self._connection.execute(f"ALTER TABLE online_events ADD COLUMN {quoted(name)}")
            for entity in entities_with_history(self._spec):
                self._connection.execute(index_sql(self._spec, entity))
            self._follow_schema()

    def _follow_schema(self) -> None:
        """Notice columns that a store with another spec added, to fill them for it."""
        version = self._connection.execute("PRAGMA schema_version").fetchone()[0]
        if version != self._schema_version:
            self._read_columns()
            self._schema_version = version

    def _read_columns(self) -> None:
        rows = self._connection.execute("SELECT name FROM pragma_table_info('online_events')")
        self._stored = [name[2:] for (name,) in rows if name.startswith("x_")]
        self._insert = "INSERT INTO online_events VALUES (?, ?, ?, ?, ?{})".format(
            ", ?" * len(self._stored)
        )

    def _id(self, event: Mapping[str, Any]) -> str:
        return str(event[self._spec.event_id])

    def _record(self, events: Sequence[Mapping[str, Any]]) -> dict[str, _Place]:
        """Record events that are new; where all of them stand in the history, by id."""
        places: dict[str, _Place] = {}
        known: dict[str, tuple[int, int]] = {}
        for chunk in chunks(self._id(event) for event in events):
            marks = ",".join("?" * len(chunk))
            for id_, *place in self._connection.execute(f"{self._find} ({marks})", chunk):
                places[id_] = place
            for id_, label, arrival in self._connection.execute(f"{_LABELS} ({marks})", chunk):
                if id_ not in known or arrival > known[id_][1]:
                    known[id_] = label, arrival
        new: list[tuple[Any, ...]] = []
        next_arrival = self._next_arrival()
        for event in events:
            id_ = self._id(event)
            if id_ not in places:
                arrival, t = next_arrival + len(new), micros_of(event[self._spec.event_time])
                places[id_] = [arrival, t, *(event.get(one.column) for one in self._readers)]
                values = [event.get(name) for name in self._stored]
                new.append((arrival, id_, t, *known.get(id_, (None, -1)), *values))
        self._connection.executemany(self._insert, new)
        return places

    def _inputs(self, event: Mapping[str, Any], place: _Place) -> tuple[list[float], list[str]]:
        spec = self._spec
        arrival, t, *keys = place
        histories: list[float] = []
        for reader, key in zip(self._readers, keys, strict=True):
            histories += reader.read(self._connection, key, t, arrival, event)
        numbers = [number(event.get(name)) for name in spec.numbers]
        numbers += [float(calendar_part(part, t)) for part in spec.calendar]
        numbers += [histories[i] for i in self._order]
        return numbers, [_text(event.get(name)) for name in spec.categories]

    def _next_arrival(self) -> int:
        # Read off the tables: a counter of its own would be one more page to write a request.
        return int(self._connection.execute(_NEXT_ARRIVAL).fetchone()[0])

    def _forget_some(self, ids: Sequence[str], limit: int) -> int:
        """Drop events by id, which may have come anew since, and labels that lost their event."""
        execute = self._connection.execute
        dropped = 0
        for id_ in ids:
            gone = execute("DELETE FROM online_events WHERE id = ? AND t < ?", (id_, limit))
            dropped += gone.rowcount
            if gone.rowcount:
                execute("DELETE FROM online_labels WHERE id = ?", (id_,))
        return dropped

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated(), transaction(self._connection):
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                f"the online store does not answer: {error}",
                where=_file_of(self._connection),
                fix="see whether another process holds the file locked, or the disk is full",
            ) from error


def _open(path: str | Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        # Survives a kill; what a power cut takes is history that clients may send again.
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        raise StateError(
            f"the online store cannot be opened: {error}",
            where=str(path),
            fix="check that the folder exists, is writable and holds a SQLite file",
        ) from error
    return connection


def _file_of(connection: sqlite3.Connection) -> str:
    try:
        return str(connection.execute("PRAGMA database_list").fetchone()[2]) or "in memory"
    except sqlite3.Error:
        return "online store"


def _text(value: Any) -> str:
    """As Arrow writes it, so that both executions name a category alike."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
