"""The commands, as a person calls them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from setpoint.cli import app
from setpoint.errors import StateError
from tests.documents.conftest import Made
from tests.stages.small import make_workspace


def called(workspace_of: Made, *words: str) -> str:
    workspace = workspace_of.workspace
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    done = CliRunner().invoke(app, [*words, *where], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_documents_are_written_and_what_is_missing_is_counted(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    text = called(made, "documents", str(out))
    assert len(list(out.iterdir())) == 10
    assert f"{out / 'model-card.html'}   4 parts are missing" in text
    assert called(made, "documents", str(out), "--version", "v1") == text


def test_assess_names_score_level_and_what_is_missing_for_the_next(made: Made) -> None:
    text = called(made, "assess")
    assert "of 28 points" in text and "ML Test Score" in text
    assert "MLOps maturity level" in text and "for the next level: " in text
    assert "missing: a rollback" in " ".join(text.split())


def test_documents_of_nothing_are_one_clear_error(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    done = CliRunner().invoke(app, ["documents", str(tmp_path / "out"), *where])
    assert isinstance(done.exception, StateError)
    with pytest.raises(StateError, match="no model version yet"):
        raise done.exception
