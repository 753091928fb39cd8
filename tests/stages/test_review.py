"""A word on the project file counts for the bytes that a person read, and for no others."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from setpoint.cli import app
from setpoint.domain.findings import Outcome
from setpoint.errors import ProjectFileError
from setpoint.stages import review
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.review import review_findings
from setpoint.stages.gates.run import GATES
from setpoint.workspace import StreamClock, Workspace
from tests.stages.small import PROJECT, T0, make_workspace
from tests.tampering import attack

ASKED = PROJECT.replace("gates: {", "gates: {reviewed: true, ")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, ASKED)
    StreamClock(made.state).advance(T0)
    return made


def _said(workspace: Workspace) -> int:
    digest = review.current(workspace)
    return review.review(workspace, digest[:8], "Ada", "read all of it", "ada").seq


def _asked(workspace: Workspace) -> tuple[Outcome, str]:
    nothing: Any = None
    [found] = review_findings(Case(workspace, nothing, nothing, nothing, "manual"))
    assert (found.value, found.setpoint) == (float(found.passed), 1.0)
    return found.outcome, found.reason


def test_a_file_that_nobody_has_read_keeps_the_gate_shut(workspace: Workspace) -> None:
    outcome, reason = _asked(workspace)
    assert outcome == Outcome.FAILED and "'setpoint review' shows it" in reason
    seq = _said(workspace)
    outcome, reason = _asked(workspace)
    assert outcome == Outcome.PASSED and f"read by Ada (ledger entry {seq})" in reason
    assert review_findings in GATES


def test_one_more_byte_needs_another_word(workspace: Workspace) -> None:
    _said(workspace)
    with workspace.project_file.open("a", encoding="utf-8") as file:
        file.write("\n")
    assert _asked(workspace)[0] == Outcome.FAILED


def test_a_word_that_no_trusted_key_signed_opens_nothing(workspace: Workspace) -> None:
    seq = _said(workspace)
    attack(workspace.state.path, f"UPDATE ledger SET signature = '' WHERE seq = {seq}")
    assert _asked(workspace)[0] == Outcome.FAILED


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
    ],
)
def test_a_word_on_another_file_or_of_nobody_is_refused(
    workspace: Workspace, digest: str | None, person: str, told: str
) -> None:
    given = review.current(workspace) if digest is None else digest
    with pytest.raises(ProjectFileError, match=told):
        review.review(workspace, given, person, "", "ada")
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
