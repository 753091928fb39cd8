"""A ledger of many entries, written as the loop writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from setpoint.adapters.signing import Keys
from setpoint.adapters.sqlite_state import StateStore
from setpoint.domain.ledger import Entry, canonical, link
from setpoint.domain.seals import Seal, after
from setpoint.domain.signatures import entry_message

SEALS = 100
"""About so many seals it has, evenly over its length."""
START = "2026-01-01T00:00:00+00:00"


def lengthen(state: StateStore, keys: Keys, entries: int) -> list[bytes]:
    """Append entries, each signed and with the evidence of a gate of one finding.

    Args:
        state: Whose ledger; what it holds already stays before them.
        keys: That sign it.
        entries: How many.

    Returns:
        Lines of the seals.
    """
    lines: list[bytes] = []
    key, last = state.signing_key(), state.entry()
    with closing(sqlite3.connect(state.path)) as db, db:
        rows = _rows(state.project, keys, key, last, entries, lines)
        db.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return lines


def _rows(
    name: str, keys: Keys, key: str, last: Entry | None, entries: int, lines: list[bytes]
) -> Iterator[tuple[Any, ...]]:
    """Rows as the ledger writes them, and the seals of some in ``lines``."""
    start = datetime.fromisoformat(START if last is None else last.time)
    before = 0 if last is None else last.seq
    for number in range(1, entries + 1):
        finding = {"name": "ranking", "outcome": "passed", "value": number / entries, "n": number}
        at = (start + timedelta(seconds=number)).isoformat()
        evidence = {"findings": [finding], "stage": "canary"}
        made = link(last, at, "release_step", f"{name}/v1", evidence)
        signature = keys.sign(key, entry_message(made.digest)).signature
        last = replace(made, key=key, signature=signature)
        if number % max(1, entries // SEALS) == 0:
            seal = Seal(name, made.seq, made.digest, at, after(lines))
            lines.append(seal.signed(lambda said: keys.sign(key, said)).line())
        content = (canonical(made.evidence), made.previous, made.digest, key, signature)
        yield (before + number, at, made.kind, made.subject, *content)
