"""Incidents, and who was told of them, as rows of the state database.

The caller holds the transaction; a change of an incident and its ledger entry are in one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from setpoint.adapters import sqlite_ledger
from setpoint.domain.escalation import Mark
from setpoint.domain.findings import Finding
from setpoint.domain.incidents import Attention, Cause, Incident, Severity, Status, worse
from setpoint.domain.ledger import canonical
from setpoint.errors import StateError

SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
    number INTEGER PRIMARY KEY AUTOINCREMENT, status TEXT NOT NULL, cause TEXT NOT NULL,
    opened_at TEXT NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_open_per_cause ON incidents (cause)
    WHERE status != 'resolved';
CREATE TABLE IF NOT EXISTS told (
    incident TEXT NOT NULL, channel TEXT NOT NULL, mark TEXT, claimed_until TEXT,
    PRIMARY KEY (incident, channel));
"""


def open_or_renew(db: sqlite3.Connection, project: str, fresh: Incident) -> tuple[Incident, bool]:
    """Open an incident, or give the one open for the same cause the newer evidence."""
    row = db.execute(
        "SELECT number, body FROM incidents WHERE cause = ? AND status != 'resolved'",
        (fresh.cause,),
    ).fetchone()
    if row is not None:
        known = _incident(row[1]).renewed(fresh)
        db.execute("UPDATE incidents SET body = ? WHERE number = ?", (_body(known), row[0]))
        return known, False
    number = db.execute(
        "INSERT INTO incidents (status, cause, opened_at, body) VALUES (?, ?, ?, '')",
        (fresh.status, fresh.cause, fresh.opened_at.isoformat()),
    ).lastrowid
    named = replace(fresh, id=f"{project}-{number}")
    db.execute("UPDATE incidents SET body = ? WHERE number = ?", (_body(named), number))
    evidence = {
        "cause": named.cause,
        "version": named.version,
        "findings": [f.to_dict() for f in named.findings],
    }
    sqlite_ledger.append(db, named.opened_at, "incident_opened", named.id, evidence)
    return named, True


def move(db: sqlite3.Connection, was: Incident, now: Incident, time: datetime, person: str) -> bool:
    """Write an incident's next status; False, and nothing, if it moved since it was read."""
    found = find(db, was.id)
    if (found.status, found.taken_by) != (was.status, was.taken_by):
        return False
    # Who reads it holds it for hours: evidence and attention may have changed meanwhile.
    kept = replace(
        now,
        severity=worse(found.severity, now.severity),
        findings=found.findings,
        headlines=found.headlines,
        attention=found.attention.moved(now.status),
    )
    write(db, kept)
    evidence = {"note": now.note} | ({"person": person} if person else {})
    sqlite_ledger.append(db, time, f"incident_{now.status}", now.id, evidence)
    return True


def attend(db: sqlite3.Connection, was: Incident, attention: Attention) -> bool:
    """Write who looks after an incident; False, and nothing, if that changed since it was read."""
    found = find(db, was.id)
    if (found.status, found.severity, found.attention) != (was.status, was.severity, was.attention):
        return False
    write(db, replace(found, attention=attention))
    return True


def find(db: sqlite3.Connection, incident_id: str) -> Incident:
    """One incident.

    Raises:
        StateError: There is none of that id.
    """
    tail = incident_id.rpartition("-")[2]
    row = None
    if tail.isdigit():
        row = db.execute("SELECT body FROM incidents WHERE number = ?", (int(tail),)).fetchone()
    if row is None or _incident(row[0]).id != incident_id:
        raise StateError(
            f"there is no incident {incident_id!r}",
            where="incidents",
            fix="'setpoint incidents' lists the open ones, with --all every one",
        )
    return _incident(row[0])


def every(db: sqlite3.Connection, *, only_open: bool) -> list[Incident]:
    """All incidents, oldest first."""
    where = "WHERE status != 'resolved'" if only_open else ""
    rows = db.execute(f"SELECT body FROM incidents {where} ORDER BY number").fetchall()
    return [_incident(body) for (body,) in rows]


def untold(db: sqlite3.Connection) -> list[Incident]:
    """Incidents of which something is or may yet be to be told, oldest first."""
    rows = db.execute(
        "SELECT body FROM incidents WHERE status != 'resolved' "
        "OR json_extract(body, '$.attention.settled') = 0 ORDER BY number"
    ).fetchall()
    return [_incident(body) for (body,) in rows]


def write(db: sqlite3.Connection, incident: Incident) -> None:
    """Write an incident as it is now."""
    db.execute(
        "UPDATE incidents SET status = ?, body = ? WHERE number = ?",
        (incident.status, _body(incident), int(incident.id.rpartition("-")[2])),
    )


# who was told


def told(db: sqlite3.Connection, incident_id: str) -> dict[str, Mark]:
    """The last that each channel took of an incident."""
    rows = db.execute(
        "SELECT channel, mark FROM told WHERE incident = ? AND mark IS NOT NULL", (incident_id,)
    )
    return {channel: Mark(**json.loads(mark)) for channel, mark in rows}


def claim(
    db: sqlite3.Connection, incident_id: str, channel: str, wall: datetime, until: datetime
) -> bool:
    """Take it on to tell a channel; False while another run has taken it on.

    Args:
        db: The connection, in a transaction.
        incident_id: The incident.
        channel: Name of the channel.
        wall: The time.
        until: When the claim lapses, should the run be killed.
    """
    row = db.execute(
        "SELECT claimed_until FROM told WHERE incident = ? AND channel = ?", (incident_id, channel)
    ).fetchone()
    if row is not None and row[0] is not None and datetime.fromisoformat(row[0]) > wall:
        return False
    db.execute(
        "INSERT INTO told VALUES (?, ?, NULL, ?) ON CONFLICT (incident, channel) "
        "DO UPDATE SET claimed_until = excluded.claimed_until",
        (incident_id, channel, until.isoformat()),
    )
    return True


def end_claim(db: sqlite3.Connection, incident_id: str, channel: str, mark: Mark | None) -> None:
    """End a claim: the channel took ``mark``, or nothing."""
    text = canonical(asdict(mark)) if mark is not None else None
    db.execute(
        "UPDATE told SET mark = coalesce(?, mark), claimed_until = NULL "
        "WHERE incident = ? AND channel = ?",
        (text, incident_id, channel),
    )


# as text

_TIMES = ("since", "acknowledged_at", "snoozed_until")


def _body(incident: Incident) -> str:
    content = asdict(replace(incident, findings=()))
    content["findings"] = [f.to_dict() for f in incident.findings]
    content["opened_at"] = incident.opened_at.isoformat()
    content["closed_at"] = incident.closed_at.isoformat() if incident.closed_at else None
    attention = content["attention"]
    for name in _TIMES:
        attention[name] = attention[name].isoformat() if attention[name] else None
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
        headlines=tuple(c.get("headlines", ())),
        attention=_attention(c.get("attention", {})),
    )


def _attention(content: Mapping[str, Any]) -> Attention:
    """What is kept of it; incidents that were written before there was any have none."""
    times = {n: datetime.fromisoformat(content[n]) for n in _TIMES if content.get(n)}
    return Attention(**{**content, **{n: times.get(n) for n in _TIMES}})
