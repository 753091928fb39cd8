"""What the homes of the decision log have in common: sizes, checks, and a window as SQL.

Light on purpose: the scoring service imports it, and does without Arrow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from setpoint.errors import DataError, StateError
from setpoint.ports import Decision, DecisionCount, DecisionQuery, Label

CHUNK = 500
"""Ids that are looked up at a time."""
BATCH = 16_384
"""Rows that are read at a time."""
FORGET_ROWS = 500
"""Rows that are dropped in one transaction."""
FORGET_REST = 0.005
"""Seconds without the write lock after each, at least."""
ONCE = "id, shadow, (CASE WHEN shadow THEN version ELSE '' END)"
"""What is there once: a served decision by its id, a mirrored one by its id and version."""
STORED = {"id": "d.id", "label": "l.label", "label_known_at": "l.known_at"}

Place = tuple[Any, int]
"""Event time, as stored, and number of a row: where a page ended."""


@dataclass(frozen=True)
class Dialect:
    """How a store writes what SQL leaves open.

    Attributes:
        mark: What stands before the number of a value, e.g. ``$``.
        body: How a JSON column is read as UTF-8, with ``{}`` for the column.
        moment: Turns an aware time into the stored form; the second argument is its name in
            an error.
    """

    mark: str
    body: str
    moment: Callable[[datetime, str], Any]


def select(
    query: DecisionQuery, after: Place | None, limit: int, dialect: Dialect
) -> tuple[str, list[Any]]:
    """A page of a window: event time and number of a row, its columns, its ``named_bodies``.

    Args:
        query: The window.
        after: Where the page before ended; ``None`` for the first.
        limit: Most rows.
        dialect: Of the store.

    Returns:
        SQL and its values.

    Raises:
        DataError: A time has no time zone.
    """
    values: list[Any] = []

    def mark(value: Any) -> str:
        values.append(value)
        return f"{dialect.mark}{len(values)}"

    wanted = [STORED.get(name, f"d.{name}") for name in query.columns]
    wanted += [dialect.body.format(f"d.{body}") for body in named_bodies(query)]
    conditions = [f"shadow = {mark(query.shadow)}"]
    if after is not None:
        conditions.append(f"event_time >= {mark(after[0])}")
        conditions.append(f"(event_time > {mark(after[0])} OR seq > {mark(after[1])})")
    elif query.start is not None:
        conditions.append(f"event_time >= {mark(dialect.moment(query.start, 'window'))}")
    if query.end is not None:
        conditions.append(f"event_time < {mark(dialect.moment(query.end, 'window'))}")
    if query.version is not None:
        conditions.append(f"version = {mark(query.version)}")
    elif query.shadow:  # several versions may have seen one request
        conditions.append(  # the OFFSET keeps PostgreSQL from joining the whole log for a page
            "NOT EXISTS (SELECT 1 FROM decisions e WHERE e.id = d.id"
            " AND e.shadow = d.shadow AND e.seq < d.seq LIMIT 1 OFFSET 0)"
        )
    labels = {"label", "label_known_at"} & set(query.columns)
    joined = " LEFT JOIN decision_labels l ON l.id = d.id" if labels else ""
    text = f"SELECT {', '.join(['event_time', 'seq', *wanted])} FROM decisions d{joined}"
    text += f" WHERE {' AND '.join(conditions)} ORDER BY event_time, seq LIMIT {mark(limit)}"
    return text, values


def tally(query: DecisionQuery, dialect: Dialect) -> tuple[str, list[Any]]:
    """Counts of a window: version, action, how many, first and last event time as stored.

    Args:
        query: The window; its columns say nothing.
        dialect: Of the store.

    Returns:
        SQL and its values.

    Raises:
        DataError: A time has no time zone.
    """
    values: list[Any] = [query.shadow]
    conditions = [f"shadow = {dialect.mark}1"]
    for sign, bound in ((">=", query.start), ("<", query.end)):
        if bound is not None:
            values.append(dialect.moment(bound, "window"))
            conditions.append(f"event_time {sign} {dialect.mark}{len(values)}")
    if query.version is not None:
        values.append(query.version)
        conditions.append(f"version = {dialect.mark}{len(values)}")
    text = "SELECT version, action, count(*), min(event_time), max(event_time) FROM decisions"
    return f"{text} WHERE {' AND '.join(conditions)} GROUP BY version, action", values


def counts_of(
    rows: Iterable[Sequence[Any]], moment: Callable[[Any], datetime]
) -> list[DecisionCount]:
    """The answer to ``tally``, sorted by version and action.

    Args:
        rows: As the store gave them.
        moment: A stored time as an aware one.
    """
    found = [
        DecisionCount(version, action, int(many), moment(first), moment(last))
        for version, action, many, first, last in rows
    ]
    return sorted(found, key=lambda one: (one.version, one.action))


def named_bodies(query: DecisionQuery) -> list[str]:
    """Which of ``request`` and ``features`` have columns of their own in the answer."""
    return [body for body in ("request", "features") if getattr(query, body)]


def check_aware(moment: datetime, name: str) -> datetime:
    """The same time.

    Raises:
        DataError: The time called ``name`` has no time zone.
    """
    if moment.tzinfo is None:
        raise DataError(
            f"{name} {moment.isoformat()} has no time zone",
            where=name,
            fix="give an aware time, e.g. datetime(..., tzinfo=UTC)",
        )
    return moment


def json_text(value: Any) -> str:
    """JSON without spaces."""
    return msgspec.json.encode(value).decode()


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids, at most ``CHUNK`` at a time."""
    rest = iter(ids)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def decision_of(row: Sequence[Any], event_time: datetime) -> Decision:
    """A decision from a stored row, as both stores write and read it.

    Args:
        row: id, version, shadow, event time, score, threshold, action, both propensities, digest
            of the bundle, trace id, reasons, request and features as JSON, name of the key.
        event_time: The row's event time, aware.

    Raises:
        StateError: What should be JSON is none.
    """
    return Decision(
        id=row[0],
        version=row[1],
        shadow=bool(row[2]),
        event_time=event_time,
        score=row[4],
        threshold=row[5],
        action=row[6],
        propensity=row[7],
        label_propensity=row[8],
        bundle_digest=row[9],
        trace_id=row[10],
        reasons=_json(row[11], row),
        request=_json(row[12], row),
        features=_json(row[13], row),
        client=row[14],
    )


def _json(text: str, row: Sequence[Any]) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as err:
        raise StateError(
            f"the row of decision {row[0]} is damaged: {err}",
            where="decision log",
            fix="bring the store back from a copy; a decision that was altered proves nothing",
        ) from err


def without_decision(labels: Iterable[Label], known: Collection[str]) -> list[str]:
    """The ids of labels that no decision is known for, in the order given, each once."""
    return [one for one in dict.fromkeys(label.id for label in labels) if one not in known]
