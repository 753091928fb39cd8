"""An event that was lost changes nothing: a server of its own is killed between write and emit."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from setpoint.adapters.processes import free_port
from setpoint.domain.incidents import Status
from setpoint.workspace import open_workspace
from tests.stages.small import PROJECT, make_workspace

ROOT = Path(__file__).parents[2]

WATCH = """
# The watch finds a setpoint broken. Once that is written, and before it is told, the server dies.
import os, signal, sys
os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "0"  # what is dead is asked once
from pathlib import Path
import yaml
from flows.respond import respond
from flows.watch import watch
from setpoint.domain.findings import Finding, Outcome
from setpoint.stages import respond as stage, watch as looking

rows = yaml.safe_load(Path("prefect.yaml").read_text("utf-8"))["deployments"]
[triggers] = [row["triggers"] for row in rows if row["name"] == "respond"]
respond.to_deployment(name="respond", triggers=triggers).apply()

broken = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
looking.look = lambda workspace, now: looking.Window(now, "v1", (), (broken,))
wait = stage.waiting

def waiting(workspace, now):
    found = wait(workspace, now)
    assert [incident.status for incident in found] == ["open"]
    os.kill(int(sys.argv[1]), signal.SIGKILL)
    return found

stage.waiting = waiting
watch()
"""

SWEEP = """
# The sweep finds the incident every time that it runs; then each response that was asked for runs.
import time
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from flows.respond import respond
from flows.sweep import sweep

def asked_for(client):
    runs = client.read_flow_runs()
    return [run for run in runs if run.parameters.get("incident_id") and run.deployment_id]

with get_client(sync_client=True) as client:
    print("before", len(asked_for(client)))
    while len(runs := asked_for(client)) < 2:
        sweep()
        for _ in range(50):
            if len(asked_for(client)) > len(runs):
                break
            time.sleep(0.1)
    for run in runs:
        run_flow(respond, flow_run=run, parameters=run.parameters, return_type="state")
    for run in runs:
        print("ended", client.read_flow_run(run.id).state)
"""


@contextmanager
def _server(home: Path, port: int) -> Iterator[int]:
    """A Prefect server that answers; its process id."""
    command = [sys.executable, "-m", "deployments.prefect_server", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("a") as said:
        server = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + 120
        while not _answers(port):
            assert server.poll() is None and time.monotonic() < deadline, "see server.log"
            time.sleep(0.1)
        yield server.pid
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_an_incident_whose_server_was_killed_before_its_event_is_answered_by_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, PROJECT + "respond: {attempts: 1}\n")
    home, port = tmp_path / "prefect", free_port()
    home.mkdir()
    for name, value in {
        "SETPOINT_PROJECT": str(workspace.project_file),
        "SETPOINT_ROOT": str(workspace.root),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with _server(home, port) as server:
        killed = _run(WATCH, str(server))
    assert killed.returncode > 0, killed.stdout + killed.stderr
    [incident] = open_workspace().state.incidents()
    assert (incident.status, incident.taken_by) == (Status.OPEN, "")
    with _server(home, port):
        swept = _run(SWEEP)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "before 0" in swept.stdout
    after = open_workspace().state.incident(incident.id)
    assert after.status == Status.NEEDS_PERSON and "there are no events yet" in after.note
    ended, idle = (swept.stdout.count(words) for words in ("ended ", "needs no response"))
    assert ended - idle == 1 and idle > 0
