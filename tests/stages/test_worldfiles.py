"""The card world as a project on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.config import load_project
from setpoint.errors import ProjectFileError
from setpoint.stages import assemble, ingest
from setpoint.stages.worldfiles import write_world
from setpoint.workspace import open_workspace


def test_a_written_world_is_a_project_that_can_be_taken_in_as_it_is(tmp_path: Path) -> None:
    payments, _ = write_world(tmp_path, days=12, seed=1, drift="none", drift_day=60.0)
    project = load_project(tmp_path / "setpoint.yaml")
    workspace = open_workspace(tmp_path / "setpoint.yaml", tmp_path / ".setpoint")
    ingest.ingest(workspace)
    assert project.name == "cards"
    assert assemble.history(workspace).events.num_rows == payments


def test_a_world_never_overwrites_a_project_file(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("mine")
    with pytest.raises(ProjectFileError, match="the file exists") as caught:
        write_world(tmp_path, days=2, seed=1, drift="none", drift_day=0.0)
    assert caught.value.where == str(tmp_path / "setpoint.yaml") and caught.value.fix
    assert (tmp_path / "setpoint.yaml").read_text() == "mine"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("day", [-1.0, 12.0, 60.0, float("nan")])
def test_a_drift_outside_the_days_of_the_world_is_refused(day: float, tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=rf"(?s)day {day:g}.*below 12") as caught:
        write_world(tmp_path, days=12, seed=1, drift="concept", drift_day=day)
    assert "--drift-day" in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectFileError, match="cannot be written"):
        write_world(tmp_path / "file" / "world", days=2, seed=1, drift="none", drift_day=0.0)
