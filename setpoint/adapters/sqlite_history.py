"""How the online store keeps a spec's columns in SQLite and reads an entity's history."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from math import isnan
from typing import TYPE_CHECKING, Any

from setpoint.domain.features import MICROSECONDS, FeatureSpec

if TYPE_CHECKING:
    import pyarrow as pa

_NAN = float("nan")
_SQL = {"count": "count", "mean": "avg", "sum": "total", "max": "max"}

# Whether the label of row e was known and positive at arrival ?3.
_POSITIVE = (
    "CASE WHEN label_from < ?3 THEN label = 1 ELSE (SELECT l.label = 1 FROM online_labels l"
    " WHERE l.id = e.id AND l.arrival < ?3 ORDER BY l.arrival DESC LIMIT 1) END"
)
_ENTITY_INDEXES = (
    "SELECT name, sql FROM sqlite_master"
    " WHERE type = 'index' AND tbl_name = 'online_events' AND sql IS NOT NULL"
)
_ATTACH_LABELS = """
UPDATE online_events SET (label, label_from) = (
    SELECT l.label, l.arrival FROM online_labels l WHERE l.id = online_events.id
    ORDER BY l.arrival DESC LIMIT 1)
WHERE id IN (SELECT id FROM online_labels)
"""


class EntityReader:
    """All features of one entity in one pass over an index range.

    Attributes:
        column: Column of the entity.
        names: Feature names in the order that ``read`` answers.
    """

    def __init__(self, spec: FeatureSpec, entity: str) -> None:
        self.column = spec.entities[entity]
        self._windows = [w for w in spec.windows if w.entity == entity]
        self._risks = [r for r in spec.risks if r.entity == entity]
        self.names = [w.name for w in self._windows]
        self.names += [name for r in self._risks for name in r.names]
        ages = [w.over_seconds for w in self._windows]
        ages += [r.delay_seconds + r.over_seconds for r in self._risks]
        self._query = (
            f"SELECT {', '.join([*self._window_sql(), *self._risk_sql()])} FROM online_events e"
            f" WHERE {quoted(self.column)} = ?1 AND t > {_back(max(ages))} AND t <= ?2"
            " AND arrival <= ?3"
        )

    def _window_sql(self) -> Iterator[str]:
        for w in self._windows:
            value = quoted(w.column) if w.column else "*"
            yield f"{_SQL[w.compute]}({value}) FILTER (WHERE t > {_back(w.over_seconds)})"

    def _risk_sql(self) -> Iterator[str]:
        for r in self._risks:
            frame = f"t <= {_back(r.delay_seconds)}"
            frame += f" AND t > {_back(r.delay_seconds + r.over_seconds)}"
            yield f"count(*) FILTER (WHERE {frame})"
            yield f"count(*) FILTER (WHERE {frame} AND {_POSITIVE})"

    def read(
        self,
        connection: sqlite3.Connection,
        key: Any,
        t: int,
        arrival: int,
        event: Mapping[str, Any],
    ) -> list[float]:
        """Features of the event that arrived as ``arrival`` at ``t`` (microseconds)."""
        if key is None:
            return self._alone(event)
        row = connection.execute(self._query, (key, t, arrival)).fetchone()
        numbers = [_NAN if value is None else float(value) for value in row]
        # Counts of positives become shares.
        for i in range(len(self._windows) + 1, len(numbers), 2):
            numbers[i] = numbers[i] / numbers[i - 1] if numbers[i - 1] else 0.0
        return numbers

    def _alone(self, event: Mapping[str, Any]) -> list[float]:
        numbers = []
        for w in self._windows:
            value = number(event.get(w.column)) if w.column else 1.0
            numbers.append(0.0 if w.compute == "sum" and isnan(value) else value)
        return numbers + [0.0] * (2 * len(self._risks))


def _back(seconds: int) -> str:
    return f"?2 - {seconds * MICROSECONDS}"


def quoted(column: str) -> str:
    """Name of a request column in the table: ``x_`` keeps it apart from our own columns."""
    return '"x_{}"'.format(column.replace('"', '""'))


def entities_with_history(spec: FeatureSpec) -> list[str]:
    """Entities that have a history in a spec."""
    used = {w.entity for w in spec.windows} | {r.entity for r in spec.risks}
    return [entity for entity in spec.entities if entity in used]


def stored_columns(spec: FeatureSpec) -> list[str]:
    """Request columns that the store keeps for a spec."""
    values = [w.column for w in spec.windows if w.column]
    return list(dict.fromkeys([*spec.entities.values(), *values]))


def index_sql(spec: FeatureSpec, entity: str) -> str:
    """An index that alone answers the query of an entity."""
    key = spec.entities[entity]
    values = sorted({w.column for w in spec.windows if w.column and w.entity == entity} - {key})
    columns = ", ".join([quoted(key), "t", *(quoted(v) for v in values), "label", "label_from"])
    name = f"online_events_{sha256(columns.encode()).hexdigest()[:16]}"
    return f"CREATE INDEX IF NOT EXISTS {name} ON online_events ({columns})"


def number(value: Any) -> float:
    """A number or truth value as float, ``None`` as NaN."""
    return _NAN if value is None else float(value)


def load_history(
    connection: sqlite3.Connection,
    spec: FeatureSpec,
    stored: Sequence[str],
    events: pa.Table,
    labels: pa.Table | None,
) -> None:
    """Insert events and labels with the arrival numbers they have.

    Raises:
        DataError: Columns are missing.
        sqlite3.IntegrityError: Ids or arrival numbers repeat.
    """
    # Building the indexes afterwards halves the time that filling them row by row takes.
    indexes = connection.execute(_ENTITY_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    _load_events(connection, spec, stored, events)
    if labels is not None:
        _load_labels(connection, spec, labels)
    connection.execute(_ATTACH_LABELS)
    for _, sql in indexes:
        connection.execute(sql)


def _load_events(
    connection: sqlite3.Connection, spec: FeatureSpec, stored: Sequence[str], events: pa.Table
) -> None:
    # Arrow is not needed to serve.
    import pyarrow as pa

    from setpoint.domain.arrivals import ARRIVAL, event_micros, need_columns

    need_columns(events, [spec.event_id, spec.event_time, ARRIVAL, *stored_columns(spec)], "events")
    kept = [name for name in stored if name in events.column_names]
    columns = [
        events[ARRIVAL],
        events[spec.event_id].cast(pa.string()),
        pa.chunked_array([pa.array(event_micros(events, spec.event_time))]),
        *(events[name] for name in kept),
    ]
    names = ["arrival", "id", "t", *(quoted(name) for name in kept)]
    marks = ", ".join("?" * len(names))
    connection.executemany(
        f"INSERT INTO online_events ({', '.join(names)}) VALUES ({marks})", _rows(columns)
    )


def _load_labels(connection: sqlite3.Connection, spec: FeatureSpec, labels: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    from setpoint.domain.arrivals import ARRIVAL, need_columns

    need_columns(labels, [spec.event_id, "label", ARRIVAL], "labels")
    labels = labels.filter(pc.is_valid(labels["label"]))
    columns = [labels[ARRIVAL], labels[spec.event_id].cast(pa.string()), labels["label"]]
    connection.executemany(
        "INSERT OR REPLACE INTO online_labels VALUES (?, ?, ?, NULL)", _rows(columns)
    )


def _rows(columns: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    size = 10_000
    for start in range(0, len(columns[0]), size):
        yield from zip(*(c.slice(start, size).to_pylist() for c in columns), strict=True)
