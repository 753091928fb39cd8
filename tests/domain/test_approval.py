"""A request for approval ends once, by enough different people, by one refusal, or by its time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.approval import Request, Standing, Voice, normal, request_in
from setpoint.domain.ledger import Entry, link
from setpoint.errors import ReleaseError

NOW = datetime(2026, 2, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=7)
ASKED = Request("v2", "first", "ab" * 32, 7, NOW, LATER, 1)
FOUR_EYES = replace(ASKED, wanted=2)


def _voice(
    person: str = "ann", approves: bool = True, at: datetime = NOW, login: str = ""
) -> Voice:
    return Voice(person, approves, "looked at it", at, login)


def test_one_person_approves_where_one_is_wanted() -> None:
    assert ASKED.standing(NOW) == Standing.WAITING
    assert ASKED.heard(_voice()).standing(LATER) == Standing.APPROVED


def test_two_different_people_are_needed_for_four_eyes() -> None:
    once = FOUR_EYES.heard(_voice())
    assert once.standing(NOW) == Standing.WAITING
    with pytest.raises(ReleaseError, match="ann has approved v2 already; 2 people must"):
        once.heard(_voice())
    assert once.heard(_voice("bob")).standing(NOW) == Standing.APPROVED


SAME = {
    "case": "Ann",
    "zero-width space": "an\u200bn",
    "blanks": " ann\u00a0",
    "full width": "\uff41nn",
    "variation selector": "ann\ufe0f",
    "control character": "ann\x00",
}


@pytest.mark.parametrize("typed", SAME.values(), ids=SAME)
def test_one_person_is_one_however_the_name_is_typed(typed: str) -> None:
    assert normal(typed) == "ann"
    with pytest.raises(ReleaseError, match="has approved v2 already"):
        FOUR_EYES.heard(_voice()).heard(_voice(typed))


def test_composed_and_sharp_letters_are_the_same_and_other_letters_are_not() -> None:
    assert normal("Zo\u00eb Wei\u00df") == normal("ZOE\u0308  WEISS")
    assert normal("ann") != normal("anne") and normal("ann berg") != normal("annberg")


@given(st.text(max_size=12))
def test_a_name_as_compared_is_compared_as_itself(name: str) -> None:
    assert normal(normal(name)) == normal(name)
    assert normal(f" {name}\u200b") == normal(name)


@pytest.mark.parametrize(
    ("first", "second", "two"),
    [
        (("ann", "ann"), ("bob", "bob"), True),
        (("ann", "joe"), ("bob", "joe"), False),  # one login speaks for two
        (("ann", "joe"), ("bob", "JOE"), False),
        (("ann", "joe"), ("joe", "bob"), False),  # who spoke for ann, by another's login
        (("ann", "ann"), ("bob", "ann"), False),
        (("ann", ""), ("bob", "joe"), True),  # a form's, or of before logins were kept
        (("ann", ""), ("bob", "ann"), False),
        (("ann", ""), ("bob", ""), True),
    ],
)
def test_two_voices_are_two_people_s_where_they_share_neither_name_nor_login(
    first: tuple[str, str], second: tuple[str, str], two: bool
) -> None:
    once = FOUR_EYES.heard(_voice(first[0], login=first[1]))
    voice = _voice(second[0], login=second[1])
    both = replace(once, voices=(*once.voices, voice))  # as an old ledger may have them
    assert both.people == (2 if two else 1)
    assert both.standing(NOW) == (Standing.APPROVED if two else Standing.WAITING)
    if two:
        assert once.heard(voice) == both
    else:
        with pytest.raises(ReleaseError, match="has approved v2 already"):
            once.heard(voice)


def test_who_shares_a_login_with_one_who_approved_may_still_refuse() -> None:
    once = FOUR_EYES.heard(_voice("ann", login="joe"))
    after = once.heard(_voice("bob", approves=False, login="joe"))
    assert after.standing(NOW) == Standing.REFUSED


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


def test_login_and_what_nobody_verified_are_read_from_the_entry() -> None:
    word = {"by": "ann", "note": "looked at it", "at": NOW.isoformat(), "bundle": "ab" * 32}
    asked = ("approval_asked", FOUR_EYES.evidence())
    said = [word | {"login": "joe"}, word | {"by": "bob", "unverified": True}, word | {"by": "cid"}]
    found = request_in("v2", _told(asked, *(("approval_voice", one) for one in said)))
    assert found is not None
    told = [(one.person, one.login, one.unverified) for one in found.voices]
    assert told == [("ann", "joe", False), ("bob", "", True), ("cid", "", False)]
