"""Rows to be scored, on disk, and their features as of their event time.

The batch execution of the features (``setpoint.adapters.duckdb_features``) needs a table in
memory. An entity's features need that entity's events alone, so rows and history are put on disk
and computed in buckets of entities: exact, and memory is that of a bucket, whatever the table's
size.

A row becomes known at its event time, an event of the history when the newest event time before
it was reached; a row sees the events and labels known by then. So a row has the features that it
would have been served with had it come at its time, after what was known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from setpoint.adapters.duckdb_features import compute, with_arrival
from setpoint.domain.arrivals import event_micros
from setpoint.domain.conform import ARROW_TYPES
from setpoint.domain.features import MICROSECONDS, FeatureSpec
from setpoint.domain.schema import TableSpec
from setpoint.errors import StateError

BUCKET = 20_000
"""Events of a bucket, about: rows and history together."""
CHUNK = 4096
"""Rows of a table that is given back."""
MEMORY = "48MB"
"""What DuckDB may hold before it uses the disk."""
ROW, KNOWN, KIND, PLACE = "_row", "_known", "_kind", "_place"


class StagedRows:
    """Valid rows of a table, with the history that their features look back to.

    Args:
        database: The open database; its file goes with the work folder.
        spec: What to compute.
        table: Columns of a row.
    """

    def __init__(self, database: Any, spec: FeatureSpec, table: TableSpec) -> None:
        self._db = database
        self._spec = spec
        self._fields = [pa.field(c.name, ARROW_TYPES[c.kind]) for c in table.columns]
        self._id, self._time = _quoted(spec.event_id), _quoted(spec.event_time)
        needed = [*spec.entities.values(), *(w.column for w in spec.windows if w.column)]
        self._kept = [*dict.fromkeys([spec.event_id, spec.event_time, *needed])]
        self._has_history = bool(spec.windows or spec.risks)
        self._store("rows", self._rows_schema().empty_table())

    def _rows_schema(self) -> pa.Schema:
        return pa.schema([pa.field(ROW, pa.int64()), *self._fields])

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add valid rows: the declared columns and ``_row``, their unique number."""
        table = pa.Table.from_pylist(rows, self._rows_schema())
        self._db.register("given", table)
        self._db.execute("INSERT INTO rows SELECT * FROM given")
        self._db.unregister("given")

    def drop_repeated(self) -> Iterator[tuple[int, str]]:
        """Take out rows whose id an earlier row has; gives number and id of each."""
        # grouped first: a window over all ids would need them in memory
        self._db.execute(
            f"CREATE TABLE doubled AS SELECT {self._id}, min({ROW}) AS first FROM rows"
            f" GROUP BY {self._id} HAVING count(*) > 1"
        )
        self._db.execute(
            f"CREATE TABLE repeated AS SELECT {ROW} AS n, {self._id} AS id"
            f" FROM rows JOIN doubled USING ({self._id}) WHERE {ROW} <> first"
        )
        self._db.execute(f"DELETE FROM rows WHERE {ROW} IN (SELECT n FROM repeated)")
        found = self._db.sql("SELECT n, id FROM repeated ORDER BY n").to_arrow_reader(CHUNK)
        for batch in found:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def look_back(self, events: pa.Table, labels: pa.Table) -> None:
        """Bring in the history; an event that is one of the rows counts once, as the row.

        Args:
            events: Known events with the columns that the features need, in order of arrival.
            labels: Id, ``label``, ``known_at``, in the order in which they were told.
        """
        if not self._has_history:
            return
        known = np.maximum.accumulate(event_micros(events, self._spec.event_time))
        events = events.select(self._kept).append_column(KNOWN, pa.array(known))
        self._store("history", events.append_column(PLACE, pa.array(np.arange(len(known)))))
        self._store("labels", labels.select([self._spec.event_id, "label", "known_at"]))
        self._db.execute(f"DELETE FROM history WHERE {self._id} IN (SELECT {self._id} FROM rows)")
        reach = self._spec.longest_seconds * MICROSECONDS
        self._db.execute(
            f"DELETE FROM history WHERE {KNOWN} > (SELECT max(epoch_us({self._time})) FROM rows)"
            f" OR epoch_us({self._time}) <"
            f" (SELECT min(epoch_us({self._time})) FROM rows) - {reach}"
        )

    def features(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The rows in the order of their numbers, and the model's inputs of the same rows."""
        own = replace(self._spec, windows=(), risks=())
        tables = ["rows", *filter(None, map(self._computed, self._spec.entities))]
        last = self._db.execute(f"SELECT coalesce(max({ROW}), -1) FROM rows").fetchall()[0][0]
        for start in range(0, last + 1, CHUNK):
            # the tables are sorted, so that each part is found without reading the others
            part = f"WHERE {ROW} BETWEEN {start} AND {start + CHUNK - 1}"
            parts = [f'(SELECT * FROM "{name}" {part}) AS "{name}"' for name in tables]
            joined = parts[0] + "".join(f" JOIN {one} USING ({ROW})" for one in parts[1:])
            rows = self._table(f"SELECT * FROM {joined} ORDER BY {ROW}")
            numbered, _ = with_arrival(own, rows)
            plain = compute(own, numbered)
            found = {name: plain[name] for name in plain.column_names}
            found |= {n: rows[n] for n in self._spec.number_names if n not in found}
            yield rows, pa.table({name: found[name] for name in self._spec.names})

    def _computed(self, entity: str) -> str:
        """The table of the features that look back over an entity; empty if there are none."""
        spec = self._of_entity(entity)
        if not spec.number_names:
            return ""
        name = f"of_{entity}"
        kinds = [pa.field(ROW, pa.int64()), *(pa.field(n, pa.float64()) for n in spec.number_names)]
        self._store(name, pa.schema(kinds).empty_table())
        for events, labels in self._buckets(spec.entities[entity]):
            numbered, told = with_arrival(spec, events.select(self._kept), labels)
            found = compute(spec, numbered, told)
            table = pa.table([events[ROW], *(found[n] for n in spec.number_names)],
                             names=[ROW, *spec.number_names])  # fmt: skip
            self._db.register("given", table)
            self._db.execute(f'INSERT INTO "{name}" SELECT * FROM given WHERE {ROW} IS NOT NULL')
            self._db.unregister("given")
        self._db.execute(f'CREATE TABLE "{name}_sorted" AS SELECT * FROM "{name}" ORDER BY {ROW}')
        self._db.execute(f'DROP TABLE "{name}"')
        return f"{name}_sorted"

    def _of_entity(self, entity: str) -> FeatureSpec:
        """The features that look back over one entity."""
        return replace(
            self._spec,
            entities={entity: self._spec.entities[entity]},
            numbers=(), categories=(), calendar=(),
            windows=tuple(w for w in self._spec.windows if w.entity == entity),
            risks=tuple(r for r in self._spec.risks if r.entity == entity),
        )  # fmt: skip

    def _buckets(self, entity: str) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Events of some entities at a time, in the order in which they became known; and their
        labels. Rows of no entity are apart from each other, so any bucket is right for them."""
        columns = ", ".join(_quoted(name) for name in self._kept)
        count = self._db.execute(
            "SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM history)"
        ).fetchall()[0][0]
        number = max(1, -(-count // BUCKET))
        bucket = f"coalesce(hash({_quoted(entity)}), hash({{}})) % {number}"
        self._db.execute(
            f"CREATE OR REPLACE TABLE placed AS SELECT {columns}, {KNOWN},"
            f" 0 AS {KIND}, {PLACE}, NULL::BIGINT AS {ROW}, {bucket.format(PLACE)} AS _bucket"
            f" FROM history UNION ALL SELECT {columns}, epoch_us({self._time}), 1, {ROW}, {ROW},"
            f" {bucket.format(ROW)} FROM rows"
        )
        for place in range(number):  # a scan each: to sort all of it needs too much memory
            where = f"WHERE _bucket = {place}"
            events = self._table(
                f"SELECT {columns}, {ROW} FROM placed {where} ORDER BY {KNOWN}, {KIND}, {PLACE}"
            )
            ids = f"SELECT {self._id} FROM placed {where}"
            labels = self._table(
                f"SELECT {self._id}, label, known_at FROM labels WHERE {self._id} IN ({ids})"
                " ORDER BY known_at, _told"
            )
            yield events, labels

    def _store(self, name: str, table: pa.Table) -> None:
        if name == "labels":
            table = table.append_column("_told", pa.array(np.arange(table.num_rows)))
        self._db.register("given", table)
        self._db.execute(f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM given')
        self._db.unregister("given")

    def _table(self, query: str) -> pa.Table:
        return self._db.sql(query).to_arrow_table()


@contextmanager
def staged(work: Path, spec: FeatureSpec, table: TableSpec) -> Iterator[StagedRows]:
    """Rows on disk in a work folder.

    Raises:
        StateError: The disk is full, or the database cannot be used.
    """
    import duckdb

    try:
        with duckdb.connect(work / "rows.duckdb") as database:
            database.execute(f"SET memory_limit = '{MEMORY}'; SET threads = 1")
            database.execute("SET enable_progress_bar = false")
            database.execute("SET TimeZone = 'UTC'")
            yield StagedRows(database, spec, table)
    except duckdb.Error as error:
        raise StateError(
            f"the rows cannot be kept on disk: {error}",
            where=str(work),
            fix="see that the disk has room, and that nobody else scores into the same file",
        ) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
