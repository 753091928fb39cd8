"""The ledger of one project and the keys that sign it, in the file of its state."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from setpoint.adapters import sqlite_ledger
from setpoint.adapters.signing import Keys
from setpoint.adapters.sqlite_link import store_errors
from setpoint.domain.ledger import REVOKED, ROTATED, Entry
from setpoint.domain.ledger_audit import NOTHING, Audit
from setpoint.domain.seals import Known
from setpoint.errors import StateError


class LedgerStore:
    """The ledger, and the transactions that whatever else is in the file changes with it.

    Args:
        path: The SQLite file.
        project: Name of the project.
        keys: What the ledger is signed with; none: it is not signed.
    """

    def __init__(self, path: Path, project: str, keys: Keys | None) -> None:
        self.path = path
        self.project = project
        self._keys = keys

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with store_errors(self.path):
            db = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, factory=sqlite_ledger.Connection
            )
            db.keys = self._keys
            try:
                db.execute("PRAGMA synchronous=FULL")
                yield db
            finally:
                db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._connect() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:  # an interrupt too must not leave half a change
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def record(self, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]) -> Entry:
        """Append to the ledger."""
        with self._change() as db:
            return sqlite_ledger.append(db, time, kind, subject, evidence)

    def record_after(
        self,
        time: datetime,
        subject: str,
        decide: Callable[[Sequence[Entry]], tuple[str, Mapping[str, Any]] | None],
    ) -> Entry | None:
        """Append what follows from the entries about a subject; nobody writes in between.

        Args:
            time: When, for the ledger.
            subject: What it is about.
            decide: From the entries about it, oldest first, to kind and evidence of the next one;
                ``None`` for none.
        """
        with self._change() as db:
            found = decide(sqlite_ledger.entries_about(db, subject))
            return (
                None
                if found is None
                else sqlite_ledger.append(db, time, found[0], subject, found[1])
            )

    def ledger_about(self, subject: str) -> list[Entry]:
        """Entries about one subject, oldest first."""
        with self._connect() as db:
            return sqlite_ledger.entries_about(db, subject)

    def ledger_of(self, *kinds: str) -> list[Entry]:
        """Entries of some kinds, oldest first."""
        with self._connect() as db:
            return sqlite_ledger.entries_of(db, kinds)

    def first_signed(self) -> int | None:
        """Number of the first entry with a signature; ``None`` if there is none."""
        with self._connect() as db:
            return sqlite_ledger.first_signed(db)

    def revoked_keys(self) -> dict[str, str]:
        """Time (ISO) from which a key is void, by its id."""
        with self._connect() as db:
            return sqlite_ledger.revoked(db)

    def ledger(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._connect() as db:
            return sqlite_ledger.entries(db)

    def entry(self, seq: int | None = None) -> Entry | None:
        """One entry, or the last one; ``None`` if there is none."""
        with self._connect() as db:
            return sqlite_ledger.entry(db, seq)

    def audit_ledger(
        self, seal_lines: Sequence[bytes], unsigned_until: int = 0, known: Known = NOTHING
    ) -> Audit:
        """Whether chain, signatures and seals hold, and where they do not.

        Args:
            seal_lines: Lines of the seals; read before this is called, as the ledger grows.
            unsigned_until: Entries up to here may be unsigned.
            known: What is known besides, read before the lines.
        """
        check = self._keys.known.check if self._keys is not None else lambda *_: True
        with self._connect() as db:
            return sqlite_ledger.audited(db, seal_lines, self.project, check, unsigned_until, known)

    def signing_key(self) -> str:
        """Id of the key in force; the first is made if there is none."""
        with self._change() as db:
            return sqlite_ledger.signing_key(db)

    def rotate_key(self, time: datetime, person: str) -> tuple[str, str]:
        """Have another key sign from now on; the old one signs the entry that says so.

        Returns:
            Ids of the old key and of the fresh one.
        """
        with self._change() as db:
            keys = sqlite_ledger.keys_of(db)
            old, new = sqlite_ledger.signing_key(db), keys.make()
            evidence = {"from": old, "to": new, "person": person}
            sqlite_ledger.append(db, time, ROTATED, f"{self.project}/keys", evidence)
        keys.keep_only(new)
        return old, new

    def revoke_key(self, key: str, since: datetime, time: datetime, person: str) -> None:
        """Trust a key no longer, and say so in the ledger.

        Raises:
            StateError: It is the key in force, or there is none of that id.
        """
        with self._change() as db:
            keys = sqlite_ledger.keys_of(db)
            if key == sqlite_ledger.signing_key(db) or key not in keys.known.ids():
                known = ", ".join(keys.known.ids())
                raise StateError(
                    f"{key} is in force, or no key of this project; its keys are {known}",
                    where="keys revoke",
                    fix="run 'setpoint keys rotate' first, so that another key is in force",
                )
            evidence = {"key": key, "since": since.isoformat(), "person": person}
            sqlite_ledger.append(db, time, REVOKED, f"{self.project}/keys", evidence)
        keys.revoke(key)
