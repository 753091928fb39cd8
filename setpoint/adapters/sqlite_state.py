"""Incidents, releases and the ledger of one project in one SQLite file.

Every change is one transaction; a kill leaves the state before it or after it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from setpoint.adapters import sqlite_windows
from setpoint.adapters.sqlite_decisions import store_errors
from setpoint.domain.findings import Finding
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.ledger import Break, Entry, canonical, link, verify
from setpoint.domain.rollout import Rollout, Stage
from setpoint.domain.windows import WindowRecord
from setpoint.errors import ReleaseError, StateError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, status TEXT NOT NULL, cause TEXT NOT NULL,
    opened_at TEXT NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_open_per_cause ON incidents (cause)
    WHERE status != 'resolved';
CREATE TABLE IF NOT EXISTS releases (
    challenger TEXT PRIMARY KEY, stage TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    evidence TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS ledger_keeps BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_stays BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class StateStore:
    """The state of one project.

    Args:
        path: The SQLite file; made with its folder if missing.
        project: Name of the project, the first part of incident ids.

    Raises:
        StateError: The file is not a usable database.
    """

    def __init__(self, path: Path, project: str) -> None:
        self.path = path
        self.project = project
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._connect() as db:
                db.executescript("PRAGMA journal_mode=WAL;" + _SCHEMA + sqlite_windows.SCHEMA)
        except StateError as err:
            raise StateError(
                f"not a usable state database: {err.what}",
                where=str(path),
                fix="restore the file from a backup, or move it away to start anew",
            ) from err

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with store_errors(self.path):
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
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

    # incidents

    def open_incident(self, incident: Incident) -> tuple[Incident, bool]:
        """Open an incident and say so in the ledger, or find the one open for the same cause.

        Returns:
            The incident with its id, and whether it is new. An open one keeps its id and status
            and takes the newer findings.
        """
        with self._change() as db:
            row = db.execute(
                "SELECT number, body FROM incidents WHERE cause = ? AND status != 'resolved'",
                (incident.cause,),
            ).fetchone()
            if row is not None:
                known = replace(_incident(row[1]), findings=incident.findings)
                db.execute("UPDATE incidents SET body = ? WHERE number = ?", (_body(known), row[0]))
                return known, False
            number = db.execute(
                "INSERT INTO incidents (status, cause, opened_at, body) VALUES (?, ?, ?, '')",
                (incident.status, incident.cause, incident.opened_at.isoformat()),
            ).lastrowid
            named = replace(incident, id=f"{self.project}-{number}")
            db.execute("UPDATE incidents SET body = ? WHERE number = ?", (_body(named), number))
            evidence = {
                "cause": named.cause,
                "version": named.version,
                "findings": [f.to_dict() for f in named.findings],
            }
            _append(db, named.opened_at, "incident_opened", named.id, evidence)
            return named, True

    def move_incident(self, was: Incident, now: Incident, time: datetime) -> bool:
        """Write an incident's next status and say so in the ledger, both or neither.

        Args:
            was: The incident as it was read.
            now: The same in its next status.
            time: When, for the ledger.

        Returns:
            False, and nothing is written, if it moved since it was read.
        """
        with self._change() as db:
            found = _find_incident(db, was.id)
            if (found.status, found.taken_by) != (was.status, was.taken_by):
                return False
            _write_incident(db, now)
            _append(db, time, f"incident_{now.status}", now.id, {"note": now.note})
            return True

    def take_incident(self, incident_id: str, run: str) -> Incident | None:
        """Take up an open incident for a run.

        Returns:
            The incident, now responding; ``None`` if another run has it or it is over, so a
            second event for the same incident does nothing.
        """
        with self._change() as db:
            found = _find_incident(db, incident_id)
            if found.status not in (Status.OPEN, Status.WATCHING):
                return None
            taken = replace(found.move(Status.RESPONDING), taken_by=run)
            _write_incident(db, taken)
            return taken

    def incident(self, incident_id: str) -> Incident:
        """One incident.

        Raises:
            StateError: There is none of that id.
        """
        with self._connect() as db:
            return _find_incident(db, incident_id)

    def incidents(self, *, only_open: bool = False) -> list[Incident]:
        """All incidents, oldest first."""
        where = "WHERE status != 'resolved'" if only_open else ""
        with self._connect() as db:
            rows = db.execute(f"SELECT body FROM incidents {where} ORDER BY number").fetchall()
        return [_incident(body) for (body,) in rows]

    # releases

    def begin_release(self, fresh: Rollout) -> tuple[Rollout, bool]:
        """Begin a release, or take over the one of the same version that was left unsettled.

        Returns:
            The release, and whether it is new.

        Raises:
            ReleaseError: Another version is being released: two would change the same traffic.
        """
        with self._change() as db:
            for known in _unsettled(db):
                if known.challenger != fresh.challenger:
                    raise ReleaseError(
                        f"{known.challenger} is being released ({known.label}) by run {known.run}",
                        where=f"release of {fresh.challenger}",
                        fix="wait for its end; a release whose run died is taken up by the sweep",
                    )
                taken = known if known.run == fresh.run else known.taken_over(fresh.run)
                _write_release(db, taken)
                return taken, False
            _write_release(db, fresh)
            return fresh, True

    def hand_over(self, rollout: Rollout, run: str) -> None:
        """Say that another run walks a release from now on, unless it moved meanwhile."""
        with self._change() as db:
            known = _find_release(db, rollout.challenger)
            if known is not None and not known.settled and known.run == rollout.run:
                _write_release(db, known.taken_over(run))

    def save_release(self, rollout: Rollout) -> None:
        """Write where a release is; called before each step is acted on.

        Raises:
            ReleaseError: It is over, or another run walks it now.
        """
        with self._change() as db:
            known = _find_release(db, rollout.challenger)
            if known is not None and (known.settled or known.run != rollout.run):
                state = "over" if known.settled else f"walked by run {known.run} now"
                raise ReleaseError(
                    f"the release of {rollout.challenger} is {state}",
                    where=f"run {rollout.run}",
                    fix="nothing: this run stops here and changes nothing more",
                )
            _write_release(db, rollout)

    def settle_release(
        self, rollout: Rollout, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]
    ) -> None:
        """Write that a release is over, and say so in the ledger, both or neither, once."""
        with self._change() as db:
            known = _find_release(db, rollout.challenger)
            if known is not None and known.settled:
                return
            _write_release(db, replace(rollout, settled=True))
            _append(db, time, kind, subject, evidence)

    def answer_release(
        self, told: Rollout, time: datetime, subject: str, evidence: Mapping[str, Any]
    ) -> None:
        """Write what a person said to a held release, and say so in the ledger, both or neither.

        Raises:
            ReleaseError: It is not held any more.
        """
        with self._change() as db:
            known = _find_release(db, told.challenger)
            if known is None or known.stage != Stage.HELD:
                raise ReleaseError(
                    f"the release of {told.challenger} is not held any more",
                    where="release",
                    fix="'setpoint status' shows where it is",
                )
            _write_release(db, told)
            _append(db, time, "release_answered", subject, evidence)

    def release(self, challenger: str) -> Rollout | None:
        """The release of a version, if there was one."""
        with self._connect() as db:
            return _find_release(db, challenger)

    def releases_for(self, cause: str) -> list[Rollout]:
        """Releases that answered a cause, e.g. an incident's id, oldest first."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT body FROM releases WHERE json_extract(body, '$.cause') = ? ORDER BY rowid",
                (cause,),
            ).fetchall()
        return [_rollout(body) for (body,) in rows]

    def last_promoted(self) -> Rollout | None:
        """The newest release that was promoted and settled."""
        settled = "stage = 'promoted' AND json_extract(body, '$.settled') = 1"
        with self._connect() as db:
            row = db.execute(
                f"SELECT body FROM releases WHERE {settled} ORDER BY rowid DESC LIMIT 1"
            ).fetchone()
        return _rollout(row[0]) if row else None

    def unsettled_releases(self) -> list[Rollout]:
        """Releases that are not over: being walked, or left by a run that was killed."""
        with self._connect() as db:
            return _unsettled(db)

    # ledger

    def record(self, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]) -> Entry:
        """Append to the ledger."""
        with self._change() as db:
            return _append(db, time, kind, subject, evidence)

    def ledger(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._connect() as db:
            return [_entry(row) for row in db.execute("SELECT * FROM ledger ORDER BY seq")]

    def verify_ledger(self) -> Break | None:
        """The first break of the chain, or ``None``."""
        return verify(self.ledger())

    # windows

    def keep_window(self, window: WindowRecord) -> None:
        """Write what a look found; one of the same end is replaced."""
        with self._change() as db:
            sqlite_windows.keep(db, window)

    def windows(self, since: datetime | None = None) -> list[WindowRecord]:
        """Windows that end at ``since`` or later, or all, oldest first."""
        with self._connect() as db:
            return sqlite_windows.since(db, since)

    def newest_window(self) -> WindowRecord | None:
        """The window that ends last."""
        with self._connect() as db:
            return sqlite_windows.newest(db)

    # facts

    def remember(self, name: str, value: str) -> None:
        """Keep one named fact, e.g. the end of the last window that was watched."""
        with self._change() as db:
            db.execute(
                "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def recall(self, name: str) -> str | None:
        """A fact kept before."""
        with self._connect() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, time, kind, subject, evidence, previous, digest = row
    try:
        content = dict(json.loads(evidence))
    except (ValueError, TypeError):  # altered; the chain shows it
        content = {"unreadable": str(evidence)}
    return Entry(seq, time, kind, subject, content, previous, digest)


def _append(
    db: sqlite3.Connection, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]
) -> Entry:
    row = db.execute("SELECT * FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    entry = link(_entry(row) if row else None, time.isoformat(), kind, subject, evidence)
    content = canonical(evidence)
    values = (entry.seq, entry.time, kind, subject, content, entry.previous, entry.digest)
    db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return entry


def _write_release(db: sqlite3.Connection, rollout: Rollout) -> None:
    db.execute(
        "INSERT INTO releases VALUES (?, ?, ?) ON CONFLICT (challenger) "
        "DO UPDATE SET stage = excluded.stage, body = excluded.body",
        (rollout.challenger, rollout.stage, canonical(rollout.to_dict())),
    )


def _find_release(db: sqlite3.Connection, challenger: str) -> Rollout | None:
    query = "SELECT body FROM releases WHERE challenger = ?"
    row = db.execute(query, (challenger,)).fetchone()
    return _rollout(row[0]) if row else None


def _unsettled(db: sqlite3.Connection) -> list[Rollout]:
    query = "SELECT body FROM releases WHERE json_extract(body, '$.settled') = 0 ORDER BY rowid"
    return [_rollout(body) for (body,) in db.execute(query).fetchall()]


def _rollout(body: str) -> Rollout:
    return Rollout.from_dict(json.loads(body))


def _number(incident_id: str) -> int:
    return int(incident_id.rpartition("-")[2])


def _find_incident(db: sqlite3.Connection, incident_id: str) -> Incident:
    tail = incident_id.rpartition("-")[2]
    row = None
    if tail.isdigit():
        row = db.execute("SELECT body FROM incidents WHERE number = ?", (int(tail),)).fetchone()
    if row is None or _incident(row[0]).id != incident_id:
        raise StateError(
            f"there is no incident {incident_id!r}",
            where="incidents",
            fix="'setpoint status' lists the open ones",
        )
    return _incident(row[0])


def _write_incident(db: sqlite3.Connection, incident: Incident) -> None:
    db.execute(
        "UPDATE incidents SET status = ?, body = ? WHERE number = ?",
        (incident.status, _body(incident), _number(incident.id)),
    )


def _body(incident: Incident) -> str:
    content = asdict(replace(incident, findings=()))
    content["findings"] = [f.to_dict() for f in incident.findings]
    content["opened_at"] = incident.opened_at.isoformat()
    content["closed_at"] = incident.closed_at.isoformat() if incident.closed_at else None
    return canonical(content)


def _incident(body: str) -> Incident:
    c = json.loads(body)
    closed = datetime.fromisoformat(c["closed_at"]) if c["closed_at"] else None
    return Incident(
        id=c["id"],
        cause=Cause(c["cause"]),
        severity=Severity(c["severity"]),
        status=Status(c["status"]),
        opened_at=datetime.fromisoformat(c["opened_at"]),
        version=c["version"],
        findings=tuple(Finding.from_dict(f) for f in c["findings"]),
        note=c["note"],
        closed_at=closed,
        taken_by=c["taken_by"],
    )
