"""The command line: one clear error each, on standard error, before any work is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from setpoint.adapters.sqlite_state import StateStore
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
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
        (("acknowledge", "small-7"), "there is no incident 'small-7'"),
        (("snooze", "small-7", "--for", "3d"), "there is no incident 'small-7'"),
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


def _opened(project: Path) -> StateStore:
    state = StateStore(project / ".setpoint" / "state.db", "small")
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "[broken]")
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", (finding,))
    lines = ("moved most: x higher (PSI 0.41), since 2026-02-01 00:00",)
    state.open_incident(replace(incident, headlines=lines))
    state.open_incident(replace(incident, cause=Cause.DRIFT))
    return state


def test_incidents_are_listed_with_their_triage_and_who_looks_after_them(project: Path) -> None:
    assert "no open incident" in _setpoint(project, "incidents").stdout
    state = _opened(project)
    told = _setpoint(project, "acknowledge", "small-1", "--person", "ada")
    assert told.stdout.strip() == "small-1 is looked after by ada", told.stderr
    assert "silent until" in _setpoint(project, "snooze", "small-1", "--for", "3d").stdout
    shown = _setpoint(project, "incidents").stdout
    assert "  moved most: x higher (PSI 0.41), since 2026-02-01 00:00" in shown
    assert "  ranking: [broken]" in shown and "ada" in shown
    note = ("--note", "a test of ours", "--person", "bob")
    ended = _setpoint(project, "resolve", "small-1", *note)
    assert "small-1 is resolved: by bob: a test of ours" in ended.stdout, ended.stderr
    assert "small-1" not in _setpoint(project, "incidents").stdout
    assert "small-1" in _setpoint(project, "incidents", "--all").stdout
    said = [(e.kind, e.evidence.get("person")) for e in state.ledger()[2:]]
    assert said[0] == ("incident_acknowledged", "ada")
    assert said[1][0] == "incident_snoozed" and said[1][1]
    assert said[2] == ("incident_resolved", "bob")
    assert not state.audit_ledger((), unsigned_until=2).breaks  # ``_opened`` has no keys


@pytest.mark.parametrize("span", ["a while", "0d"])
def test_an_incident_is_not_snoozed_for_what_is_no_time(project: Path, span: str) -> None:
    state = _opened(project)
    done = _setpoint(project, "snooze", "small-1", "--for", span)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert [e.kind for e in state.ledger()] == ["incident_opened"] * 2
