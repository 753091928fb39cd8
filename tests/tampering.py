"""What somebody can do to a ledger who can write its file and has no key."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from setpoint.domain.ledger import GENESIS, bound, entry_digest
from setpoint.workspace import Workspace


def copied(workspace: Workspace, folder: Path) -> Workspace:
    """The same project with a state folder of its own."""
    shutil.copytree(workspace.root, folder / "state", symlinks=True)
    fresh = replace(workspace, root=folder / "state")
    fresh.__dict__["registry"] = workspace.registry
    return fresh


def attack(path: Path, *statements: str) -> None:
    """Change the file of a ledger from outside."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TRIGGER IF EXISTS ledger_keeps")
        db.execute("DROP TRIGGER IF EXISTS ledger_stays")
        for statement in statements:
            db.execute(statement)


def chain_again(path: Path, *, strip: bool = False) -> None:
    """Make all digests of a ledger again, so that its chain is whole.

    Args:
        path: Of the state database.
        strip: Take all signatures away besides.
    """
    with closing(sqlite3.connect(path)) as db, db:
        rows = db.execute("SELECT * FROM ledger ORDER BY seq").fetchall()
        previous = GENESIS
        for seq, time, kind, subject, evidence, _, _, key, signature in rows:
            digest = entry_digest(seq, time, kind, subject, json.loads(evidence), previous)
            by, made = ("", "") if strip else (key, signature)
            db.execute(
                "UPDATE ledger SET previous = ?, digest = ?, key = ?, signature = ? WHERE seq = ?",
                (previous, digest, by, made, seq),
            )
            previous = bound(digest, by, made)
