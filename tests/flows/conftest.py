"""One Prefect server a session, with its own home: a developer's profile is never used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A throw-away Prefect server; flows called in a test report to it."""
    home = tmp_path_factory.mktemp("prefect")
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, named by the environment as a worker's is."""
    from tests.stages.small import deliver, make_frame, make_workspace

    workspace = make_workspace(tmp_path)
    deliver(workspace, "0.parquet", make_frame())
    monkeypatch.setenv("SETPOINT_PROJECT", str(workspace.project_file))
    monkeypatch.setenv("SETPOINT_ROOT", str(workspace.root))
    return workspace.project_file
