"""The ledger, as rows of the state database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from setpoint.domain.ledger import Entry, canonical, link

SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    evidence TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS ledger_keeps BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_stays BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


def append(
    db: sqlite3.Connection, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]
) -> Entry:
    """Add an entry that follows from the last one; the caller holds the transaction.

    Raises:
        ValueError: The evidence is no strict JSON.
    """
    row = db.execute("SELECT * FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    entry = link(_entry(row) if row else None, time.isoformat(), kind, subject, evidence)
    content = canonical(evidence)
    values = (entry.seq, entry.time, kind, subject, content, entry.previous, entry.digest)
    db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return entry


def entries(db: sqlite3.Connection) -> list[Entry]:
    """All entries, oldest first."""
    return [_entry(row) for row in db.execute("SELECT * FROM ledger ORDER BY seq")]


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, time, kind, subject, evidence, previous, digest = row
    try:
        content = dict(json.loads(evidence))
    except (ValueError, TypeError):  # altered; the chain shows it
        content = {"unreadable": str(evidence)}
    return Entry(seq, time, kind, subject, content, previous, digest)
