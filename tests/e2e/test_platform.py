"""The platform as a user starts it: real Prefect, worker, gateway and service."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.gateway_client import Counts, GatewayClient
from setpoint.adapters.services import service_status, supervisor_pid
from setpoint.demo import Script, first_champion, prepare
from setpoint.platform import down, up
from setpoint.workspace import Workspace
from tests.e2e.traffic import payments, send, take_free_ports

pytestmark = pytest.mark.e2e
SCRIPT = Script(seed=3, drift="none", history=45, longest=10)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Workspace, list[dict[str, Any]]]]:
    """A platform with a first champion, and payments to send to it."""
    root = tmp_path_factory.mktemp("e2e") / "state"
    workspace, world = prepare(SCRIPT, root)
    take_free_ports(workspace)
    try:
        up(workspace, clock="stream", mlflow=False)
        first_champion(workspace, world, SCRIPT)
        yield workspace, payments(world, SCRIPT.history, 2000)
    finally:
        down(root)


def test_every_payment_is_answered_and_logged(
    served: tuple[Workspace, list[dict[str, Any]]],
) -> None:
    workspace, rows = served
    counts = send(workspace, rows[:500], 100)
    assert counts == Counts(sent=500, answered=500)
    assert len(workspace.decisions.find([r["tx_id"] for r in rows[:500]])) == 500


def test_a_killed_model_process_comes_back_and_no_payment_is_lost(
    served: tuple[Workspace, list[dict[str, Any]]],
) -> None:
    workspace, rows = served
    pid = service_status(workspace.root, "model-v1").pid
    assert pid is not None

    async def play() -> Counts:
        url = f"http://127.0.0.1:{workspace.ports.gateway}"
        async with GatewayClient(url, concurrency=16, id_column="tx_id") as client:
            sending = asyncio.create_task(client.play(rows[500:1100], 100, "customer_id"))
            await asyncio.sleep(1.5)
            os.kill(pid, signal.SIGKILL)
            return Counts.of(await sending)

    assert asyncio.run(play()) == Counts(sent=600, answered=600)


def test_down_stops_everything_and_up_serves_the_same_champion_again(
    served: tuple[Workspace, list[dict[str, Any]]],
) -> None:
    workspace, rows = served
    assert down(workspace.root)
    assert supervisor_pid(workspace.root) is None
    up(workspace, clock="stream", mlflow=False)
    deadline = time.monotonic() + 60
    while service_status(workspace.root, "model-v1").state != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert send(workspace, rows[1100:1300], 100) == Counts(sent=200, answered=200)


def test_a_taken_port_is_one_clear_error_and_nothing_is_left_running(tmp_path: Path) -> None:
    import socket

    from setpoint.errors import PlatformError

    workspace, _ = prepare(SCRIPT, tmp_path / "state")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"gateway": port, "admin": port, "prefect": port, "mlflow": port}
        workspace.set_platform({"ports": ports})
        with pytest.raises(PlatformError, match=rf"gateway on [\d.]+: port {port} is taken"):
            up(workspace)
    assert supervisor_pid(workspace.root) is None
