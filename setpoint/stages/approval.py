"""Who lets a version serve that its gates let through: the policy, or people by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from setpoint.domain.approval import Request, Standing, Voice
from setpoint.errors import ReleaseError
from setpoint.stages import respond
from setpoint.stages.train import Candidate
from setpoint.workspace import Workspace

POLICY = "policy"
"""Who approves where no person has to: never the name of one."""
_WAITING = "approvals_waiting"


def ask(workspace: Workspace, candidate: Candidate, cause: str, now: datetime) -> Request | None:
    """Have the policy approve a version, or ask people to.

    Args:
        workspace: The project.
        candidate: What its gates let through.
        cause: What its release answers.
        now: Wall time.

    Returns:
        The request; ``None`` where the policy approves by itself.
    """
    rule, project = workspace.project.approval, workspace.project
    verdict = _verdict(workspace, candidate.version)
    if not project.asks_people:
        why = f"risk tier {project.risk_tier}, approval.by {rule.by}: no person is asked"
        evidence = {"by": POLICY, "note": why, "entry": verdict, "bundle": candidate.digest}
        _record(workspace, "approved", candidate.version, evidence)
        return None
    request = Request(
        candidate.version, cause, candidate.digest, verdict, now, now + rule.expires, rule.persons
    )
    workspace.state.amend(_name(candidate.version), lambda _: json.dumps(request.to_dict()))
    workspace.state.amend(_WAITING, lambda known: _with(known, candidate.version))
    evidence = {"cause": cause, "entry": verdict, "bundle": candidate.digest}
    evidence |= {"wanted": rule.persons, "expires_at": request.expires_at.isoformat()}
    _record(workspace, "approval_asked", candidate.version, evidence)
    return request


def request_of(workspace: Workspace, version: str) -> Request:
    """What people were asked of a version.

    Raises:
        ReleaseError: They were not asked.
    """
    kept = workspace.state.recall(_name(version))
    if kept is None:
        raise ReleaseError(
            f"nobody was asked to approve {version}",
            where="approval",
            fix="'setpoint status' names what waits for approval",
        )
    return Request.from_dict(json.loads(kept))


def say(
    workspace: Workspace, version: str, person: str, note: str, *, approves: bool, now: datetime
) -> Request:
    """A person's word on a version that waits.

    Args:
        workspace: The project.
        version: The version.
        person: Who says so.
        note: Why.
        approves: Whether it may serve.
        now: Wall time.

    Raises:
        ReleaseError: It does not wait, or this person has spoken already.
    """
    person = person.strip()
    if not person or person == POLICY:
        raise ReleaseError(
            f"{person!r} is no person's name", where="approval", fix="say who approves"
        )
    voice = Voice(person, approves, note, now)
    after = _change(workspace, version, lambda known: known.heard(voice))
    standing = after.standing(now)
    evidence = {"by": person, "note": note, "entry": after.entry, "bundle": after.bundle}
    evidence |= {"voices": len(after.voices), "wanted": after.wanted}
    kind = {Standing.APPROVED: "approved", Standing.REFUSED: "approval_refused"}
    _record(workspace, kind.get(standing, "approval_voice"), version, evidence)
    if standing == Standing.REFUSED:
        _ended(workspace, after, f"{version} refused by {person}: {note}")
    return after


def objection(workspace: Workspace, version: str, now: datetime) -> str:
    """Why a version may not be released; empty if it may, for all that people have to say.

    Args:
        workspace: The project.
        version: The version.
        now: Wall time.
    """
    if not workspace.project.asks_people:
        return ""
    try:
        request = request_of(workspace, version)
    except ReleaseError as err:
        return err.what
    if request.bundle != workspace.registry.digest(version):
        return f"the bundle of {version} is not the one that was approved"
    standing = request.standing(now)
    return "" if standing == Standing.APPROVED else f"{version} is not approved: {standing}"


def waiting(workspace: Workspace) -> list[Request]:
    """Requests that nobody has brought to an end, oldest first."""
    kept = json.loads(workspace.state.recall(_WAITING) or "[]")
    return [request_of(workspace, version) for version in kept]


def expire(workspace: Workspace, now: datetime) -> list[str]:
    """End the requests whose time is over; returns their versions."""
    over = [one for one in waiting(workspace) if one.standing(now) == Standing.EXPIRED]
    for request in over:
        _record(workspace, "approval_expired", request.version, {"entry": request.entry})
        _ended(workspace, request, f"nobody approved {request.version} in time")
    return [one.version for one in over]


def approved(workspace: Workspace, now: datetime) -> list[Request]:
    """Requests that may be released and are not yet."""
    return [one for one in waiting(workspace) if one.standing(now) == Standing.APPROVED]


def released(workspace: Workspace, version: str) -> None:
    """The release of a version has begun: it waits no more."""
    workspace.state.amend(_WAITING, lambda known: _without(known, version))


def filled_in(workspace: Workspace, version: str) -> Request:
    """The next form of a version is another one."""
    return _change(workspace, version, lambda known: replace(known, forms=known.forms + 1))


def held_by(workspace: Workspace, version: str, run: str) -> Request:
    """Say which flow run holds the form of a version."""
    return _change(workspace, version, lambda known: replace(known, run=run))


def evidence(workspace: Workspace, request: Request) -> str:
    """What a person has to see before approving, as Markdown."""
    [entry] = [e for e in workspace.state.ledger() if e.seq == request.entry]
    rows = [
        f"| {f['name']} {f.get('slice') or ''} | {_number(f.get('value'))} "
        f"| {_number(f.get('setpoint'))} | {f['sample']:,} | {f['outcome']} | {f['reason']} |"
        for f in entry.evidence["verdict"]["findings"]
    ]
    said = [f"- {v.person} approved: {v.note}" for v in request.voices]
    return "\n".join(
        [
            f"## May {workspace.project.name}/{request.version} serve?",
            f"cause {request.cause}, bundle `{request.bundle[:16]}`, ledger entry {entry.seq} "
            f"`{entry.digest[:16]}`; until {request.expires_at:%Y-%m-%d %H:%M} UTC; "
            f"{len(request.voices)} of {request.wanted} people approved",
            "",
            "| finding | value | setpoint | rows | outcome | reason |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *said,
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _ended(workspace: Workspace, request: Request, reason: str) -> None:
    released(workspace, request.version)
    respond.not_approved(workspace, request.cause, reason)


def _change(workspace: Workspace, version: str, change: Callable[[Request], Request]) -> Request:
    request_of(workspace, version)  # for its error

    def changed(known: str | None) -> str:
        return json.dumps(change(Request.from_dict(json.loads(known or ""))).to_dict())

    return Request.from_dict(json.loads(workspace.state.amend(_name(version), changed)))


def _name(version: str) -> str:
    return f"approval:{version}"


def _with(known: str | None, version: str) -> str:
    return json.dumps([*json.loads(known or "[]"), version])


def _without(known: str | None, version: str) -> str:
    return json.dumps([one for one in json.loads(known or "[]") if one != version])


def _verdict(workspace: Workspace, version: str) -> int:
    subject = f"{workspace.project.name}/{version}"
    entries = workspace.state.ledger()
    found = [e.seq for e in entries if (e.kind, e.subject) == ("accepted", subject)]
    if not found:
        raise ReleaseError(
            f"no gate has let {version} through",
            where="approval",
            fix="run 'setpoint deliver'; only what its gates let through is approved",
        )
    return found[-1]


def _record(workspace: Workspace, kind: str, version: str, told: dict[str, object]) -> None:
    subject = f"{workspace.project.name}/{version}"
    workspace.state.record(workspace.clock.now(), kind, subject, told)
