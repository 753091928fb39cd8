"""Who lets a version serve that its gates let through: the policy, or people by name.

The ledger holds what was asked and said. Facts are only what waits, and which form is shown: they
are written after the entry, so that a kill in between leaves nothing that approves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from setpoint.domain import approval as words
from setpoint.domain.approval import POLICY, Request, Standing, Voice, normal, request_in
from setpoint.domain.ledger import Entry
from setpoint.domain.markdown import one_line
from setpoint.errors import ReleaseError
from setpoint.stages import respond, sealing
from setpoint.stages.publish import PLOTS, Candidate
from setpoint.stages.signed import vouched_entry
from setpoint.workspace import Workspace

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

    def follows(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]] | None:
        known = request_in(candidate.version, entries)
        stands = known is not None and _stands(known, request, now)
        if stands and known is not None and known.standing(now) != Standing.REFUSED:
            # An approval that a revoked key signed is none: people are asked again.
            stands = _void_entry(workspace, known, entries) is None
        return None if stands else (words.ASKED, request.evidence())

    workspace.state.record_after(
        workspace.clock.now(), _subject(workspace, candidate.version), follows
    )
    workspace.state.amend(_WAITING, lambda known: _with(known, candidate.version))
    return request_of(workspace, candidate.version)


def _stands(known: Request, fresh: Request, now: datetime) -> bool:
    """Whether what was said of a version before still holds."""
    standing = known.standing(now)
    same = known.bundle == fresh.bundle
    if standing == Standing.REFUSED:
        return same
    return same and known.entry == fresh.entry and standing != Standing.EXPIRED


def request_of(workspace: Workspace, version: str) -> Request:
    """What people were asked of a version.

    Raises:
        ReleaseError: They were not asked.
    """
    found = request_in(version, workspace.state.ledger_about(_subject(workspace, version)))
    if found is None:
        raise _never_asked(version)
    shown = json.loads(workspace.state.recall(_name(version)) or "{}")
    return replace(found, forms=int(shown.get("forms", 0)), run=str(shown.get("run", "")))


def _never_asked(version: str) -> ReleaseError:
    return ReleaseError(
        f"nobody was asked to approve {version}",
        where="approval",
        fix="'setpoint status' names what waits for approval",
    )


def say(
    workspace: Workspace,
    version: str,
    person: str,
    note: str,
    *,
    approves: bool,
    now: datetime,
    login: str = "",
) -> Request:
    """A person's word on a version that waits.

    Args:
        workspace: The project.
        version: The version.
        person: Who says so.
        note: Why.
        approves: Whether it may serve.
        now: Wall time.
        login: The user of the machine who says so; empty for a form, whose name nobody verified.

    Raises:
        ReleaseError: It does not wait, or this person or login has approved it already.
    """
    person = person.strip()
    if normal(person) in ("", POLICY):
        raise ReleaseError(
            f"{person!r} is no person's name", where="approval", fix="say who approves"
        )
    voice = Voice(person, approves, note, now, login, unverified=not login)

    def follows(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
        known = request_in(version, entries)
        if known is None:
            raise _never_asked(version)
        return _word(known.heard(voice), voice)

    workspace.state.record_after(workspace.clock.now(), _subject(workspace, version), follows)
    after = request_of(workspace, version)
    if after.standing(now) == Standing.REFUSED:
        _ended(workspace, after, _refusal(after))
    return after


def _word(after: Request, voice: Voice) -> tuple[str, Mapping[str, Any]]:
    """The ledger entry of the newest voice of a request."""
    kinds = {Standing.APPROVED: words.APPROVED, Standing.REFUSED: words.REFUSED}
    told = {
        "by": voice.person,
        "note": voice.note,
        "at": voice.at.isoformat(),
        "request": after.number,
        "entry": after.entry,
        "bundle": after.bundle,
        "voices": after.people,
        "wanted": after.wanted,
        "expires_at": after.expires_at.isoformat(),
    }
    told |= {"unverified": True} if voice.unverified else {"login": voice.login}
    return kinds.get(after.standing(voice.at), words.VOICE), told


def _refusal(request: Request) -> str:
    said = request.voices[-1]
    return f"{request.version} refused by {said.who}: {said.note}"


def objection(workspace: Workspace, version: str, now: datetime) -> str:
    """Why a version may not be released; empty if it may, for all that people have to say.

    Args:
        workspace: The project.
        version: The version.
        now: Wall time.
    """
    if not workspace.project.asks_people:
        return ""
    audit = sealing.vouched(workspace)
    if audit.altered:  # what a revoked key signed is refused entry by entry below
        return f"{version} is not approved: the ledger is {audit.altered[0]}"
    entries = workspace.state.ledger_about(_subject(workspace, version))
    heard = [one for one in entries if one.kind in (words.ASKED, *words.SAID)]
    request = request_in(version, heard)
    if request is None:
        return _never_asked(version).what
    if request.bundle != workspace.registry.digest(version):
        return f"the bundle of {version} is not the one that was approved"
    void = _void_entry(workspace, request, heard)
    if void is not None:
        return f"{version} is not approved: no trusted key signed ledger entry {void}"
    wanted = max(request.wanted, workspace.project.approval.persons)
    standing = replace(request, wanted=wanted).standing(now)
    return "" if standing == Standing.APPROVED else f"{version} is not approved: {standing}"


def _void_entry(workspace: Workspace, request: Request, entries: Sequence[Entry]) -> int | None:
    """Number of the first entry of a request that no trusted key signed."""
    said = (words.ASKED, *words.SAID)
    heard = (one for one in entries if one.kind in said and one.seq >= request.number)
    return next((one.seq for one in heard if not vouched_entry(workspace, one)), None)


def waiting(workspace: Workspace) -> list[Request]:
    """Requests that nobody has brought to an end, oldest first."""
    kept = json.loads(workspace.state.recall(_WAITING) or "[]")
    asked = (request_in(v, workspace.state.ledger_about(_subject(workspace, v))) for v in kept)
    return [request_of(workspace, one.version) for one in asked if one is not None]


def expire(workspace: Workspace, now: datetime) -> list[str]:
    """End the requests whose time is over; returns their versions."""
    ended = []
    for request in waiting(workspace):
        standing = request.standing(now)
        if standing == Standing.EXPIRED:
            _expired(workspace, request)
            _ended(workspace, request, f"nobody approved {request.version} in time")
            ended.append(request.version)
        elif standing == Standing.REFUSED:  # a kill came between the word and its end
            _ended(workspace, request, _refusal(request))
    return ended


def _expired(workspace: Workspace, request: Request) -> None:
    told = {"entry": request.entry, "request": request.number}

    def follows(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]] | None:
        known = any(e.kind == words.EXPIRED and e.seq > request.number for e in entries)
        return None if known else (words.EXPIRED, told)

    subject = _subject(workspace, request.version)
    workspace.state.record_after(workspace.clock.now(), subject, follows)


def approved(workspace: Workspace, now: datetime) -> list[Request]:
    """Requests that may be released and are not yet."""
    return [one for one in waiting(workspace) if one.standing(now) == Standing.APPROVED]


def released(workspace: Workspace, version: str) -> None:
    """The release of a version has begun: it waits no more."""
    workspace.state.amend(_WAITING, lambda known: _without(known, version))


def filled_in(workspace: Workspace, version: str) -> Request:
    """The next form of a version is another one."""
    forms = request_of(workspace, version).forms + 1
    return _shown(workspace, version, forms=forms)


def held_by(workspace: Workspace, version: str, run: str) -> Request:
    """Say which flow run holds the form of a version."""
    return _shown(workspace, version, run=run)


def evidence(workspace: Workspace, request: Request) -> str:
    """What a person has to see before approving, as Markdown."""
    entry = workspace.state.entry(request.entry)
    if entry is None:
        raise ReleaseError(
            f"the ledger has no entry {request.entry}, on which {request.version} was asked for",
            where="approval",
            fix="run 'setpoint audit', and restore state.db from a backup",
        )
    rows = [
        f"| {f['name']} {one_line(str(f.get('slice') or ''))} | {_number(f.get('value'))} "
        f"| {_number(f.get('setpoint'))} | {f['sample']:,} | {f['outcome']} "
        f"| {one_line(str(f['reason']))} |"
        for f in entry.evidence["verdict"]["findings"]
    ]
    run = entry.evidence.get("mlflow_run")
    said = [f"- {one_line(v.who)} approved: {one_line(v.note)}" for v in request.voices]
    return "\n".join(
        [
            f"## May {workspace.project.name}/{request.version} serve?",
            f"cause {one_line(request.cause)}, bundle `{request.bundle[:16]}`, "
            f"ledger entry {entry.seq} `{entry.digest[:16]}`; "
            f"until {request.expires_at:%Y-%m-%d %H:%M} UTC; "
            f"{request.people} of {request.wanted} people approved",
            "",
            "| finding | value | setpoint | rows | outcome | reason |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *([f"Pictures: {PLOTS} among the artifacts of MLflow run {run}", ""] if run else []),
            *said,
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _ended(workspace: Workspace, request: Request, reason: str) -> None:
    released(workspace, request.version)
    respond.not_approved(workspace, request.cause, reason)


def _shown(workspace: Workspace, version: str, **told: object) -> Request:
    """Keep which form is shown: a convenience, no part of what was said."""
    workspace.state.amend(
        _name(version), lambda known: json.dumps(json.loads(known or "{}") | told)
    )
    return request_of(workspace, version)


def _name(version: str) -> str:
    return f"approval:{version}"


def _with(known: str | None, version: str) -> str:
    return json.dumps([*json.loads(_without(known, version)), version])


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
    workspace.state.record(workspace.clock.now(), kind, _subject(workspace, version), told)


def _subject(workspace: Workspace, version: str) -> str:
    return f"{workspace.project.name}/{version}"
