"""Approvals: what people say of a version that its gates let through, before it may serve.

``waiting → approved`` once as many different people as are wanted approve; ``→ refused`` by any
one of them; ``→ expired`` at its time. Nothing follows on an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from setpoint.errors import ReleaseError


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

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        content = asdict(self)
        for name in ("asked_at", "expires_at"):
            content[name] = content[name].isoformat()
        for voice in content["voices"]:
            voice["at"] = voice["at"].isoformat()
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Request:
        """The request that ``to_dict`` wrote."""
        times = {n: datetime.fromisoformat(content[n]) for n in ("asked_at", "expires_at")}
        voices = tuple(
            Voice(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in content["voices"]
        )
        return cls(**{**content, **times, "voices": voices})
