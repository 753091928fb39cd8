"""The history of windows, as rows of the state database."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

from setpoint.domain.ledger import canonical
from setpoint.domain.windows import WindowRecord

SCHEMA = """
CREATE TABLE IF NOT EXISTS windows (until TEXT PRIMARY KEY, body TEXT NOT NULL);
"""


def keep(db: sqlite3.Connection, window: WindowRecord) -> None:
    """Write a window; one that was looked at before is replaced."""
    db.execute(
        "INSERT INTO windows VALUES (?, ?) ON CONFLICT (until) DO UPDATE SET body = excluded.body",
        (_key(window.end), canonical(window.to_dict())),
    )


def since(db: sqlite3.Connection, begin: datetime | None) -> list[WindowRecord]:
    """Windows that end at ``begin`` or later, oldest first; ``None`` for all."""
    where = "" if begin is None else "WHERE until >= ?"
    values = () if begin is None else (_key(begin),)
    rows = db.execute(f"SELECT body FROM windows {where} ORDER BY until", values)
    return [WindowRecord.from_dict(json.loads(body)) for (body,) in rows]


def newest(db: sqlite3.Connection) -> WindowRecord | None:
    """The one with the latest end."""
    row = db.execute("SELECT body FROM windows ORDER BY until DESC LIMIT 1").fetchone()
    return WindowRecord.from_dict(json.loads(row[0])) if row else None


def _key(moment: datetime) -> str:
    # one form for one instant, so that text sorts as time
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
