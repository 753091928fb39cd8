"""Who was in production when, from a ledger alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from setpoint.domain.account import (
    about,
    approved_by,
    changed,
    releasing_at,
    service_at,
    services,
    stopped_at,
    told,
    verdict_of,
)
from setpoint.domain.findings import Verdict, check_value
from setpoint.domain.ledger import Entry, link

START = datetime(2026, 2, 1, tzinfo=UTC)
VERDICT = Verdict((check_value("held", 1.0, 0.0, "floor", sample=9),)).to_dict()


def ledger(*rows: tuple[int, str, str, dict[str, Any]]) -> list[Entry]:
    """Entries: hours after ``START``, kind, version, evidence."""
    found: list[Entry] = []
    for hours, kind, version, evidence in rows:
        time = (START + timedelta(hours=hours)).isoformat()
        last = found[-1] if found else None
        found.append(link(last, time, kind, f"cards/{version}", evidence))
    return found


ENTRIES = ledger(
    (0, "accepted", "v1", {"cause": "first", "verdict": VERDICT}),
    (1, "promoted", "v1", {"cause": "first", "stage": "promoted"}),
    (10, "release_started", "v2", {"cause": "cards-1", "stage": "pending"}),
    (11, "release_step", "v2", {"stage": "pending"}),
    (12, "release_step", "v2", {"stage": "shadow"}),
    (14, "release_step", "v2", {"stage": "canary 25 %"}),
    (14, "release_held", "v2", {"stage": "held"}),
    (20, "release_answered", "v2", {"person": "ada", "answer": "promote", "note": "seen"}),
    (22, "release_step", "v2", {"stage": "canary 100 %"}),
    (22, "promoted", "v2", {"cause": "cards-1", "stage": "promoted"}),
    (30, "release_started", "v1", {"cause": "cards-2", "stage": "pending"}),
    (31, "roll_back", "v1", {"cause": "cards-2", "stage": "promoted"}),
)


def after(hours: float) -> datetime:
    """A moment."""
    return START + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("hours", "version", "cause"),
    [(0.5, None, None), (1, "v1", "first"), (21.9, "v1", "first"), (22, "v2", "cards-1"),
     (31, "v1", "cards-2"), (999, "v1", "cards-2")],
)  # fmt: skip
def test_who_was_in_service_at_a_moment(
    hours: float, version: str | None, cause: str | None
) -> None:
    found = service_at(ENTRIES, after(hours))
    assert (found and found.version, found and found.cause) == (version, cause)


def test_each_served_until_the_next_took_over() -> None:
    found = services(ENTRIES)
    assert [(one.version, one.back) for one in found] == [
        ("v1", False),
        ("v2", False),
        ("v1", True),
    ]
    assert [one.until for one in found] == [after(22), after(31), None]


@pytest.mark.parametrize(
    ("hours", "stage", "percent"),
    [(11.5, "shadow", 0), (13, "canary 25 %", 25), (15, "held", 0), (21, "canary 100 %", 100),
     (30.5, "unknown", None)],
)  # fmt: skip
def test_which_step_a_release_was_in(hours: float, stage: str, percent: int | None) -> None:
    found = releasing_at(ENTRIES, after(hours))
    assert found is not None and (found.stage, found.percent) == (stage, percent)


@pytest.mark.parametrize("hours", [0, 9, 22, 29, 31, 99])
def test_between_releases_none_is_told(hours: float) -> None:
    assert releasing_at(ENTRIES, after(hours), now="canary 50 %") is None


def test_the_step_that_has_not_ended_is_that_of_the_state() -> None:
    found = releasing_at(ENTRIES[:5], after(13), now="canary 25 %")
    assert found is not None and (found.version, found.percent) == ("v2", 25)


def test_what_a_person_said_is_told_as_the_persons_and_all_else_as_the_policys() -> None:
    said = [told(one) for one in about(ENTRIES, "v2")]
    assert {one.kind: one.by for one in said}["release_answered"] == "ada"
    assert {one.by for one in said if one.kind != "release_answered"} == {"policy"}
    assert "promote; seen" in [one.text for one in said]


def test_a_stop_is_told_from_its_order_to_its_end() -> None:
    def said(scope: str) -> dict[str, Any]:
        return {"scope": scope, "stand_in": "v1", "person": "ann", "note": "biased"}

    entries = ledger(
        (1, "stopped", "v2", said("v2")),
        (2, "stopped", "all", said("all")),
        (3, "resumed", "v2", said("v2")),
    )
    scopes = [
        [one.scope for one in stopped_at(entries, START + timedelta(hours=h))] for h in range(4)
    ]
    assert scopes == [[], ["v2"], ["v2", "all"], ["all"]]


def test_who_approved_is_a_person_by_name_or_else_the_policy() -> None:
    by_policy = ledger((1, "approved", "v2", {"by": "policy"}))
    by_two = ledger(
        (1, "approval_voice", "v2", {"by": "ann"}), (2, "approved", "v2", {"by": "bob"})
    )
    voices = ledger(
        (1, "approval_asked", "v2", {}),
        (2, "approval_voice", "v2", {"by": "ann"}),
        (3, "approval_expired", "v2", {}),
        (4, "approval_asked", "v2", {}),
        (5, "approval_voice", "v2", {"by": "cid"}),
        (6, "approved", "v2", {"by": "bob"}),
    )
    assert approved_by(voices) == "bob, cid"  # what was said to an expired request counts no more
    assert approved_by(voices[:3]) == "policy"
    assert approved_by([]) == approved_by(by_policy) == "policy"
    assert approved_by(by_two) == "ann, bob"


def test_the_verdict_of_a_version_is_its_own() -> None:
    found = verdict_of(about(ENTRIES, "v1"))
    assert found is not None and found[0].seq == 1 and found[1].passed
    assert verdict_of(about(ENTRIES, "v2")) is None


def test_only_what_differs_is_told() -> None:
    assert changed({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4, "d": 5}) == {
        "a": (1, None),
        "c": (3, 4),
        "d": (None, 5),
    }


def test_in_an_empty_ledger_nobody_was_in_service() -> None:
    assert services([]) == [] and service_at([], START) is None
