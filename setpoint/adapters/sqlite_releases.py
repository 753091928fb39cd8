"""Releases, as rows of the state database: one each time a version is released."""

from __future__ import annotations

import json
import sqlite3

from setpoint.domain.ledger import canonical
from setpoint.domain.rollout import Rollout

SCHEMA = """
CREATE TABLE IF NOT EXISTS releases (
    challenger TEXT NOT NULL, stage TEXT NOT NULL, body TEXT NOT NULL);
"""
_AGAIN = (
    "ALTER TABLE releases RENAME TO keyed",
    SCHEMA,
    "INSERT INTO releases SELECT challenger, stage, body FROM keyed ORDER BY rowid",
    "DROP TABLE keyed",
)


def is_keyed(db: sqlite3.Connection) -> bool:
    """Whether the file is of a time when a version was released but once."""
    return bool(db.execute("SELECT 1 FROM pragma_table_info('releases') WHERE pk").fetchone())


def allow_again(db: sqlite3.Connection) -> None:
    """Let a version be released more than once in such a file."""
    if is_keyed(db):
        for statement in _AGAIN:
            db.execute(statement)


def write(db: sqlite3.Connection, rollout: Rollout) -> None:
    """Write where the release of a version is; where none goes on it is a new one."""
    body = rollout.stage, canonical(rollout.to_dict())
    changed = db.execute(
        "UPDATE releases SET stage = ?, body = ? "
        "WHERE challenger = ? AND json_extract(body, '$.settled') = 0",
        (*body, rollout.challenger),
    )
    if not changed.rowcount:
        db.execute("INSERT INTO releases VALUES (?, ?, ?)", (rollout.challenger, *body))


def find(db: sqlite3.Connection, challenger: str) -> Rollout | None:
    """The newest release of a version."""
    found = _where(db, "challenger = ?", challenger)
    return found[-1] if found else None


def answering(db: sqlite3.Connection, cause: str) -> list[Rollout]:
    """Releases of a cause, oldest first."""
    return _where(db, "json_extract(body, '$.cause') = ?", cause)


def promoted(db: sqlite3.Connection) -> list[Rollout]:
    """Releases that were promoted and settled, oldest first."""
    return _where(db, "stage = 'promoted' AND json_extract(body, '$.settled') = 1")


def unsettled(db: sqlite3.Connection) -> list[Rollout]:
    """Releases that are not over, oldest first."""
    return _where(db, "json_extract(body, '$.settled') = 0")


def _where(db: sqlite3.Connection, condition: str, *values: str) -> list[Rollout]:
    rows = db.execute(f"SELECT body FROM releases WHERE {condition} ORDER BY rowid", values)
    return [Rollout.from_dict(json.loads(body)) for (body,) in rows]
