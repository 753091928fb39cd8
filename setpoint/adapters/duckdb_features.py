"""Features of whole tables: the batch execution of ``setpoint.domain.features``.

Two steps an entity. DuckDB sorts by event time and aggregates with window functions, which is
exact for every event whose windows hold nothing that came later than itself. The few other events
(something arrived late, or a label was not known yet) are found from the newest arrival number in
their frame and answered again by ``Seen``, which sees arrival numbers. Neither step is
quadratic, however many events one entity has and however many of them are late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.arrivals import (
    ARRIVAL,
    event_micros,
    floats,
    integers,
    label_arrivals,
    need_columns,
    texts,
    with_arrival,
)
from setpoint.domain.calendar import calendar_part
from setpoint.domain.features import (
    MICROSECONDS,
    DelayedRisk,
    FeatureSpec,
    WindowFeature,
)
from setpoint.domain.seen import Floats, Ints, Seen
from setpoint.errors import DataError

__all__ = ["compute", "label_arrivals", "with_arrival"]

_NEVER = int(np.iinfo(np.int64).min)
_SQL = {"mean": "avg", "sum": "sum", "max": "max"}


def compute(spec: FeatureSpec, events: pa.Table, labels: pa.Table | None = None) -> pa.Table:
    """Model inputs of all events, each as of its own arrival.

    Args:
        spec: What to compute.
        events: The columns that ``spec`` names and ``_arrival`` (int64, unique). The event time
            is a timestamp with a time zone, or integer microseconds since the epoch. Rows in any
            order; event ids unique.
        labels: Event id, ``label`` (1 is positive) and ``_arrival`` (int64), counted together
            with those of the events: a label is seen by events with a larger arrival number. Of
            several labels of an event the one that arrived last is valid; null ones do not count.
            ``None``: no labels.

    Returns:
        The event id, ``spec.number_names`` (float64, NaN where missing) and ``spec.categories``
        (string, ``""`` where missing), rows in the order of ``events``.

    Raises:
        DataError: A column is missing, has nulls or repeats where it must not, or is no time.
    """
    _check_events(spec, events)
    micros = event_micros(events, spec.event_time)
    numbers: dict[str, Floats] = {name: floats(events[name]) for name in spec.numbers}
    numbers |= {part: calendar_part(part, micros).astype(np.float64) for part in spec.calendar}
    if spec.windows or spec.risks:
        numbers |= _histories(spec, events, micros, labels)
    columns = {spec.event_id: events[spec.event_id]}
    columns |= {name: pa.array(numbers[name], pa.float64()) for name in spec.number_names}
    columns |= {name: texts(events[name]) for name in spec.categories}
    return pa.table(columns)


@dataclass(frozen=True)
class _Input:
    """What the features of all entities are made from; row ``i`` is row ``i`` of the events."""

    arrival: Ints
    values: dict[str, Floats]
    changes: _LabelChanges


def _histories(
    spec: FeatureSpec, events: pa.Table, micros: Ints, labels: pa.Table | None
) -> dict[str, Floats]:
    """Window and risk features by name."""
    import duckdb

    names = sorted({w.column for w in spec.windows} - {""})
    arrival = integers(events[ARRIVAL])
    found: dict[str, Floats] = {}
    with duckdb.connect() as database:
        changes = _label_changes(database, spec, events, arrival, labels)
        given = _Input(arrival, {name: floats(events[name]) for name in names}, changes)
        for entity, column in spec.entities.items():
            windows = [w for w in spec.windows if w.entity == entity]
            risks = [r for r in spec.risks if r.entity == entity]
            if windows or risks:
                rows = _rows(given, events[column], micros)
                database.register("all_rows", rows)
                query = _query(names, windows, risks)
                frames = _Frames(database.sql(query).to_arrow_table(), given)
                found |= _entity(frames, given, windows, risks)
    return found


def _rows(given: _Input, entity: pa.ChunkedArray, micros: Ints) -> pa.Table:
    """The table that the query of one entity reads."""
    changes = given.changes
    settled = np.full(len(micros), _NEVER)
    np.maximum.at(settled, changes.row, changes.seen_from)
    columns = {
        "n": pa.array(np.arange(len(micros))),
        "e": entity,
        "t": pa.array(micros),
        "a": pa.array(given.arrival),
        "settled": pa.array(settled),
    }
    for i, values in enumerate(given.values.values()):
        columns[f"v{i}"] = pa.array(values, mask=np.isnan(values))
    return pa.table(columns)


def _query(names: list[str], windows: list[WindowFeature], risks: list[DelayedRisk]) -> str:
    """SQL of one entity: every event's place in its entity's history, and its aggregates.

    ``p`` is the place from 1, by time and then arrival, so that of events at the same moment each
    sees those before it; ``b<s>`` is how many events are ``s`` seconds old or older.
    """
    ages = {w.over_seconds for w in windows}
    ages |= {age for r in risks for age in (r.delay_seconds, r.delay_seconds + r.over_seconds)}
    longest = max(ages)
    ages -= {0}
    bounds = [
        "count(*) OVER (PARTITION BY e ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING"
        f" AND {age * MICROSECONDS} PRECEDING) AS b{age}"
        for age in sorted(ages)
    ]
    aggregates = [f"max(a) OVER ({_frame(longest, 0)}) AS newest"]
    for i, w in enumerate(windows):
        if w.compute != "count":
            sql = f"{_SQL[w.compute]}(v{names.index(w.column)})"
            aggregates.append(f"{sql} OVER ({_frame(w.over_seconds, 0)}) AS w{i}")
    if risks:
        frame = _frame(longest, min(r.delay_seconds for r in risks))
        aggregates.append(f"max(settled) OVER ({frame}) AS settled")
    return (
        f"WITH placed AS (SELECT *, {', '.join(bounds)},"
        " row_number() OVER (PARTITION BY e ORDER BY t, a) AS p FROM all_rows WHERE e IS NOT NULL)"
        f" SELECT n, p, {', '.join(f'b{age}' for age in sorted(ages))}, {', '.join(aggregates)}"
        " FROM placed ORDER BY e, t, a"
    )


def _frame(oldest: int, newest: int) -> str:
    """Rows that are at least ``newest`` and less than ``oldest`` seconds old."""
    last = f"p - b{newest} PRECEDING" if newest else "CURRENT ROW"
    return f"PARTITION BY e ORDER BY t, a ROWS BETWEEN p - 1 - b{oldest} PRECEDING AND {last}"


class _Frames:
    """Answer of the query, sorted by entity and time, and where each event's windows lie in it.

    Attributes:
        row: Input row of each position.
        late: Positions whose windows hold events that arrived after them.
        early: Positions whose risk windows hold labels that were not known yet.
        changes: Label changes by position.
    """

    def __init__(self, table: pa.Table, given: _Input) -> None:
        self.table = table
        self.row = integers(table["n"])
        self.arrival = given.arrival[self.row]
        self.place = integers(table["p"])
        self.start = np.arange(len(self.row)) - (self.place - 1)
        self.late = np.flatnonzero(integers(table["newest"]) > self.arrival)
        self.early = np.zeros(0, dtype=np.int64)
        self.changes = given.changes
        if "settled" in table.column_names:
            settled = integers(table["settled"].fill_null(_NEVER))
            self.early = np.flatnonzero(settled > self.arrival)
            self.changes = self._placed(given.changes, len(given.arrival))

    def _placed(self, changes: _LabelChanges, rows: int) -> _LabelChanges:
        """The changes by position instead of row, sorted; those of null entities are left out."""
        position = np.full(rows, -1)
        position[self.row] = np.arange(len(self.row))
        place = position[changes.row]
        order = np.argsort(place, kind="stable")
        order = order[place[order] >= 0]
        return _LabelChanges(place[order], changes.seen_from[order], changes.change[order])

    def between(self, oldest: int, newest: int) -> tuple[Ints, Ints]:
        """First position, and last plus one, of the rows of ``_frame`` for every event."""
        end = integers(self.table[f"b{newest}"]) if newest else self.place
        return self.start + integers(self.table[f"b{oldest}"]), self.start + end

    def histories_of_late(self) -> Ints:
        """Positions of all events of the entities that have late events."""
        marked = np.zeros(len(self.row), dtype=bool)
        marked[self.start[self.late]] = True
        return np.flatnonzero(marked[self.start])


def _entity(
    frames: _Frames, given: _Input, windows: list[WindowFeature], risks: list[DelayedRisk]
) -> dict[str, Floats]:
    """Features of one entity by name, in input row order."""
    found: dict[str, Floats] = {}
    for i, w in enumerate(windows):
        values = given.values[w.column] if w.column else np.ones(len(given.arrival))
        # What stays for a null entity: the event alone.
        found[w.name] = np.nan_to_num(values) if w.compute == "sum" else values.copy()
        found[w.name][frames.row] = _window(frames, i, w, values)
    for r in risks:
        count, positives = _risk(frames, r)
        share = np.divide(positives, count, out=np.zeros(len(count)), where=count > 0)
        for name, numbers in zip(r.names, (count, share), strict=True):
            found[name] = np.zeros(len(given.arrival))
            found[name][frames.row] = numbers
    return found


def _window(frames: _Frames, i: int, feature: WindowFeature, values: Floats) -> Floats:
    """One window feature, in the order of ``frames``."""
    lo, hi = frames.between(feature.over_seconds, 0)
    late = frames.late
    if feature.compute == "count":
        result = (hi - lo).astype(np.float64)
    else:
        result = floats(frames.table[f"w{i}"])
        if feature.compute == "sum":
            result = np.nan_to_num(result)
    if len(late):
        places = frames.histories_of_late()
        seen = Seen(places, frames.arrival[places], lo[late], hi[late], frames.arrival[late])
        result[late] = seen.aggregate(feature.compute, values[frames.row[places]])
    return result


def _risk(frames: _Frames, risk: DelayedRisk) -> tuple[Floats, Floats]:
    """Events and known positives in the delayed window, in the order of ``frames``."""
    lo, hi = frames.between(risk.delay_seconds + risk.over_seconds, risk.delay_seconds)
    count = (hi - lo).astype(np.float64)
    if len(frames.late):
        late, places = frames.late, frames.histories_of_late()
        seen = Seen(places, frames.arrival[places], lo[late], hi[late], frames.arrival[late])
        count[late] = seen.aggregate("sum", np.ones(len(places)))
    changes = frames.changes
    # Whole numbers, so that the difference of running totals is exact.
    totals = np.append(0.0, np.cumsum(changes.change))
    first, last = (np.searchsorted(changes.row, bound) for bound in (lo, hi))
    positives = totals[last] - totals[first]
    early = frames.early
    if len(early):
        at = frames.arrival[early]
        seen = Seen(changes.row, changes.seen_from, lo[early], hi[early], at)
        positives[early] = seen.aggregate("sum", changes.change)
    return count, positives


@dataclass(frozen=True)
class _LabelChanges:
    """Moments at which the number of known positives changes, one entry each.

    Attributes:
        row: Row of the event in the input, or its position.
        seen_from: Smallest arrival number that sees the change.
        change: 1 where the label became positive, -1 where it ceased to be.
    """

    row: Ints
    seen_from: Ints
    change: Floats


def _label_changes(
    database: Any, spec: FeatureSpec, events: pa.Table, arrival: Ints, labels: pa.Table | None
) -> _LabelChanges:
    if labels is None or not spec.risks:
        nothing = np.zeros(0, dtype=np.int64)
        return _LabelChanges(nothing, nothing, np.zeros(0))
    need_columns(labels, (spec.event_id, "label", ARRIVAL), "labels")
    known = {"id": labels[spec.event_id], "label": labels["label"], "a": labels[ARRIVAL]}
    known["k"] = pa.array(np.arange(labels.num_rows))
    ids = {"id": events[spec.event_id], "n": pa.array(np.arange(len(arrival)))}
    database.register("all_labels", pa.table(known))
    database.register("all_ids", pa.table(ids))
    table = database.sql(
        "WITH steps AS (SELECT id, a, (label = 1)::INT AS positive,"
        " lag((label = 1)::INT, 1, 0) OVER (PARTITION BY id ORDER BY a, k) AS was"
        " FROM all_labels WHERE label IS NOT NULL)"
        " SELECT n, a, positive - was AS change FROM steps"
        " JOIN all_ids ON all_ids.id::VARCHAR = steps.id::VARCHAR WHERE positive <> was"
    ).to_arrow_table()
    row = integers(table["n"])
    seen_from = np.maximum(arrival[row], integers(table["a"]) + 1)
    return _LabelChanges(row, seen_from, floats(table["change"]))


def _check_events(spec: FeatureSpec, events: pa.Table) -> None:
    columns = [spec.event_id, spec.event_time, ARRIVAL, *spec.entities.values(), *spec.numbers]
    columns += [*spec.categories, *(w.column for w in spec.windows if w.column)]
    need_columns(events, columns, "events")
    for column in (spec.event_id, ARRIVAL):
        values = events[column]
        if values.null_count:
            raise DataError(
                f"{values.null_count} of {len(values)} values are null",
                where=column,
                fix="drop these rows, or give them a value",
            )
        repeated = len(values) - pc.count_distinct(values).as_py()
        if repeated:
            raise DataError(
                f"{repeated} of {len(values)} values repeat an earlier one",
                where=column,
                fix="keep the row that arrived first",
            )
