"""Approvals: what people say of a version that its gates let through, before it may serve.

``waiting → approved`` once as many different people as are wanted approve; ``→ refused`` by any
one of them; ``→ expired`` at its time. Nothing follows on an end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from setpoint.domain.ledger import Entry
from setpoint.errors import ReleaseError

ASKED, VOICE, APPROVED = "approval_asked", "approval_voice", "approved"
REFUSED, EXPIRED = "approval_refused", "approval_expired"
SAID = (VOICE, APPROVED, REFUSED)
"""Kinds of the entries that hold a person's word."""
POLICY = "policy"
"""Who approves where no person has to: never the name of one."""


class Standing(StrEnum):
    """Where a request is."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Voice:
    """What one person said.

    Attributes:
        person: Who.
        approves: Whether the version may serve.
        note: Why, in the person's words.
        at: Wall time, UTC.
    """

    person: str
    approves: bool
    note: str
    at: datetime


@dataclass(frozen=True)
class Request:
    """A version that waits for people.

    Attributes:
        version: The version.
        cause: What its release will answer.
        bundle: Digest of its bundle: what is approved is this and nothing else.
        entry: Number of the ledger entry with the verdict of its gates.
        asked_at: Wall time, UTC.
        expires_at: Wall time from which on nobody can approve it.
        wanted: How many different people must approve, 1 or 2.
        voices: What was said, oldest first.
        number: Of the ledger entry that asks: every word names it, so none counts for another one.
        forms: How many forms were filled in for it.
        run: Id of the flow run that holds the form.
    """

    version: str
    cause: str
    bundle: str
    entry: int
    asked_at: datetime
    expires_at: datetime
    wanted: int
    voices: tuple[Voice, ...] = ()
    number: int = 0
    forms: int = 0
    run: str = ""

    def standing(self, now: datetime) -> Standing:
        """Where it is at a wall time."""
        if any(not voice.approves for voice in self.voices):
            return Standing.REFUSED
        if len(self.voices) >= self.wanted:
            return Standing.APPROVED
        return Standing.EXPIRED if now >= self.expires_at else Standing.WAITING

    def heard(self, voice: Voice) -> Request:
        """The request with one more voice.

        Raises:
            ReleaseError: It does not wait any more, or this person has spoken.
        """
        standing = self.standing(voice.at)
        if standing != Standing.WAITING:
            raise ReleaseError(
                f"{self.version} is {standing} already",
                where="approval",
                fix="'setpoint deliver' trains a version that is asked about anew",
            )
        if any(voice.person == one.person for one in self.voices):
            raise ReleaseError(
                f"{voice.person} has approved {self.version} already; {self.wanted} people must",
                where="approval",
                fix="have another person look at it",
            )
        return replace(self, voices=(*self.voices, voice))

    def evidence(self) -> dict[str, Any]:
        """What the entry says that asks for it, strict JSON."""
        return {
            "cause": self.cause,
            "entry": self.entry,
            "bundle": self.bundle,
            "wanted": self.wanted,
            "asked_at": self.asked_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
        }


def request_in(version: str, entries: Iterable[Entry]) -> Request | None:
    """The newest request for a version with what was said to it; ``None`` if nobody was asked.

    The ledger alone says who approved what: nothing that is not chained and signed counts.

    Args:
        version: The version.
        entries: Those about it, oldest first.
    """
    found: Request | None = None
    for one in entries:
        told = one.evidence
        if one.kind == ASKED:
            found = _asked(version, one)
        elif one.kind in SAID and found is not None and _is_answer(one, found):
            at = datetime.fromisoformat(str(told.get("at", one.time)))
            voice = Voice(str(told["by"]), one.kind != REFUSED, str(told.get("note", "")), at)
            found = replace(found, voices=(*found.voices, voice))
    return found


def _asked(version: str, entry: Entry) -> Request:
    told = entry.evidence
    expires = datetime.fromisoformat(str(told["expires_at"]))
    asked = datetime.fromisoformat(str(told.get("asked_at", entry.time)))
    return Request(
        version,
        str(told["cause"]),
        str(told["bundle"]),
        int(told["entry"]),
        asked,
        expires,
        int(told["wanted"]),
        number=entry.seq,
    )


def _is_answer(entry: Entry, to: Request) -> bool:
    told = entry.evidence
    same = told.get("bundle") == to.bundle and told.get("request", to.number) == to.number
    return same and told.get("by") != POLICY
