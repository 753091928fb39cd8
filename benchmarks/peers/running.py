"""A contestant that runs: started, asked until it answers, checked, and ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import machine
from benchmarks.peers.contestants import HOST, Contestant
from benchmarks.peers.environment import ROOT, python_of
from benchmarks.peers.model import PATTERNS, Model
from setpoint.adapters.envoy import EnvoyRouter
from setpoint.adapters.processes import free_port
from setpoint.adapters.services import last_lines
from setpoint.ports import Endpoint, TrafficPlan

PROBES = 50
TOLERANCE = 1e-5
START_SECONDS = 90.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        port: Where it is asked; Envoy's if it stands behind it.
        roots: Processes that were started for it.
        cold_seconds: From the start of the model's process to its first score.
    """

    port: int
    roots: Sequence[int]
    cold_seconds: float

    def pids(self) -> list[int]:
        """All processes of it, children included."""
        return machine.tree(self.roots)


@contextmanager
def running(contestant: Contestant, model: Model, folder: Path) -> Iterator[Running]:
    """Start a contestant in an empty folder; all its processes end with the block.

    Raises:
        SystemExit: It does not answer in time.
    """
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        port = free_port(HOST)
        command = contestant.command(model, port, folder)
        began = time.perf_counter()
        server = stack.enter_context(_process(command, _variables(contestant, model, port), folder))
        first = contestant.request(model, PATTERNS - 1, probe=True)
        while not _answers(port, first):
            if server.poll() is not None or time.perf_counter() - began > START_SECONDS:
                said = last_lines(folder / "server.log")
                raise SystemExit(f"{contestant.name} does not answer:\n{said}")
            time.sleep(_POLL_SECONDS)
        cold = time.perf_counter() - began
        roots = [server.pid]
        if contestant.through_envoy:
            port, envoy = stack.enter_context(_envoy(folder, port))
            roots.append(envoy)
        yield Running(port, roots, cold)


def check(contestant: Contestant, model: Model, port: int) -> float:
    """Compare answers to probes with the scikit-learn pipeline; the largest difference.

    Raises:
        SystemExit: One differs by more than ``TOLERANCE``, or is no answer.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    worst = 0.0
    for number in range(PROBES):
        head, _, body = contestant.request(model, number, probe=True).partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
        connection.request("POST", contestant.path, body, dict(lines))
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{contestant.name} answers {answer.status}: {data[:300]!r}")
        gap = abs(contestant.read(json.loads(data)) - float(model.expected[number]))
        worst = max(worst, gap)
    connection.close()
    if worst > TOLERANCE:
        raise SystemExit(f"{contestant.name} is off by {worst:.2g}; allowed is {TOLERANCE:g}")
    return worst


def _variables(contestant: Contestant, model: Model, port: int) -> dict[str, str]:
    common = {
        "PATH": f"{_programs(contestant)}:{os.environ['PATH']}",  # mlflow looks for uvicorn there
        "HOME": str(model.folder),  # nothing is read from or left in the user's own
        "OMP_NUM_THREADS": "1",
        "MODEL_FOLDER": str(model.folder),
        "PORT": str(port),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "PYTHONWARNINGS": "ignore",
    }
    return common | dict(contestant.variables)


def _programs(contestant: Contestant) -> Path:
    """Folder of the programs of its environment."""
    if not contestant.environment:
        return Path(sys.executable).parent
    return python_of(contestant.environment).parent


@contextmanager
def _process(
    command: Sequence[str], variables: dict[str, str] | None, folder: Path, name: str = "server"
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=variables, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL to whatever of its tree is left."""
    family = machine.tree([process.pid])
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        if machine.tree([pid]):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def _envoy(folder: Path, port: int) -> Iterator[tuple[int, int]]:
    """Envoy in front of ``port``, as the platform runs it; gives its port and process."""
    gateway = free_port(HOST, [port])
    router = EnvoyRouter(folder, gateway, free_port(HOST, [port, gateway]))
    command = router.service_spec().argv
    with _process(command, None, folder, "envoy") as process:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(gateway):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"Envoy does not start:\n{last_lines(folder / 'envoy.log')}")
            time.sleep(_POLL_SECONDS)
        router.apply(TrafficPlan("benchmark", {"1": 100}, "1"), {"1": Endpoint(HOST, port)})
        yield gateway, process.pid


def _listens(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _answers(port: int, request: bytes) -> bool:
    """Whether a score comes back with 200."""
    try:
        with socket.create_connection((HOST, port), timeout=10) as line:
            line.sendall(request)
            return line.recv(64)[9:12] == b"200"
    except OSError:
        return False
