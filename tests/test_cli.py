"""The command line: one clear error each, on standard error, before any work is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from setpoint.adapters.sqlite_state import StateStore
from setpoint.domain.rollout import Rollout, Stage, plan
from tests.stages.small import PROJECT, T0, make_frame, serve


def _setpoint(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from setpoint.cli import main; main()", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "setpoint.yaml").write_text(PROJECT, "utf-8")
    (tmp_path / "data").mkdir()
    make_frame(400).to_parquet(tmp_path / "data" / "1.parquet")
    return tmp_path


def test_a_demo_never_empties_a_folder_that_is_not_a_demos(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    done = _setpoint(tmp_path, "demo", "--root", ".")
    assert done.returncode == 1
    assert "nothing in it is deleted" in done.stderr
    assert (tmp_path / "mine.txt").read_text("utf-8") == "mine"


@pytest.mark.parametrize("command", ["demo", "backtest"])
def test_figures_that_cannot_be_written_are_refused_before_the_work(
    project: Path, command: str
) -> None:
    done = _setpoint(project, command, "--summary", "nowhere/s.json")
    assert done.returncode == 1
    assert "nothing can be written there" in done.stderr and not done.stdout
    assert not (project / ".setpoint").exists()


def test_a_wrong_project_file_is_one_error_that_is_never_wrapped(project: Path) -> None:
    text = PROJECT.replace("delay: 1d", "dellay: 1d")
    (project / "setpoint.yaml").write_text(text, "utf-8")
    done = _setpoint(project, "status")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    [line] = [one for one in done.stderr.splitlines() if "dellay" in one]
    assert "did you mean 'delay'?" in line


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ports": {}}'])
def test_a_half_written_platform_file_is_one_error_that_says_what_to_do(
    project: Path, content: str
) -> None:
    root = project / "state"
    root.mkdir()
    (root / "platform.json").write_text(content, "utf-8")
    done = _setpoint(project, "status", "--root", "state")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--project" in done.stderr


def test_status_of_a_project_that_never_ran_says_what_to_do_next(project: Path) -> None:
    done = _setpoint(project, "status")
    assert done.returncode == 0, done.stderr
    assert "none: run setpoint deliver" in done.stdout
    assert "down: run setpoint up" in done.stdout
    assert "nothing was looked at yet" in done.stdout


def test_a_held_release_is_shown_and_answered(project: Path) -> None:
    state = StateStore(project / ".setpoint" / "state.db", "small")
    steps = plan("canary", shadowing=False, steps=(50, 100))
    state.begin_release(Rollout("v2", "v1", steps, Stage.HELD, reason="too quiet", run="a"))
    shown = _setpoint(project, "status")
    assert "release of v2 is held: too quiet" in shown.stdout
    answered = _setpoint(project, "answer", "v2", "--promote", "--note", "it was a holiday")
    assert answered.returncode == 0, answered.stderr
    known = state.release("v2")
    assert known is not None and known.label == "canary 100 %"
    again = _setpoint(project, "answer", "v2", "--roll-back", "--note", "no")
    assert again.returncode == 1 and "another stage" in again.stderr


def test_decisions_are_exported_whole_with_their_inputs_as_columns(project: Path) -> None:
    from setpoint.config import Environment, load_project
    from setpoint.workspace import Workspace

    file = project / "setpoint.yaml"
    (project / ".setpoint").mkdir()
    serve(Workspace(load_project(file), file, project / ".setpoint", Environment()), T0, rows=30)
    span = ("--from", "2026-01-31", "--to", "2026-02-01T00:00+00:00")
    done = _setpoint(project, "export", "--out", "d.parquet", *span)
    assert done.stdout.strip() == "30 decisions in d.parquet", done.stderr
    table = pq.read_table(project / "d.parquet")
    assert table.num_rows == 30 and {"id", "score", "request", "f_x"} <= set(table.column_names)


def test_the_schema_is_json_for_an_editor(tmp_path: Path) -> None:
    assert "properties" in json.loads(_setpoint(tmp_path, "schema").stdout)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("resolve", "small-7", "--note", "x"), "there is no incident 'small-7'"),
        (("backtest", "--train-until", "soon"), "is no time"),
        (("deliver",), "the platform is not up"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_else_happens(
    project: Path, words: tuple[str, ...], told: str
) -> None:
    done = _setpoint(project, *words)
    assert done.returncode == 1
    assert told in done.stderr and "Traceback" not in done.stderr
