"""The state folder: half-written, damaged, or another project's, it says so and what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.adapters.sqlite_state import StateStore
from setpoint.errors import SetpointError, StateError
from setpoint.workspace import StreamClock, Workspace, open_workspace
from tests.stages.small import PROJECT, make_workspace


def _file(folder: Path, name: str = "small") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(PROJECT.replace("name: small", f"name: {name}"))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def test_a_folder_is_claimed_once_and_opened_again(tmp_path: Path) -> None:
    first = open_workspace(_file(tmp_path), tmp_path / "state")
    again = open_workspace(_file(tmp_path), tmp_path / "state")
    assert first.root == again.root and (first.root / "project").read_text() == "small"


def test_the_folder_of_another_project_is_refused(tmp_path: Path) -> None:
    open_workspace(_file(tmp_path), tmp_path / "state")
    with pytest.raises(StateError, match="belongs to project 'small', not to 'other'") as caught:
        open_workspace(_file(tmp_path, "other"), tmp_path / "state")
    assert "--root" in caught.value.fix
    assert (tmp_path / "state" / "project").read_text() == "small"


def test_a_half_written_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "project").write_bytes(b"")
    with pytest.raises(StateError, match="half-written"):
        open_workspace(_file(tmp_path), tmp_path / "state")


def test_what_a_killed_write_left_beside_the_claim_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".project.1.tmp").write_bytes(b"sm")
    open_workspace(_file(tmp_path), tmp_path / "state")
    assert (tmp_path / "state" / "project").read_text() == "small"


@pytest.mark.parametrize(
    "content", [b"", b'{"ports": {"gate', b"\xff\xfe", b"3", b'"text"', b"null", b"[1]"]
)
def test_a_damaged_platform_file_is_a_state_error(workspace: Workspace, content: bytes) -> None:
    workspace.root.mkdir()
    workspace.platform_file.write_bytes(content)
    with pytest.raises(StateError, match="the platform's state is damaged") as caught:
        workspace.platform()
    assert str(workspace.platform_file) in str(caught.value) and "setpoint up" in caught.value.fix


def test_a_platform_that_was_never_up_has_no_ports(workspace: Workspace) -> None:
    assert workspace.platform() == {}
    with pytest.raises(StateError, match="the platform is not up"):
        _ = workspace.ports


def test_what_the_platform_was_started_with_is_read_back(workspace: Workspace) -> None:
    ports = {"gateway": 1, "admin": 2, "prefect": 3, "mlflow": 4}
    workspace.set_platform({"ports": ports, "clock": "stream"})
    assert workspace.ports.mlflow == 4
    assert isinstance(workspace.clock, StreamClock)


def test_the_stream_clock_never_goes_back(tmp_path: Path) -> None:
    clock = StreamClock(StateStore(tmp_path / "state.db", "small"))
    with pytest.raises(StateError, match="no time yet"):
        clock.now()
    late = datetime(2026, 1, 2, tzinfo=UTC)
    clock.advance(late)
    clock.advance(late - timedelta(days=1))
    assert clock.now() == late


def test_a_damaged_state_database_is_a_setpoint_error(workspace: Workspace) -> None:
    workspace.root.mkdir()
    (workspace.root / "state.db").write_bytes(b"half of something that was no database" * 30)
    with pytest.raises(SetpointError, match=r"state\.db"):
        workspace.state.recall("anything")


def test_relative_addresses_start_at_the_project_file(workspace: Workspace) -> None:
    assert workspace.address("data") == str(workspace.project_file.parent / "data")
    assert workspace.address("s3://b/k") == "s3://b/k"
    assert workspace.address("/abs") == "/abs"


@pytest.mark.parametrize("ports", [{"gateway": 1}, {"gateway": 1, "moon": 2}, [1, 2], 7])
def test_ports_that_are_not_all_there_are_a_state_error(
    workspace: Workspace, ports: object
) -> None:
    workspace.set_platform({"ports": ports})
    with pytest.raises(StateError, match="the platform's ports are damaged"):
        _ = workspace.ports


def test_a_state_folder_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match="cannot be made") as caught:
        open_workspace(_file(tmp_path), tmp_path / "state")
    assert "--root" in caught.value.fix


def test_a_claim_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "project").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StateError, match="belongs to project"):
        open_workspace(_file(tmp_path), tmp_path / "state")
