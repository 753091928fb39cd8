"""What survives: kills, a store that is away, a bundle that was touched."""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from setpoint.adapters.processes import free_port
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.bundle import read_bundle
from setpoint.ports import DecisionQuery
from tests.serving.tiny import Service, command, row

Start = Callable[..., Service]


class Load:
    """Clients that send rows until the service goes away, and remember what was acknowledged."""

    def __init__(self, port: int, clients: int, first: int = 0) -> None:
        self.port = port
        self.first = first
        self.acknowledged: list[str] = []
        self.cut = 0
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _send(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        begin = self.first + client * 100_000
        for number in range(begin, begin + 5000):
            try:
                connection.request("POST", "/v1/decisions", json.dumps(row(number)))
            except OSError:
                return  # nobody listens any more; nothing was accepted
            try:
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.cut += 1
                return
            if answer.status == 200:
                self.acknowledged.append(f"p{number}")
            if len(self.acknowledged) >= 100:
                self.enough.set()

    def wait(self) -> None:
        """Until all clients gave up."""
        for thread in self.threads:
            thread.join()


def test_every_acknowledged_decision_survives_kill_9_under_load(start: Start) -> None:
    service = start()
    load = Load(service.port, 8)
    assert load.enough.wait(60)
    service.kill()
    load.wait()
    logged = SqliteDecisionLog(service.store).read(DecisionQuery())["id"].to_pylist()
    assert set(load.acknowledged) <= set(logged)
    assert len(logged) == len(set(logged))


def test_sigterm_answers_what_was_accepted_and_exits_with_0(start: Start) -> None:
    service = start()
    load = Load(service.port, 8)
    assert load.enough.wait(60)
    code, said = service.stop()
    load.wait()
    assert (code, json.loads(said.splitlines()[-1])["event"]) == (0, "stop")
    logged = SqliteDecisionLog(service.store).read(DecisionQuery())["id"].to_pylist()
    assert sorted(load.acknowledged) == sorted(logged)


def test_a_locked_store_gives_503_and_the_service_goes_on(start: Start) -> None:
    service = start("--busy-milliseconds", "50")
    other = sqlite3.connect(service.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, problem = service.decide(row(1))
    assert (status, problem["status"]) == (503, 503)
    assert "locked" in problem["detail"]
    other.execute("ROLLBACK")
    assert service.decide(row(1))[0] == 200


def test_a_request_that_waits_too_long_gets_503_and_its_retry_the_one_answer(
    start: Start,
) -> None:
    service = start("--busy-milliseconds", "10000", "--request-seconds", "0.3")
    other = sqlite3.connect(service.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    status, headers, data = service.exchange("POST", "/v1/decisions", row(1))
    took = time.monotonic() - began
    problem = json.loads(data)
    assert (status, problem["type"]) == (503, "urn:setpoint:problem:timeout")
    assert headers["retry-after"] == "1"
    assert 0.3 <= took < 5
    assert service.call("GET", "/health/live")[0] == 200
    other.execute("ROLLBACK")
    answers = [service.decide(row(1)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert SqliteDecisionLog(service.store).read(DecisionQuery())["id"].to_pylist() == ["p1"]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/labels"])
def test_bodies_that_do_not_arrive_lose_their_place_and_others_are_answered(
    start: Start, path: str
) -> None:
    service = start("--request-seconds", "0.5")
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    half = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(4)]
    for one in half:
        one.sendall(f"{head}content-length: 999\r\n\r\n[".encode())
    assert {one.recv(12) for one in half} == {b"HTTP/1.1 408"}
    for one in half:
        one.close()
    status, _, _ = service.exchange("POST", "/v1/batch", [row(1)])
    assert status == 200


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_that_is_none_does_not_start(
    bundle: Path, tmp_path: Path, seconds: str
) -> None:
    ended = ended_start(bundle, tmp_path, free_port(), f"--request-seconds={seconds}")
    assert ended.returncode == 2
    assert "--request-seconds" in ended.stderr


def test_a_full_disk_gives_503_and_nothing_of_the_request_stays(start: Start) -> None:
    service = start()
    assert service.decide(row(1))[0] == 200
    size = os.path.getsize(f"{service.store}-wal")
    _, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, hard))
    assert service.decide(row(2))[0] == 503
    assert service.call("GET", "/health/live")[0] == 200
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert service.call("GET", "/v1/decisions/p2")[0] == 404
    assert service.decide(row(2))[0] == 200


def test_a_full_disk_makes_a_service_unready(start: Start) -> None:
    service = start()
    service.decide(row(1))
    _, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (1024, hard))
    statuses = {service.call("GET", "/health/ready")[0]}
    threading.Event().wait(1.1)  # a verdict of readiness holds for a second
    statuses.add(service.call("GET", "/health/ready")[0])
    assert 503 in statuses


@pytest.mark.parametrize("name", ["model.onnx", "decision.json", "profile.json"])
def test_a_tampered_bundle_does_not_start(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    ended = ended_start(copy, tmp_path, free_port())
    assert ended.returncode == 1
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_bundle_of_another_digest_does_not_start(bundle: Path, tmp_path: Path) -> None:
    ended = ended_start(bundle, tmp_path, free_port(), "--digest", "0" * 64)
    assert ended.returncode == 1
    assert f"expected digest {'0' * 64}" in ended.stderr


def test_an_altered_manifest_does_not_start_where_the_digest_is_known(
    bundle: Path, tmp_path: Path
) -> None:
    digest = read_bundle(bundle).digest
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace("b" * 40, "d" * 40))
    ended = ended_start(copy, tmp_path, free_port(), "--digest", digest)
    assert ended.returncode == 1
    assert f"manifest.json is another bundle's: expected digest {digest}" in ended.stderr


@pytest.mark.parametrize("reuse", [False, True], ids=["plain", "SO_REUSEPORT"])
def test_a_taken_port_is_a_clear_error(bundle: Path, tmp_path: Path, reuse: bool) -> None:
    with socket.socket() as taken:
        if reuse:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        ended = ended_start(bundle, tmp_path, port)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_a_store_that_is_no_database_is_a_clear_error(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database" * 1000)
    ended = ended_start(bundle, tmp_path, free_port())
    assert ended.returncode == 1
    assert "store.db" in ended.stderr


def test_the_service_imports_no_training_library() -> None:
    modules = "sys, setpoint.serving.server, granian.server.embed, onnxruntime"
    line = [sys.executable, "-c", f"import {modules}; print(*sys.modules)"]
    ended = subprocess.run(line, capture_output=True, text=True, check=True)
    found = {name.split(".")[0] for name in ended.stdout.split()}
    heavy = {"prefect", "mlflow", "pandas", "sklearn", "scipy", "pydantic", "duckdb", "deltalake"}
    heavy |= {
        "pyarrow",
        "asyncpg",
    }  # the client of PostgreSQL only where decisions are logged there
    assert not heavy & found


def ended_start(
    bundle: Path, folder: Path, port: int, *options: str
) -> subprocess.CompletedProcess[str]:
    """How a service that cannot start ended."""
    line = command(bundle, folder / "store.db", port, "7", *options)
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
