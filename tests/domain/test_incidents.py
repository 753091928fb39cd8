"""Incidents: grouped by cause, opened as the policy says, moved only along their life."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import (
    ALLOWED,
    Cause,
    Incident,
    Policy,
    Severity,
    Status,
    cooling,
    group,
    opening,
)
from setpoint.errors import StateError

NOW = datetime(2026, 1, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _finding(name: str, outcome: Outcome = Outcome.FAILED) -> Finding:
    return Finding(name, outcome, 0.3, 0.2, "ceiling", 100, 0.01, "as measured")


def _incident(status: Status) -> Incident:
    return Incident("cards-1", Cause.DRIFT, Severity.LOW, status, NOW, "v1", (_finding("psi"),))


def _policy(**changes: str) -> Policy:
    actions = {cause: "watch" for cause in Cause} | {Cause.PERFORMANCE: "retrain"}
    named = {Cause(name): action for name, action in changes.items()}
    return Policy(actions | named, timedelta(days=5))


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("after", list(Status))
def test_an_incident_moves_only_along_its_life(before: Status, after: Status) -> None:
    incident = _incident(before)
    if after in ALLOWED[before]:
        assert incident.move(after, at=NOW).status == after
    else:
        with pytest.raises(StateError, match="cannot go from") as caught:
            incident.move(after, at=NOW)
        assert all(str(status) in caught.value.fix for status in ALLOWED[before])


def test_only_a_resolved_incident_is_closed_and_has_a_time_of_closing() -> None:
    taken = _incident(Status.OPEN).move(Status.RESPONDING, note="retraining", at=NOW)
    assert taken.is_open and taken.closed_at is None
    over = taken.move(Status.RESOLVED, at=NOW)
    assert not over.is_open and over.closed_at == NOW and over.note == "retraining"


def test_a_hundred_drifting_inputs_are_one_cause() -> None:
    found = group([replace(_finding("psi"), slice=f"x{i}") for i in range(100)])
    assert set(found) == {Cause.DRIFT} and len(found[Cause.DRIFT]) == 100


def test_only_failed_findings_make_an_incident() -> None:
    others = [_finding("recall", o) for o in Outcome if o != Outcome.FAILED]
    assert group(others) == {}


def test_a_broken_setpoint_and_drift_are_two_causes() -> None:
    found = group([_finding("recall"), _finding("psi")])
    assert {cause: [f.name for f in fs] for cause, fs in found.items()} == {
        Cause.PERFORMANCE: ["recall"],
        Cause.DRIFT: ["psi"],
    }


def test_broken_data_are_the_one_cause_of_all_that_fails_with_them() -> None:
    found = group([_finding("recall"), _finding("psi"), _finding("fault")])
    assert {cause: [f.name for f in fs] for cause, fs in found.items()} == {
        Cause.FAULT: ["fault", "recall", "psi"]
    }


def test_broken_data_ask_a_person_whatever_the_policy() -> None:
    assert _policy(drift="retrain").action(Cause.FAULT) == "ask"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("detection_rate", Cause.PERFORMANCE),
        ("loss_a_day", Cause.PERFORMANCE),
        ("misses", Cause.UNUSUAL),
        ("psi", Cause.DRIFT),
        ("estimated_recall", Cause.ESTIMATE),
        ("fairness_sex", Cause.FAIRNESS),
        ("unusual", Cause.UNUSUAL),
        ("window_age", Cause.MONITORING),
    ],
)
def test_a_finding_s_name_says_its_cause(name: str, cause: Cause) -> None:
    assert set(group([_finding(name)])) == {cause}


def test_the_policy_decides_how_an_incident_opens() -> None:
    policy = _policy()
    assert opening(policy.action(Cause.PERFORMANCE)) == (Severity.HIGH, Status.OPEN)
    assert opening(policy.action(Cause.DRIFT)) == (Severity.LOW, Status.WATCHING)
    assert opening("roll_back") == (Severity.HIGH, Status.OPEN)
    assert opening("watch_closer") == (Severity.LOW, Status.WATCHING)
    assert opening("ask") == (Severity.HIGH, Status.NEEDS_PERSON)


@pytest.mark.parametrize(
    ("status", "closer"),
    [(Status.WATCHING, True), (Status.RESPONDING, False), (Status.NEEDS_PERSON, False)],
)
def test_looks_come_four_times_as_often_while_a_cause_is_watched_closer(
    status: Status, closer: bool
) -> None:
    policy, opened = _policy(drift="watch_closer"), [_incident(status)]
    assert policy.pause(opened, 4 * HOUR) == (HOUR if closer else 4 * HOUR)
    assert policy.pause([], 4 * HOUR) == _policy().pause(opened, 4 * HOUR) == 4 * HOUR


@pytest.mark.parametrize(
    ("ago", "waits"),
    [(timedelta(0), True), (timedelta(days=4, hours=23), True), (timedelta(days=5), False)],
)
def test_a_response_waits_until_the_last_has_cooled(ago: timedelta, waits: bool) -> None:
    assert cooling(_policy(), NOW - ago, NOW) is waits


def test_the_first_response_never_waits() -> None:
    assert not cooling(_policy(), None, NOW)
