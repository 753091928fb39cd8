"""Incidents, releases and the ledger of one project in one SQLite file.

Every change is one transaction; a kill leaves the state before it or after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from setpoint.adapters import sqlite_incidents, sqlite_ledger, sqlite_releases, sqlite_windows
from setpoint.adapters.signing import Keys
from setpoint.adapters.sqlite_ledger_store import LedgerStore
from setpoint.domain.escalation import Mark
from setpoint.domain.incidents import Attention, Incident, Status
from setpoint.domain.rollout import Rollout, Stage
from setpoint.domain.windows import WindowRecord
from setpoint.errors import ReleaseError, StateError

_SCHEMA = f"""
{sqlite_incidents.SCHEMA}
{sqlite_ledger.SCHEMA}
{sqlite_releases.SCHEMA}
{sqlite_windows.SCHEMA}
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_REMEMBER = (
    "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
Line = tuple[datetime, str, str, Mapping[str, Any]]
"""What the ledger is told: time, kind, subject, evidence."""


class StateStore(LedgerStore):
    """The state of one project.

    Args:
        path: The SQLite file; made with its folder if missing.
        project: Name of the project, the first part of incident ids.
        keys: What the ledger is signed with; none: it is not signed.

    Raises:
        StateError: The file is not a usable database.
    """

    def __init__(self, path: Path, project: str, keys: Keys | None = None) -> None:
        super().__init__(path, project, keys)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._connect() as db:
                db.executescript("PRAGMA journal_mode=WAL;" + _SCHEMA)
                old = sqlite_releases.is_keyed(db) or sqlite_ledger.is_unsigned(db)
            if old:
                with self._change() as db:
                    sqlite_releases.allow_again(db)
                    sqlite_ledger.allow_signatures(db)
        except StateError as err:
            raise StateError(
                f"not a usable state database: {err.what}",
                where=str(path),
                fix="restore the file from a backup, or move it away to start anew",
            ) from err

    # incidents

    def open_incident(self, incident: Incident) -> tuple[Incident, bool]:
        """Open an incident and say so in the ledger, or find the one open for the same cause.

        Returns:
            The incident with its id, and whether it is new. An open one keeps its id and status
            and takes the newer findings.
        """
        with self._change() as db:
            return sqlite_incidents.open_or_renew(db, self.project, incident)

    def move_incident(
        self,
        was: Incident,
        now: Incident,
        time: datetime,
        person: str = "",
        facts: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Write an incident's next status and say so in the ledger, both or neither.

        Evidence and attention stay as they are found, whatever ``now`` says of them.

        Args:
            was: The incident as it was read.
            now: The same in its next status.
            time: When, for the ledger.
            person: Who did it, for the ledger; empty for the loop itself.
            facts: Named facts that are kept with it: nobody sees the one without the others.

        Returns:
            False, and nothing is written, if it moved since it was read.
        """
        with self._change() as db:
            moved = sqlite_incidents.move(db, was, now, time, person)
            if moved:
                db.executemany(_REMEMBER, facts.items())
            return moved

    def take_incident(self, incident_id: str, run: str) -> Incident | None:
        """Take up an open incident for a run.

        Returns:
            The incident, now responding; ``None`` if another run has it or it is over, so a
            second event for the same incident does nothing.
        """
        with self._change() as db:
            found = sqlite_incidents.find(db, incident_id)
            if found.status not in (Status.OPEN, Status.WATCHING):
                return None
            taken = replace(found.move(Status.RESPONDING), taken_by=run)
            sqlite_incidents.write(db, taken)
            return taken

    def incident(self, incident_id: str) -> Incident:
        """One incident.

        Raises:
            StateError: There is none of that id.
        """
        with self._connect() as db:
            return sqlite_incidents.find(db, incident_id)

    def incidents(self, *, only_open: bool = False) -> list[Incident]:
        """All incidents, oldest first."""
        with self._connect() as db:
            return sqlite_incidents.every(db, only_open=only_open)

    def attend_incident(
        self,
        was: Incident,
        attention: Attention,
        said: tuple[datetime, str, Mapping[str, Any]] | None = None,
    ) -> bool:
        """Write who looks after an incident, and where it is said, the ledger entry with it.

        Args:
            was: The incident as it was read.
            attention: The same from now on.
            said: Event time, kind and evidence of the entry; ``None`` for none.

        Returns:
            False, and nothing is written, if it changed since it was read.
        """
        with self._change() as db:
            written = sqlite_incidents.attend(db, was, attention)
            if written and said is not None:
                time, kind, evidence = said
                sqlite_ledger.append(db, time, kind, was.id, evidence)
            return written

    # who was told of them

    def untold_incidents(self) -> list[Incident]:
        """Incidents of which something is or may yet be to be told, oldest first."""
        with self._connect() as db:
            return sqlite_incidents.untold(db)

    def told(self, incident_id: str) -> dict[str, Mark]:
        """The last that each channel took of an incident, by its name."""
        with self._connect() as db:
            return sqlite_incidents.told(db, incident_id)

    def claim_telling(
        self, incident_id: str, channel: str, wall: datetime, until: datetime
    ) -> bool:
        """Take it on to tell a channel, so that no other run does until ``until``."""
        with self._change() as db:
            return sqlite_incidents.claim(db, incident_id, channel, wall, until)

    def end_telling(self, incident_id: str, channel: str, mark: Mark | None) -> None:
        """A channel took ``mark``, or nothing: it may be told by another run."""
        with self._change() as db:
            sqlite_incidents.end_claim(db, incident_id, channel, mark)

    # releases

    def begin_release(self, fresh: Rollout) -> tuple[Rollout, bool]:
        """Begin a release, or take over the one of the same version that was left unsettled.

        Returns:
            The release, and whether it is new.

        Raises:
            ReleaseError: Another version is being released: two would change the same traffic.
        """
        with self._change() as db:
            for known in sqlite_releases.unsettled(db):
                if known.challenger != fresh.challenger:
                    raise ReleaseError(
                        f"{known.challenger} is being released ({known.label}) by run {known.run}",
                        where=f"release of {fresh.challenger}",
                        fix="wait for its end; a release whose run died is taken up by the sweep",
                    )
                taken = known if known.run == fresh.run else known.taken_over(fresh.run)
                sqlite_releases.write(db, taken)
                return taken, False
            sqlite_releases.write(db, fresh)
            return fresh, True

    def hand_over(self, rollout: Rollout, run: str) -> None:
        """Say that another run walks a release from now on, unless it moved meanwhile."""
        with self._change() as db:
            known = sqlite_releases.find(db, rollout.challenger)
            if known is not None and not known.settled and known.run == rollout.run:
                sqlite_releases.write(db, known.taken_over(run))

    def save_release(self, rollout: Rollout) -> None:
        """Write where a release is; called before each step is acted on.

        Raises:
            ReleaseError: It is over, or another run walks it now.
        """
        with self._change() as db:
            known = sqlite_releases.find(db, rollout.challenger)
            if known is not None and (known.settled or known.run != rollout.run):
                state = "over" if known.settled else f"walked by run {known.run} now"
                raise ReleaseError(
                    f"the release of {rollout.challenger} is {state}",
                    where=f"run {rollout.run}",
                    fix="nothing: this run stops here and changes nothing more",
                )
            sqlite_releases.write(db, rollout)

    def settle_release(
        self, rollout: Rollout, time: datetime, kind: str, subject: str, evidence: Mapping[str, Any]
    ) -> None:
        """Write that a release is over, and say so in the ledger, both or neither, once."""
        with self._change() as db:
            known = sqlite_releases.find(db, rollout.challenger)
            if known is not None and known.settled:
                return
            sqlite_releases.write(db, replace(rollout, settled=True))
            sqlite_ledger.append(db, time, kind, subject, evidence)

    def answer_release(
        self, told: Rollout, time: datetime, subject: str, evidence: Mapping[str, Any]
    ) -> None:
        """Write what a person said to a held release, and say so in the ledger, both or neither.

        Raises:
            ReleaseError: It is not held any more.
        """
        with self._change() as db:
            known = sqlite_releases.find(db, told.challenger)
            if known is None or known.stage != Stage.HELD:
                raise ReleaseError(
                    f"the release of {told.challenger} is not held any more",
                    where="release",
                    fix="'setpoint status' shows where it is",
                )
            sqlite_releases.write(db, told)
            sqlite_ledger.append(db, time, "release_answered", subject, evidence)

    def release(self, challenger: str) -> Rollout | None:
        """The newest release of a version, if there was one."""
        with self._connect() as db:
            return sqlite_releases.find(db, challenger)

    def releases_for(self, cause: str) -> list[Rollout]:
        """Releases that answered a cause, e.g. an incident's id, oldest first."""
        with self._connect() as db:
            return sqlite_releases.answering(db, cause)

    def last_promoted(self) -> Rollout | None:
        """The newest release that was promoted and settled."""
        return next(reversed(self.promoted_releases()), None)

    def promoted_releases(self) -> list[Rollout]:
        """Releases that were promoted and settled, oldest first; a version that came back twice."""
        with self._connect() as db:
            return sqlite_releases.promoted(db)

    def unsettled_releases(self) -> list[Rollout]:
        """Releases that are not over: being walked, or left by a run that was killed."""
        with self._connect() as db:
            return sqlite_releases.unsettled(db)

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
            db.execute(_REMEMBER, (name, value))

    def amend(
        self,
        name: str,
        change: Callable[[str | None], str],
        entry: Callable[[], Line | None] = lambda: None,
    ) -> str:
        """Change a named fact; what others write meanwhile is not lost.

        Args:
            name: The fact.
            change: From what it is, ``None`` if it never was, to what it becomes; what it raises
                leaves everything as it was.
            entry: What the ledger then says of it, both or neither; asked after ``change``.

        Returns:
            What it has become.
        """
        with self._change() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            after = change(row[0] if row else None)
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, after))
            line = entry()
            if line is not None:
                sqlite_ledger.append(db, *line)
        return after

    def swap(self, name: str, was: str, value: str) -> bool:
        """Change a named fact if it still is what it was; whether it did."""
        with self._change() as db:
            query = "UPDATE facts SET value = ? WHERE name = ? AND value = ?"
            return db.execute(query, (value, name, was)).rowcount == 1

    def recall(self, name: str) -> str | None:
        """A fact kept before."""
        with self._connect() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None
