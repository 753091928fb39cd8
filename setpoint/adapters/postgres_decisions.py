"""The decision log in PostgreSQL: the home for several machines, and for reading it from others.

Each write is one statement, committed on the server's disk before it returns. The tables
``decisions`` and ``decision_labels`` are made in the first schema of the role's search path.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
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
from setpoint.adapters.postgres_link import Link
from setpoint.errors import DataError
from setpoint.ports import Decision, DecisionCount, DecisionQuery, Label

if TYPE_CHECKING:
    import pyarrow as pa

SECONDS = 30.0
"""How long a piece of work may take unless told otherwise."""
LABEL_ROWS = 2000
"""Labels that are looked through in one transaction."""

# One simple query is one transaction; the lock lets one of many that start at once make them.
SCHEMA = f"""
SELECT pg_advisory_xact_lock(5317460021);
CREATE TABLE IF NOT EXISTS decisions (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, version text NOT NULL,
    shadow boolean NOT NULL, event_time timestamptz NOT NULL, score float8 NOT NULL,
    threshold float8 NOT NULL, action text NOT NULL, propensity float8,
    bundle_digest text NOT NULL, trace_id text NOT NULL, reasons json NOT NULL,
    request json NOT NULL, features json NOT NULL);
ALTER TABLE decisions ADD COLUMN IF NOT EXISTS label_propensity float8;
ALTER TABLE decisions ADD COLUMN IF NOT EXISTS client text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX IF NOT EXISTS decisions_once ON decisions ({ONCE});
CREATE INDEX IF NOT EXISTS decisions_in_time ON decisions (event_time, seq);
CREATE TABLE IF NOT EXISTS decision_labels (
    id text PRIMARY KEY, label smallint NOT NULL, known_at timestamptz NOT NULL);
"""
MADE = (
    "SELECT to_regclass('decisions_once') IS NOT NULL"
    " AND to_regclass('decision_labels') IS NOT NULL"
    # tables that were made before a column was there have to get it
    " AND (SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('decisions')"
    " AND attname IN ('label_propensity', 'client') AND NOT attisdropped) = 2"
)
COLUMNS = (
    "id, version, shadow, event_time, score, threshold, action, propensity, label_propensity, "
    "bundle_digest, trace_id, reasons, request, features, client"
)
TYPES = (
    *("text", "text", "bool", "timestamptz", "float8", "float8", "text", "float8", "float8"),
    *("text", "text", "json", "json", "json", "text"),
)
"""Of ``COLUMNS``."""
# An answer given again after a retry is not logged again: the first row stands.
INSERT = f"""INSERT INTO decisions ({COLUMNS})
SELECT * FROM unnest({", ".join(f"${i}::{kind}[]" for i, kind in enumerate(TYPES, 1))})
ON CONFLICT DO NOTHING"""
FIND = f"SELECT {COLUMNS} FROM decisions WHERE NOT shadow AND id = ANY($1::text[])"
KNOWN = "SELECT id FROM decisions WHERE NOT shadow AND id = ANY($1::text[])"
LABEL = """INSERT INTO decision_labels (id, label, known_at)
SELECT * FROM unnest($1::text[], $2::smallint[], $3::timestamptz[])
ON CONFLICT (id) DO UPDATE SET label = excluded.label, known_at = excluded.known_at
WHERE excluded.known_at >= decision_labels.known_at"""
FORGET = """WITH old AS (
    SELECT seq FROM decisions WHERE event_time < $1 AND seq <= $2 ORDER BY event_time LIMIT $3
), gone AS (
    DELETE FROM decisions d USING old WHERE d.seq = old.seq RETURNING d.id, d.seq
), labels AS (
    DELETE FROM decision_labels l USING (SELECT DISTINCT id FROM gone) g WHERE l.id = g.id
    AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = l.id
                    AND d.seq NOT IN (SELECT seq FROM gone))
) SELECT count(*) FROM gone"""
FORGET_LABELS = """WITH page AS (
    SELECT id FROM decision_labels WHERE id > $1 ORDER BY id LIMIT $2
), gone AS (
    DELETE FROM decision_labels l USING page WHERE l.id = page.id AND l.known_at < $3
    AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = l.id)
) SELECT max(id) FROM page"""


class PostgresDecisionLog:
    """The port ``DecisionLog`` on PostgreSQL.

    Args:
        url: ``postgresql://user:password@host:port/database``; see ``postgres_link.Link``.
        seconds: How long connecting, and then each statement, may take.

    Raises:
        StateError: The server is away or refuses.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        self._link = Link(url, seconds)
        try:
            self._link.run(_prepare)
        except BaseException:  # an interrupt too: its thread would go on
            self._link.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def append(self, decisions: Sequence[Decision]) -> None:
        """Write durably; of what was logged before, the first row stands.

        To write nothing is a question whether the log can be written.

        Raises:
            DataError: An event time has no time zone, or a text has a NUL character.
            StateError: The store failed; unless it took too long, nothing was written.
        """
        # in one order, or two writers of the same ids could wait for each other
        rows = sorted(map(_row, decisions), key=lambda row: str(row[0]))
        columns = list(zip(*rows, strict=True)) or [()] * len(TYPES)
        self._link.run(lambda connection: connection.execute(INSERT, *columns))

    def find(self, ids: Iterable[str]) -> dict[str, Decision]:
        """Served decisions by id; unknown ids are left out.

        Raises:
            StateError: The store failed.
        """
        found: dict[str, Decision] = {}
        for chunk in chunks(one for one in ids if "\0" not in one):
            for row in self._fetch(FIND, [chunk]):
                found[row[0]] = _decision(row)
        return found

    def add_labels(self, labels: Sequence[Label]) -> list[str]:
        """Attach labels; of several of an id the one that became known last stands.

        Labels of unknown decisions are kept and belong to the decision once it comes.

        Returns:
            The ids that no served decision is known for, in the order given, each once.

        Raises:
            DataError: A time has no time zone, or an id has a NUL character.
            StateError: The store failed; unless it took too long, nothing was written.
        """
        in_time = sorted(labels, key=lambda one: check_aware(one.known_at, "known_at"))
        last = {_plain(one.id, "id"): (one.label, one.known_at) for one in in_time}
        ids = sorted(last)
        columns = [ids, [last[one][0] for one in ids], [last[one][1] for one in ids]]
        self._link.run(lambda connection: connection.execute(LABEL, *columns))
        known = {row[0] for chunk in chunks(ids) for row in self._fetch(KNOWN, [chunk])}
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

        return read(self._fetch, query, DIALECT, BATCH)

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
        return counts_of(rows, lambda stored: stored.astimezone(UTC))

    def forget(self, before: datetime) -> int:
        """Drop decisions of events before ``before`` with their labels; returns how many.

        Mirrored ones go too, and labels that no decision came for once they were known before
        ``before``. A retry of an id that is gone is decided anew. It writes in small transactions
        and rests as long after each as it took, so that requests get through.

        Raises:
            DataError: ``before`` has no time zone.
            StateError: The store failed; a part may be dropped.
        """
        check_aware(before, "before")
        newest = self._fetch("SELECT max(seq) FROM decisions", [])[0][0]
        dropped = 0
        while newest is not None:
            some = self._write_and_rest(FORGET, [before, newest, FORGET_ROWS])
            dropped += some
            if some < FORGET_ROWS:
                break
        last = ""
        while last is not None:
            last = self._write_and_rest(FORGET_LABELS, [last, LABEL_ROWS, before])
        return dropped

    def _write_and_rest(self, text: str, values: list[Any]) -> Any:
        began = time.monotonic()
        found = self._fetch(text, values)[0][0]
        time.sleep(max(FORGET_REST, time.monotonic() - began))
        return found

    def _fetch(self, text: str, values: list[Any]) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = self._link.run(
            lambda connection: connection.fetch(text, *values)
        )
        return rows


async def _prepare(connection: Any) -> None:
    # looked for first: a role that only writes and reads may make no tables
    if not await connection.fetchval(MADE):
        await connection.execute(SCHEMA)


def _row(decision: Decision) -> tuple[Any, ...]:
    return (
        _plain(decision.id, "id"),
        _plain(decision.version, "version"),
        decision.shadow,
        check_aware(decision.event_time, "event_time"),
        decision.score,
        decision.threshold,
        _plain(decision.action, "action"),
        decision.propensity,
        decision.label_propensity,
        _plain(decision.bundle_digest, "bundle_digest"),
        _plain(decision.trace_id, "trace_id"),
        json_text(list(decision.reasons)),
        json_text(dict(decision.request)),
        json_text(dict(decision.features)),
        _plain(decision.client, "client"),
    )


def _decision(row: Sequence[Any]) -> Decision:
    return decision_of(row, row[3].astimezone(UTC))


def _plain(text: str, name: str) -> str:
    if "\0" in text:
        raise DataError(
            f"{name} {text!r:.80} has a NUL character, which PostgreSQL cannot keep",
            where=name,
            fix="send printable text",
        )
    return text


DIALECT = Dialect("$", "convert_to({}::text, 'UTF8')", check_aware)
