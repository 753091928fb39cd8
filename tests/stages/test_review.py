"""A word on the project file counts for the bytes that a person read, and for no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.cli import app
from setpoint.domain.findings import Outcome
from setpoint.errors import ProjectFileError
from setpoint.stages import review
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.review import review_findings
from setpoint.stages.gates.run import GATES
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.train import assemble, fit
from setpoint.workspace import StreamClock, Workspace, open_workspace
from tests.stages.small import PROJECT, T0, deliver, make_frame, make_workspace
from tests.tampering import attack, copied

ASKED = PROJECT.replace("gates: {", "gates: {reviewed: true, ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Candidate]:
    """A candidate of a project whose file must have been read."""
    made = make_workspace(tmp_path_factory.mktemp("review"), ASKED)
    StreamClock(made.state).advance(T0)
    deliver(made, "1.parquet", make_frame())
    snapshot = ingest(made)
    return made, publish(made, fit(made, *assemble(made, None)), snapshot, "first")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, ASKED)
    StreamClock(made.state).advance(T0)
    return made


Trained = tuple[Workspace, Candidate]


@pytest.fixture
def fresh(trained: Trained, tmp_path: Path) -> Trained:
    """The same, with a ledger of its own."""
    workspace, candidate = trained
    return copied(workspace, tmp_path), candidate


def _said(workspace: Workspace) -> int:
    digest = review.current(workspace)
    return review.review(workspace, digest[:8], "Ada", "read all of it", "ada").seq


def _asked(workspace: Workspace, candidate: Candidate) -> tuple[Outcome, str]:
    nothing: Any = None
    [found] = review_findings(Case(workspace, candidate, nothing, nothing, "manual"))
    return found.outcome, found.reason


def test_a_file_that_nobody_has_read_keeps_the_gate_shut(fresh: Trained) -> None:
    workspace, candidate = fresh
    outcome, reason = _asked(workspace, candidate)
    assert outcome == Outcome.FAILED and "'setpoint review' shows it" in reason
    seq = _said(workspace)
    outcome, reason = _asked(workspace, candidate)
    assert outcome == Outcome.PASSED and f"read by Ada (ledger entry {seq})" in reason
    assert review_findings in GATES


def test_a_word_on_todays_file_is_none_on_the_file_that_the_candidate_was_made_of(
    fresh: Trained,
) -> None:
    workspace, candidate = fresh
    other = workspace.root / "setpoint.yaml"
    other.write_text(ASKED + "\n", "utf-8")
    _said(replace(workspace, project_file=other))
    assert _asked(workspace, candidate)[0] == Outcome.FAILED
    _said(workspace)
    assert _asked(replace(workspace, project_file=other), candidate)[0] == Outcome.PASSED


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE ledger SET signature = '' WHERE kind = 'reviewed'",
        "UPDATE ledger SET evidence = json_replace(evidence, '$.project', '{}', '$.by', 'eve')"
        " WHERE kind = 'reviewed'",
    ],
)
def test_a_forged_word_opens_nothing(fresh: Trained, forged: str) -> None:
    workspace, candidate = fresh
    other = workspace.root / "setpoint.yaml"
    other.write_text(ASKED + "\n", "utf-8")
    _said(replace(workspace, project_file=other))
    digest = review.current(workspace)
    attack(workspace.state.path, forged.format(digest))
    assert review.standing_review(workspace, digest) is None
    assert _asked(workspace, candidate)[0] == Outcome.ERROR


def test_what_is_read_is_held_against_the_file_that_the_record_names(fresh: Trained) -> None:
    workspace, candidate = fresh
    workspace.registry.point(CHAMPION, candidate.version)
    assert review.reading(workspace).diff == ""
    changed = ASKED.replace("max_iter: 12", "max_iter: 13")
    other = workspace.root / "setpoint.yaml"
    other.write_text(changed, "utf-8")
    with_other = replace(workspace, project_file=other)
    with_other.__dict__["registry"] = workspace.registry
    read = review.reading(with_other)
    assert read.version == candidate.version and "max_iter: 13" in read.diff
    assert len(read.diff.splitlines()) < 12
    [kept] = workspace.project_file.parent.rglob("project/setpoint.yaml")
    before = kept.read_bytes()
    try:
        kept.write_text(changed, "utf-8")
        read = review.reading(with_other)
    finally:
        kept.write_bytes(before)
    assert read.version == "" and "+name: small" in read.diff, "all of it is to be read"


def test_what_is_recorded_of_a_training_is_the_file_that_it_was_read_from(tmp_path: Path) -> None:
    file = tmp_path / "setpoint.yaml"
    make_workspace(tmp_path, ASKED)
    opened = open_workspace(file, tmp_path / "state")
    file.write_text(PROJECT, "utf-8")
    assert opened.project.gates.reviewed
    assert opened.project_bytes == ASKED.encode()


def test_where_nobody_has_to_nothing_is_said(tmp_path: Path) -> None:
    nothing: Any = None
    plain = make_workspace(tmp_path)
    assert review_findings(Case(plain, nothing, nothing, nothing, "manual")) == []


@pytest.mark.parametrize(
    ("digest", "person", "told"),
    [
        ("0" * 64, "Ada", "was read"),
        ("", "Ada", "was read"),
        (None, "policy", "no person's name"),
        (None, "  ", "no person's name"),
        (None, "Ada", "needs a reason"),
    ],
)
def test_a_word_on_another_file_or_of_nobody_is_refused(
    workspace: Workspace, digest: str | None, person: str, told: str
) -> None:
    given = review.current(workspace) if digest is None else digest
    note = "" if "reason" in told else "read it"
    with pytest.raises(ProjectFileError, match=told):
        review.review(workspace, given, person, note, "ada")
    assert workspace.state.ledger() == []


def test_the_command_shows_the_file_and_takes_a_word_for_what_it_showed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.project_file.parent
    monkeypatch.setenv("SETPOINT_PROJECT", str(workspace.project_file))
    monkeypatch.setenv("SETPOINT_ROOT", str(folder / "state"))
    shown = CliRunner().invoke(app, ["review"])
    assert shown.exit_code == 0, shown.output
    assert "+gates: {reviewed: true" in shown.output
    digest = review.current(workspace)[:16]
    assert f"digest {digest}; nobody has reviewed it" in shown.output
    said = CliRunner().invoke(app, ["review", digest, "--note", "read it", "--person", "ada"])
    assert said.exit_code == 0, said.output
    assert "ada has reviewed it" in CliRunner().invoke(app, ["review"]).output
    half = CliRunner().invoke(app, ["review", digest])
    assert half.exit_code == 2
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.evidence["note"]) == ("reviewed", "read it")
    assert datetime.fromisoformat(entry.time).tzinfo is not None
