"""A request for approval ends once, by enough different people, by one refusal, or by its time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from setpoint.domain.approval import Request, Standing, Voice, request_in
from setpoint.domain.ledger import Entry, link
from setpoint.errors import ReleaseError

NOW = datetime(2026, 2, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=7)
ASKED = Request("v2", "first", "ab" * 32, 7, NOW, LATER, 1)
FOUR_EYES = replace(ASKED, wanted=2)


def _voice(person: str = "ann", approves: bool = True, at: datetime = NOW) -> Voice:
    return Voice(person, approves, "looked at it", at)


def test_one_person_approves_where_one_is_wanted() -> None:
    assert ASKED.standing(NOW) == Standing.WAITING
    assert ASKED.heard(_voice()).standing(LATER) == Standing.APPROVED


def test_two_different_people_are_needed_for_four_eyes() -> None:
    once = FOUR_EYES.heard(_voice())
    assert once.standing(NOW) == Standing.WAITING
    with pytest.raises(ReleaseError, match="ann has approved v2 already; 2 people must"):
        once.heard(_voice())
    assert once.heard(_voice("bob")).standing(NOW) == Standing.APPROVED


def test_one_refusal_ends_it_whatever_was_said_before() -> None:
    after = FOUR_EYES.heard(_voice()).heard(_voice("bob", approves=False))
    assert after.standing(NOW) == Standing.REFUSED
    with pytest.raises(ReleaseError, match="v2 is refused already"):
        after.heard(_voice("cid"))


def test_after_its_time_nobody_approves_it() -> None:
    assert ASKED.standing(LATER) == Standing.EXPIRED
    with pytest.raises(ReleaseError, match="v2 is expired already"):
        ASKED.heard(_voice(at=LATER))


def _told(*said: tuple[str, dict[str, Any]]) -> list[Entry]:
    entries: list[Entry] = []
    for kind, evidence in said:
        last = entries[-1] if entries else None
        entries.append(link(last, NOW.isoformat(), kind, "small/v2", evidence))
    return entries


def test_a_request_is_what_the_ledger_says_of_it_and_of_no_other_one() -> None:
    word = {"by": "ann", "note": "looked at it", "at": NOW.isoformat(), "bundle": "ab" * 32}
    asked = ("approval_asked", FOUR_EYES.evidence())
    entries = _told(asked, ("approval_voice", word | {"request": 1}))
    assert request_in("v2", entries) == replace(FOUR_EYES.heard(_voice()), number=1)
    again = _told(asked, ("approval_voice", word), asked, ("approved", word | {"request": 1}))
    assert request_in("v2", again) == replace(FOUR_EYES, number=3)
    other = _told(asked, ("approval_voice", word | {"bundle": "cd" * 32}))
    assert request_in("v2", other) == replace(FOUR_EYES, number=1)
    assert request_in("v2", other[1:]) is None
