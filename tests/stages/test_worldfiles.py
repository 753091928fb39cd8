"""The card world as a project on disk."""

from __future__ import annotations

from pathlib import Path

from setpoint.config import load_project
from setpoint.stages import assemble, ingest
from setpoint.stages.worldfiles import write_world
from setpoint.workspace import open_workspace


def test_a_written_world_is_a_project_that_can_be_taken_in_as_it_is(tmp_path: Path) -> None:
    payments, _ = write_world(tmp_path, days=12, seed=1, drift="none", drift_day=6.0)
    project = load_project(tmp_path / "setpoint.yaml")
    workspace = open_workspace(tmp_path / "setpoint.yaml", tmp_path / ".setpoint")
    ingest.ingest(workspace)
    assert project.name == "cards"
    assert assemble.history(workspace).events.num_rows == payments
