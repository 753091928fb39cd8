"""Approvals: what people say of a version that its gates let through, before it may serve.

``waiting → approved`` once as many different people as are wanted approve; ``→ refused`` by any
one of them; ``→ expired`` at its time. Nothing follows on an end.
"""

from __future__ import annotations

import re
import unicodedata
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
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing: Default_Ignorable_Code_Point of the Unicode Character
Database, without those of a category C."""


def normal(name: str) -> str:
    """A name as it is compared: what looks the same, or differs in case alone, is one name.

    Compatibility caseless match (The Unicode Standard, 3.13, D146), without characters that show
    nothing (categories C, format characters among them), and with single blanks inside alone.
    Letters of two scripts that look alike stay different.

    Args:
        name: As typed.
    """
    spaced = " ".join(unicodedata.normalize("NFKC", name).split())
    seen = "".join(one for one in spaced if not unicodedata.category(one).startswith("C"))
    for _ in range(2):
        seen = unicodedata.normalize("NFKC", _UNSEEN.sub("", seen).casefold())
    return " ".join(seen.split())


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
        login: The user of the machine who gave the command; empty for a form, and in entries of
            before logins were kept.
        unverified: Whether nothing but the form vouches for the name.
    """

    person: str
    approves: bool
    note: str
    at: datetime
    login: str = ""
    unverified: bool = False

    @property
    def names(self) -> frozenset[str]:
        """All that it may be told by, as compared: of one person, whichever of them two share."""
        return frozenset(filter(None, map(normal, (self.person, self.login))))

    @property
    def who(self) -> str:
        """Person and login, for people."""
        if self.unverified:
            return f"{self.person} (name as typed in a form)"
        same = normal(self.login) in ("", normal(self.person))
        return self.person if same else f"{self.person} (login {self.login})"


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
        if self.people >= self.wanted:
            return Standing.APPROVED
        return Standing.EXPIRED if now >= self.expires_at else Standing.WAITING

    @property
    def people(self) -> int:
        """How many different people spoke: two voices that share a name or a login are one's."""
        known: set[str] = set()
        count = 0
        for voice in self.voices:
            if known.isdisjoint(voice.names):
                known |= voice.names
                count += 1
        return count

    def heard(self, voice: Voice) -> Request:
        """The request with one more voice.

        Raises:
            ReleaseError: It does not wait any more, or this person, or one of this login, has
                approved and does so again.
        """
        standing = self.standing(voice.at)
        if standing != Standing.WAITING:
            raise ReleaseError(
                f"{self.version} is {standing} already",
                where="approval",
                fix="'setpoint deliver' trains a version that is asked about anew",
            )
        same = [one for one in self.voices if not one.names.isdisjoint(voice.names)]
        if voice.approves and same:
            also = "" if same[0].who == voice.who else f", as {same[0].who}"
            raise ReleaseError(
                f"{voice.who} has approved {self.version} already{also}; {self.wanted} people must",
                where="approval",
                fix="have another person look at it, who answers with a login of their own",
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
            voice = Voice(
                str(told["by"]),
                one.kind != REFUSED,
                str(told.get("note", "")),
                at,
                str(told.get("login", "")),
                told.get("unverified") is True,
            )
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
