"""A version of high risk serves only once people have approved exactly what its gates saw."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.config import load_project
from setpoint.domain.approval import Standing
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import ReleaseError
from setpoint.stages import approval, release, respond
from setpoint.stages.publish import Candidate
from setpoint.workspace import Workspace
from tests.stages.releasing import two_versions
from tests.stages.small import PROJECT, T0
from tests.tampering import attack, chain_again

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HIGH = PROJECT + "risk_tier: high\n"
FOUR_EYES = HIGH + "approval: {persons: 2}\n"
FINDING = {"name": "ranking", "value": 0.7, "setpoint": 0.6, "sample": 500, "outcome": "passed",
           "reason": "bounds .65 to .75", "slice": ""}  # fmt: skip


def _made(folder: Path, text: str) -> Workspace:
    workspace, _, _ = two_versions(folder, text)
    verdict = {"verdict": {"outcome": "passed", "findings": [FINDING]}, "mlflow_run": "run"}
    workspace.state.record(T0, "accepted", "small/v2", verdict)
    return workspace


def _candidate(workspace: Workspace) -> Candidate:
    digest = workspace.registry.digest("v2")
    return Candidate("v2", "", digest, "run", "snapshot", {}, T0)


def _kinds(workspace: Workspace) -> list[str]:
    return [entry.kind for entry in workspace.state.ledger()]


def test_where_no_person_is_asked_the_policy_approves_and_never_a_person(tmp_path: Path) -> None:
    workspace = _made(tmp_path, PROJECT)
    assert approval.ask(workspace, _candidate(workspace), "first", NOW) is None
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.evidence["by"]) == ("approved", "policy")
    assert release.begin(workspace, "v2", "first", "a run").challenger == "v2"


def test_without_an_approval_nothing_of_high_risk_is_released(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    with pytest.raises(ReleaseError, match="nobody was asked to approve v2"):
        release.begin(workspace, "v2", "first", "a run")
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    with pytest.raises(ReleaseError, match="v2 is not approved"):
        release.begin(workspace, "v2", "first", "a run")
    later = datetime.now(UTC)
    approval.ask(workspace, _candidate(workspace), "first", later)
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=later)
    assert release.begin(workspace, "v2", "first", "a run").challenger == "v2"


def test_what_was_approved_is_one_bundle_and_no_other(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=NOW)
    assert approval.objection(workspace, "v2", NOW) == ""
    workspace.registry.tag("v2", "bundle_digest", "1" * 64)
    assert "not the one that was approved" in approval.objection(workspace, "v2", NOW)


def test_each_word_is_in_the_ledger_with_who_and_on_what(tmp_path: Path) -> None:
    workspace = _made(tmp_path, FOUR_EYES)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=NOW)
    approval.say(workspace, "v2", "bob", "fine too", approves=True, now=NOW)
    assert _kinds(workspace)[-3:] == ["approval_asked", "approval_voice", "approved"]
    told = workspace.state.ledger()[-1].evidence
    digest = workspace.registry.digest("v2")
    assert (told["by"], told["note"], told["bundle"]) == ("bob", "fine too", digest)
    verdict = next(e for e in workspace.state.ledger() if e.kind == "accepted")
    assert told["entry"] == verdict.seq


def test_two_words_in_one_instant_are_both_heard(tmp_path: Path) -> None:
    workspace = _made(tmp_path, FOUR_EYES)
    approval.ask(workspace, _candidate(workspace), "first", NOW)

    def say(person: str) -> None:
        approval.say(workspace, "v2", person, "fine", approves=True, now=NOW)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(say, ["ann", "bob"]))
    assert approval.request_of(workspace, "v2").standing(NOW) == Standing.APPROVED


def test_one_login_is_no_four_eyes_and_a_form_s_name_is_marked(tmp_path: Path) -> None:
    workspace = _made(tmp_path, FOUR_EYES)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "anna", "fine", approves=True, now=NOW, login="joe")
    for person, login in (("bob", "joe"), ("Anna\u200b", "sue"), ("joe", "")):
        with pytest.raises(ReleaseError, match=r"has approved v2 already, as anna \(login joe"):
            approval.say(workspace, "v2", person, "me", approves=True, now=NOW, login=login)
    request = approval.request_of(workspace, "v2")
    assert request.standing(NOW) == Standing.WAITING
    assert "1 of 2 people" in approval.evidence(workspace, request)
    approval.say(workspace, "v2", "bob", "fine too", approves=True, now=NOW)
    assert approval.objection(workspace, "v2", NOW) == ""
    by_command, by_form = (one.evidence for one in workspace.state.ledger()[-2:])
    assert by_command["login"] == "joe" and "unverified" not in by_command
    assert by_form["unverified"] is True and "login" not in by_form


@pytest.mark.parametrize("person", ["", "  ", "policy", "Policy", "\u200b"])
def test_nobody_approves_without_a_name_or_as_the_policy(tmp_path: Path, person: str) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    with pytest.raises(ReleaseError, match="is no person's name"):
        approval.say(workspace, "v2", person, "fine", approves=True, now=NOW)


def test_what_nobody_approves_in_time_ends_and_its_incident_says_so(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    fresh = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", ())
    incident, _ = workspace.state.open_incident(fresh)
    respond.held(workspace, incident, "v2 held: it waits for approval")
    approval.ask(workspace, _candidate(workspace), incident.id, NOW)
    assert [one.version for one in approval.waiting(workspace)] == ["v2"]
    assert approval.expire(workspace, NOW + timedelta(days=6)) == []
    assert approval.expire(workspace, NOW + timedelta(days=7)) == ["v2"]
    assert not approval.waiting(workspace) and _kinds(workspace)[-1] != "approved"
    assert "nobody approved v2 in time" in workspace.state.incident(incident.id).note


def test_the_evidence_shows_every_finding_and_the_entry_it_is_from(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    request = approval.ask(workspace, _candidate(workspace), "first", NOW)
    assert request is not None
    shown = approval.evidence(workspace, request)
    assert "| ranking  | 0.7 | 0.6 | 500 | passed | bounds .65 to .75 |" in shown
    assert f"ledger entry {request.entry}" in shown
    assert "plots among the artifacts of MLflow run run" in shown


def test_words_of_a_person_cannot_look_like_evidence(tmp_path: Path) -> None:
    workspace = _made(tmp_path, FOUR_EYES)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    note = "fine\n\n| fairness_sex | passed |\n|---|---|\n2 of 2 people approved **now**"
    request = approval.say(workspace, "v2", "ada", note, approves=True, now=NOW, login="ada")
    shown = approval.evidence(workspace, request)
    [line] = [one for one in shown.splitlines() if "fairness_sex" in one]
    assert line.startswith("- ada approved: fine \\| fairness_sex") and "\\*\\*now" in line


def test_a_fact_that_was_written_from_outside_approves_nothing(tmp_path: Path) -> None:
    workspace = _made(tmp_path, FOUR_EYES)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    voices = [
        {"person": p, "approves": True, "note": "x", "at": NOW.isoformat()} for p in ("a", "b")
    ]
    forged = json.loads(workspace.state.recall("approval:v2") or "{}") | {"voices": voices}
    workspace.state.remember("approval:v2", json.dumps(forged))
    assert approval.objection(workspace, "v2", NOW) == "v2 is not approved: waiting"
    assert approval.approved(workspace, NOW) == []


def test_an_entry_that_nobody_signed_approves_nothing(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=NOW)
    assert approval.objection(workspace, "v2", NOW) == ""
    attack(workspace.state.path, "UPDATE ledger SET key = '', signature = '' "
           "WHERE kind = 'approved'")  # fmt: skip
    chain_again(workspace.state.path)
    assert "the ledger is broken" in approval.objection(workspace, "v2", NOW)


def test_what_a_key_signed_that_was_revoked_approves_nothing(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=NOW)
    old, _ = workspace.state.rotate_key(NOW, "ann")
    assert approval.objection(workspace, "v2", NOW) == ""
    workspace.state.revoke_key(old, NOW + timedelta(days=999), NOW, "ann")
    assert "no trusted key signed" in approval.objection(workspace, "v2", NOW)


def test_void_entries_stop_no_approval_by_keys_that_are_not_revoked(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "eve", "fine", approves=True, now=NOW)
    old, _ = workspace.state.rotate_key(NOW, "ann")
    workspace.state.revoke_key(old, T0, NOW, "ann")
    assert "no trusted key signed" in approval.objection(workspace, "v2", NOW)
    again = approval.ask(workspace, _candidate(workspace), "first", NOW)  # what eve said is void
    assert again is not None and again.standing(NOW) == Standing.WAITING
    assert approval.objection(workspace, "v2", NOW) == "v2 is not approved: waiting"
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=NOW)
    assert approval.objection(workspace, "v2", NOW) == ""
    assert _kinds(workspace).count("approval_asked") == 2


def test_a_kill_between_entry_and_fact_leaves_no_approval_without_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = _made(tmp_path, HIGH)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(workspace.state, "amend", killed)
        approval.ask(workspace, _candidate(workspace), "first", NOW)
    again = approval.ask(workspace, _candidate(workspace), "first", NOW)
    assert again is not None and _kinds(workspace).count("approval_asked") == 1
    assert [one.version for one in approval.waiting(workspace)] == ["v2"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(workspace.state, "amend", killed)
        approval.say(workspace, "v2", "ann", "biased", approves=False, now=NOW)
    assert "refused" in approval.objection(workspace, "v2", NOW)
    assert approval.expire(workspace, NOW) == [] and approval.waiting(workspace) == []


def test_asking_again_wipes_no_refusal_of_the_same_bundle(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "ann", "biased", approves=False, now=NOW)
    again = approval.ask(workspace, _candidate(workspace), "first", NOW)
    assert again is not None and again.standing(NOW) == Standing.REFUSED
    assert "refused" in approval.objection(workspace, "v2", NOW)


def test_four_eyes_that_are_declared_later_hold_for_what_waits(tmp_path: Path) -> None:
    workspace = _made(tmp_path, HIGH)
    approval.ask(workspace, _candidate(workspace), "first", NOW)
    approval.say(workspace, "v2", "ann", "fine", approves=True, now=NOW)
    (tmp_path / "setpoint.yaml").write_text(FOUR_EYES, "utf-8")
    stricter = replace(workspace, project=load_project(tmp_path / "setpoint.yaml"))
    assert "v2 is not approved" in approval.objection(stricter, "v2", NOW)
