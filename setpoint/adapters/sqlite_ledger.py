"""The ledger, as rows of the state database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from setpoint.adapters.signing import Keys
from setpoint.domain.ledger import (
    REVOKED,
    Entry,
    Row,
    canonical,
    key_in_force,
    link,
)
from setpoint.domain.ledger_audit import Audit, audit
from setpoint.domain.seals import Known
from setpoint.domain.signatures import Check, entry_message
from setpoint.errors import StateError

SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    evidence TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL,
    key TEXT NOT NULL DEFAULT '', signature TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS ledger_subjects ON ledger (subject);
CREATE INDEX IF NOT EXISTS ledger_kinds ON ledger (kind);
CREATE TRIGGER IF NOT EXISTS ledger_keeps BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_stays BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
_ROWS = "SELECT seq, time, kind, subject, evidence, previous, digest, key, signature FROM ledger"


FIRST_SIGNED = "ledger_first_signed"
"""Fact: number of the first entry that was signed."""


class Connection(sqlite3.Connection):
    """A connection whose entries are signed.

    Attributes:
        keys: What they are signed with; ``None``: not at all.
    """

    keys: Keys | None = None


def is_unsigned(db: sqlite3.Connection) -> bool:
    """Whether the table is of a time without signatures."""
    return "signature" not in {row[1] for row in db.execute("PRAGMA table_info(ledger)")}


def allow_signatures(db: sqlite3.Connection) -> None:
    """Give the table the columns of signatures, unless another process did; entries stay."""
    if is_unsigned(db):
        for name in ("key", "signature"):
            db.execute(f"ALTER TABLE ledger ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")


def append(
    db: sqlite3.Connection, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]
) -> Entry:
    """Add an entry that follows from the last one, signed; the caller holds the transaction.

    Raises:
        ValueError: The evidence is no strict JSON.
        StateError: The key in force is not here to sign with.
    """
    row = _last(db)
    entry = link(_entry(row) if row else None, time.isoformat(), kind, subject, evidence)
    key = _signer(db, row)
    if key:
        made = keys_of(db).sign(key, entry_message(entry.digest))
        entry = replace(entry, key=made.key, signature=made.signature)
    content = canonical(entry.evidence)
    values = (entry.seq, entry.time, kind, subject, content, entry.previous, entry.digest)
    signature = (entry.key, entry.signature)
    db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values + signature)
    if key and not (row and row[7]):
        # Kept apart from the entries, so that signatures that are taken away show.
        db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (FIRST_SIGNED, str(entry.seq)))
    return entry


def keys_of(db: sqlite3.Connection) -> Keys:
    """What a connection signs with.

    Raises:
        StateError: It was given no keys.
    """
    keys = db.keys if isinstance(db, Connection) else None
    if keys is None:
        raise StateError(
            "the ledger is signed, and this program was given no keys",
            where="ledger",
            fix="open the state through its workspace",
        )
    return keys


def signing_key(db: sqlite3.Connection) -> str:
    """Id of the key in force; the first is made where nothing was signed yet.

    The caller holds the transaction, so that two processes make one.

    Raises:
        StateError: No keys were given to this connection.
    """
    return _signer(db, _last(db)) or keys_of(db).first()


def entries(db: sqlite3.Connection) -> list[Entry]:
    """All entries, oldest first."""
    return [_entry(row) for row in rows(db)]


def entries_about(db: sqlite3.Connection, subject: str) -> list[Entry]:
    """Entries about one subject, oldest first."""
    return [
        _entry(row) for row in db.execute(f"{_ROWS} WHERE subject = ? ORDER BY seq", (subject,))
    ]


def entries_of(db: sqlite3.Connection, kinds: Sequence[str]) -> list[Entry]:
    """Entries of some kinds, oldest first."""
    marks = ", ".join("?" * len(kinds))
    found = db.execute(f"{_ROWS} WHERE kind IN ({marks}) ORDER BY seq", tuple(kinds))
    return [_entry(row) for row in found]


def rows(db: sqlite3.Connection) -> Iterator[Row]:
    """All rows as they are stored, oldest first; never more than a few in memory."""
    # In order of the key, so nothing is sorted. Not by number: one may be changed to anything.
    yield from db.execute(f"{_ROWS} ORDER BY seq")


def entry(db: sqlite3.Connection, seq: int | None = None) -> Entry | None:
    """One entry, or the last one; ``None`` if there is none."""
    row = _last(db) if seq is None else _row_at(db, seq)
    return _entry(row) if row is not None else None


def audited(
    db: sqlite3.Connection,
    seal_lines: Sequence[bytes],
    project: str,
    check: Check,
    until: int,
    known: Known,
) -> Audit:
    """What ``domain.ledger_audit`` finds of this ledger.

    Args:
        db: The state.
        seal_lines: Lines of the seals.
        project: Whose ledger it is.
        check: Whether a key that is known signed a message.
        until: Entries up to here may be unsigned.
        known: What is known of it besides.
    """

    def look() -> Audit:
        void, at = revoked(db), partial(_row_at, db)
        return audit(
            *(rows(db), at, seal_lines, project, check),
            revoked=void,
            unsigned_until=until,
            known=known,
        )

    try:
        return look()
    except sqlite3.OperationalError:
        # Bytes that are no text, written from outside: read so that the place is found. Slower.
        db.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        return look()


def _row_at(db: sqlite3.Connection, seq: int) -> Row | None:
    found: Row | None = db.execute(f"{_ROWS} WHERE seq = ?", (seq,)).fetchone()
    return found


def first_signed(db: sqlite3.Connection) -> int | None:
    """Number of the first entry with a signature; ``None`` if there is none."""
    row = db.execute("SELECT seq FROM ledger WHERE signature != '' ORDER BY seq LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def revoked(db: sqlite3.Connection) -> dict[str, str]:
    """Time (ISO) from which a key is void, by the key's id."""
    found = {}
    for _, _, _, _, evidence, *_ in db.execute(f"{_ROWS} WHERE kind = ?", (REVOKED,)):
        try:
            plain = json.loads(evidence)
            found[str(plain["key"])] = str(plain["since"])
        except (ValueError, TypeError, KeyError):  # altered; the chain shows it
            continue
    return found


def _last(db: sqlite3.Connection) -> Row | None:
    found: Row | None = db.execute(f"{_ROWS} ORDER BY seq DESC LIMIT 1").fetchone()
    return found


def _signer(db: sqlite3.Connection, last: Row | None) -> str:
    """Key that signs what follows the last entry; empty if nothing is signed here."""
    if last is not None and last[7]:
        keys_of(db)  # one unsigned entry after signed ones would look like a forged one
        return key_in_force(last[2], last[4], last[7])
    keys = db.keys if isinstance(db, Connection) else None
    return keys.first() if keys is not None else ""


def _entry(row: Row) -> Entry:
    seq, time, kind, subject, evidence, previous, digest, key, signature = row
    try:
        content = dict(json.loads(evidence))
    except (ValueError, TypeError):  # altered; the chain shows it
        content = {"unreadable": str(evidence)}
    return Entry(seq, time, kind, subject, content, previous, digest, key, signature)
