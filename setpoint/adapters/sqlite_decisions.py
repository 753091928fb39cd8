"""The decision log in SQLite: what was acknowledged is in it, and each id once.

Durability is a setting that says what it survives: ``full`` a power cut, ``normal`` a killed
process. The log can share a connection, and so a transaction, with the online store.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from setpoint.errors import DataError, StateError
from setpoint.ports import Decision, DecisionQuery, Label

if TYPE_CHECKING:
    import pyarrow as pa

Durability = Literal["full", "normal"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CHUNK = 500
FREE_THE_STORE = "free disk space or end the process that holds the store, then send it again"

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS decisions (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, version TEXT NOT NULL,
        shadow INTEGER NOT NULL, event_time INTEGER NOT NULL, score REAL NOT NULL,
        threshold REAL NOT NULL, action TEXT NOT NULL, propensity REAL,
        bundle_digest TEXT NOT NULL, trace_id TEXT NOT NULL, reasons TEXT NOT NULL,
        request TEXT NOT NULL, features TEXT NOT NULL,
        UNIQUE (id, version, shadow))""",
    # Not led by shadow: SQLite would then look up ids through it, by reading the whole log.
    "CREATE INDEX IF NOT EXISTS decisions_in_time ON decisions (event_time)",
    """CREATE TABLE IF NOT EXISTS decision_labels (
        id TEXT PRIMARY KEY, label INTEGER NOT NULL, known_at INTEGER NOT NULL)""",
)
COLUMNS = (
    "id, version, shadow, event_time, score, threshold, action, propensity, bundle_digest, "
    "trace_id, reasons, request, features"
)
# An answer given again after a retry is not logged again: the first row stands.
INSERT = f"INSERT OR IGNORE INTO decisions ({COLUMNS}) VALUES ({','.join('?' * 13)})"


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
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    return connection


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
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; inside an outer transaction, a part of that one.

    Raises:
        sqlite3.Error: The store is locked, full or broken; nothing was written.
    """
    if connection.in_transaction:
        yield
        return
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

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def append(self, decisions: Sequence[Decision]) -> None:
        """Write durably; of an id, version and shadow mark logged before, the first row stands.

        Raises:
            DataError: An event time has no time zone.
            StateError: The store failed; nothing was written.
        """
        rows = [_row(decision) for decision in decisions]
        with store_errors(self._where), transaction(self._connection):
            self._connection.executemany(INSERT, rows)

    def find(self, ids: Iterable[str]) -> dict[str, Decision]:
        """Served decisions by id, the first answer of each; unknown ids are left out.

        Raises:
            StateError: The store failed.
        """
        found: dict[str, Decision] = {}
        with store_errors(self._where):
            for chunk in _chunks(ids):
                query = f"SELECT {COLUMNS} FROM decisions WHERE shadow = 0 AND id IN ("
                query += ",".join("?" * len(chunk)) + ") ORDER BY seq"
                for row in self._connection.execute(query, chunk):
                    found.setdefault(row[0], _decision(row))
        return found

    def add_labels(self, labels: Sequence[Label]) -> list[str]:
        """Attach labels; a label of an id that has one replaces it.

        Labels of unknown decisions are kept and belong to the decision once it comes.

        Returns:
            The ids that no served decision is known for, in the order given, each once.

        Raises:
            DataError: A time has no time zone.
            StateError: The store failed; nothing was written.
        """
        rows = [(one.id, one.label, _micros(one.known_at, "known_at")) for one in labels]
        known: set[str] = set()
        with store_errors(self._where), transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO decision_labels (id, label, known_at) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET label = excluded.label,"
                " known_at = excluded.known_at",
                rows,
            )
            for chunk in _chunks(one.id for one in labels):
                query = "SELECT id FROM decisions WHERE shadow = 0 AND id IN ("
                query += ",".join("?" * len(chunk)) + ")"
                known.update(row[0] for row in self._connection.execute(query, chunk))
        return [one for one in dict.fromkeys(label.id for label in labels) if one not in known]

    def read(self, query: DecisionQuery) -> pa.Table:
        """Decisions in event-time order, each id once; see the port for the columns.

        A request or feature column that no row has is all null. A request column whose name is
        taken by a fixed one comes as ``r_<name>``.

        Raises:
            StateError: The store failed.
        """
        with store_errors(self._where):
            rows = self._connection.execute(*_select(query)).fetchall()
        return _table(rows, query)


def _select(query: DecisionQuery) -> tuple[str, list[Any]]:
    bodies = [body for body in ("request", "features") if getattr(query, body)]
    columns = ["d.id", "event_time", "score", "threshold", "action", "version", "l.label"]
    columns += ["l.known_at", "propensity", *bodies]
    conditions: list[str] = ["shadow = ?"]
    values: list[Any] = [int(query.shadow)]
    for condition, moment in (("event_time >= ?", query.start), ("event_time < ?", query.end)):
        if moment is not None:
            conditions.append(condition)
            values.append(_micros(moment, "window"))
    if query.version is not None:
        conditions.append("version = ?")
        values.append(query.version)
    else:  # the log is at-least-once across versions: the first answer is what the client holds
        conditions.append(
            "NOT EXISTS (SELECT 1 FROM decisions e WHERE e.id = d.id"
            " AND e.shadow = d.shadow AND e.seq < d.seq)"
        )
    text = f"SELECT {', '.join(columns)} FROM decisions d LEFT JOIN decision_labels l"
    text += f" ON l.id = d.id WHERE {' AND '.join(conditions)} ORDER BY event_time, seq"
    return text, values


def _table(rows: list[tuple[Any, ...]], query: DecisionQuery) -> pa.Table:
    import pyarrow as pa  # here, for the scoring service does without it

    moment = pa.timestamp("us", tz="UTC")
    kinds = [pa.string(), moment, pa.float64(), pa.float64(), pa.string(), pa.string()]
    kinds += [pa.int8(), moment, pa.float64()]
    names = ["id", "event_time", "score", "threshold", "action", "version"]
    names += ["label", "label_known_at", "propensity"]
    columns = list(zip(*rows, strict=True)) or [()] * (len(names) + 2)
    table = {n: pa.array(columns[i], k) for i, (n, k) in enumerate(zip(names, kinds, strict=True))}
    bodies = iter(columns[len(names) :])
    if query.request:
        decoded = _decode(next(bodies), query.request)
        table |= {
            f"r_{name}" if name in names else name: _array(values)
            for name, values in decoded.items()
        }
    if query.features:
        decoded = _decode(next(bodies), query.features)
        table |= {f"f_{name}": _array(values, floats=True) for name, values in decoded.items()}
    return pa.table(table)


def _decode(bodies: Iterable[str], names: Sequence[str]) -> dict[str, list[Any]]:
    # A struct of the wanted fields alone: the decoder skips over all others without objects.
    fields = [(f"c{i}", Any, None) for i in range(len(names))]
    rename = {f"c{i}": name for i, name in enumerate(names)}
    decoder = msgspec.json.Decoder(msgspec.defstruct("Wanted", fields, rename=rename))
    rows = [decoder.decode(body) for body in bodies]
    return {name: [getattr(row, f"c{i}") for row in rows] for i, name in enumerate(names)}


def _array(values: list[Any], floats: bool = False) -> pa.Array:
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if not kinds or (floats and str not in kinds):
        return pa.array(values, pa.float64())
    if kinds <= {int, float} and float in kinds:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if len(kinds) == 1 and kinds <= {int, bool, str}:
        return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _row(decision: Decision) -> tuple[Any, ...]:
    return (
        decision.id,
        decision.version,
        int(decision.shadow),
        _micros(decision.event_time, "event_time"),
        decision.score,
        decision.threshold,
        decision.action,
        decision.propensity,
        decision.bundle_digest,
        decision.trace_id,
        _text(list(decision.reasons)),
        _text(dict(decision.request)),
        _text(dict(decision.features)),
    )


def _decision(row: tuple[Any, ...]) -> Decision:
    return Decision(
        id=row[0],
        version=row[1],
        shadow=bool(row[2]),
        event_time=EPOCH + row[3] * MICROSECOND,
        score=row[4],
        threshold=row[5],
        action=row[6],
        propensity=row[7],
        bundle_digest=row[8],
        trace_id=row[9],
        reasons=msgspec.json.decode(row[10]),
        request=msgspec.json.decode(row[11]),
        features=msgspec.json.decode(row[12]),
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _micros(moment: datetime, name: str) -> int:
    if moment.tzinfo is None:
        raise DataError(
            f"{name} {moment.isoformat()} has no time zone",
            where=name,
            fix="give an aware time, e.g. datetime(..., tzinfo=UTC)",
        )
    return (moment - EPOCH) // MICROSECOND


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
