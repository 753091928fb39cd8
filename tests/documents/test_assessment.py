"""Maturity is counted from evidence, as it was left in the stores of a workspace."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from setpoint.documents.assessment import assess, assessment_document, judge_evidence
from setpoint.documents.markup import to_html
from setpoint.documents.write import write_documents
from setpoint.domain.ledger import REVOKED, Break
from setpoint.domain.ledger_audit import Audit
from tests.documents.conftest import Made
from tests.documents.full import (
    Change,
    Told,
    full,
    left,
    recorded,
    story,
    without_finding,
)
from tests.stages.small import make_workspace
from tests.tampering import attack, chain_again, copied

LEVELS: dict[str, tuple[Change, int]] = {
    "uncommitted code": (lambda m: _commit(m, "c" * 40 + "-dirty"), 0),
    "no search": (left(trials=0), 1),
    "a broken ledger": (recorded(audit=Audit(9, 9, 0, (Break(3, "edited"),))), 2),
    "a person walked the release": (
        lambda m: full(m, [*story(), Told("release_answered", "small/v1", {})]), 2
    ),
    "no incident": (recorded(incidents=()), 3),
    "a person was asked": (
        lambda m: full(m, [*story(), Told("incident_needs_person", "small-1", {})]), 3
    ),
    "nobody counted failed answers": (without_finding("failed_answers"), 3),
    "no watch": (recorded(windows=()), 3),
}  # fmt: skip


def _commit(made: Made, commit: str):  # type: ignore[no-untyped-def]
    found = full(made)
    bundle = found.record.bundle
    bundle = replace(bundle, manifest=replace(bundle.manifest, commit=commit))
    return replace(found, record=replace(found.record, bundle=bundle))


@pytest.mark.parametrize("what", LEVELS)
def test_a_level_needs_all_of_its_evidence_and_says_what_is_missing(made: Made, what: str) -> None:
    change, level = LEVELS[what]
    found = judge_evidence(change(made))
    assert found.level.number == level and found.next
    assert len(found.reached) == level


def test_a_failed_answer_is_downtime(made: Made) -> None:
    told = [
        replace(t, evidence={**t.evidence, "evidence": _failing(t.evidence["evidence"])})
        if t.kind == "release_step" else t
        for t in story()
    ]  # fmt: skip
    assert judge_evidence(full(made, told)).level.number == 3


def _failing(verdict: dict) -> dict:  # type: ignore[type-arg]
    findings = [
        {**f, "value": 0.001} if f["name"] == "failed_answers" else f for f in verdict["findings"]
    ]
    return {**verdict, "findings": findings}


def test_a_project_without_a_version_has_nothing(tmp_path: Path) -> None:
    found = assess(make_workspace(tmp_path))
    assert (found.points, found.level.number) == (0, 0)
    assert found.next == ("there is no model version yet",)
    assert "there is no model version yet" in to_html(assessment_document("small", found))


def test_a_real_workspace_is_read_from_its_stores(made: Made) -> None:
    found = assess(made.workspace)
    told = {t.name: t for ts in found.sections.values() for t in ts}
    assert told["Feature expectations are captured in a schema"].points == 1
    assert "fairness_sex" in told["The model is tested for considerations of inclusion"].evidence
    assert told["Models are canaried before serving"].points == 0
    assert found.level.number <= 2


def test_an_altered_bundle_is_no_evidence(made: Made) -> None:
    file = made.workspace.bundle(made.candidate.version) / "decision.json"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole + b" ")
        found = assess(made.workspace)
    finally:
        file.write_bytes(whole)
    assert found.points == 0 and "was altered" in found.next[0]


def test_entries_that_a_revoked_key_signed_give_no_points_and_the_documents_say_so(
    made: Made, tmp_path: Path
) -> None:
    workspace = copied(made.workspace, tmp_path)
    first = workspace.state.ledger()[0]
    old, _ = workspace.state.rotate_key(datetime.fromisoformat(first.time), "ann")
    # Of the bundle's and the snapshots' signatures is not asked here.
    workspace.state.record(
        datetime.fromisoformat(first.time), REVOKED, "small/keys", {"key": old, "since": first.time}
    )
    found = assess(workspace)
    assert (found.points, found.level.number) == (0, 0)
    assert "void at entry 1" in found.next[0]
    documents = write_documents(workspace, tmp_path / "out", made.candidate.version)
    for name in ("ai-act", "model-card", "datasheet"):
        text = next(f for f in documents if f.name == f"{name}.md").read_text("utf-8")
        assert "with entries that prove nothing" in text and "void at entry 1" in text, name


FORGED = "UPDATE ledger SET evidence = json_set(evidence, '$.by', 'anna') WHERE seq = 1"


def test_a_forged_ledger_gives_no_points_and_the_documents_say_where_it_does_not_hold(
    made: Made, tmp_path: Path
) -> None:
    workspace = copied(made.workspace, tmp_path)
    attack(workspace.state.path, FORGED)
    chain_again(workspace.state.path, strip=True)
    found = assess(workspace)
    assert (found.points, found.level.number) == (0, 0)
    assert "broken at entry 1" in found.next[0]
    documents = write_documents(workspace, tmp_path / "out", made.candidate.version)
    for name in ("ai-act", "model-card", "datasheet"):
        text = next(f for f in documents if f.name == f"{name}.md").read_text("utf-8")
        assert "WHICH DOES NOT VERIFY" in text and "entry 1" in text, name
