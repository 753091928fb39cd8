"""A release whose run is killed goes on by itself, and nobody who pays notices."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from setpoint.adapters.gateway_client import Counts
from setpoint.adapters.mlflow_registry import GATED_AGAINST
from setpoint.adapters.prefect_api import PrefectApi
from setpoint.adapters.services import service_status, supervisor_pid
from setpoint.demo import Script, first_champion, prepare
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.platform import down, up
from setpoint.stages import ingest, train
from setpoint.stages import publish as publishing
from setpoint.workspace import StreamClock, Workspace
from tests.e2e.traffic import payments, send, take_free_ports

pytestmark = pytest.mark.e2e
SCRIPT = Script(seed=4, drift="none", history=45, longest=20)
RATE = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Any]]:
    """A platform with a first champion, and the payments that come after its history."""
    root = tmp_path_factory.mktemp("crashes") / "state"
    workspace, world = prepare(SCRIPT, root)
    take_free_ports(workspace)
    try:
        up(workspace, clock="stream", mlflow=False)
        first_champion(workspace, world, SCRIPT)
        yield workspace, iter(payments(world, SCRIPT.history, 12_000))
    finally:
        down(root)


def _challenger(workspace: Workspace, seed: int) -> str:
    """Another version, as its gates would have accepted it."""
    project = workspace.project
    other = project.model_copy(update={"train": project.train.model_copy(update={"seed": seed})})
    made = replace(workspace, project=other)
    rows, known = train.assemble(made, None)
    candidate = publishing.publish(made, train.fit(made, rows, known), ingest.current(made), "test")
    workspace.registry.tag(candidate.version, "gates", "passed")
    champion = workspace.champion()
    assert champion is not None
    workspace.registry.tag(candidate.version, GATED_AGAINST, champion)
    return candidate.version


class _Stream:
    """Payments at a steady rate until told to stop; the clock follows them."""

    def __init__(self, workspace: Workspace, rows: Iterator[dict[str, Any]]) -> None:
        self.counts = Counts()
        self._workspace, self._rows, self._ending = workspace, rows, threading.Event()
        self._thread = threading.Thread(target=self._play)

    def _play(self) -> None:
        from datetime import datetime

        clock = StreamClock(self._workspace.state)
        while not self._ending.is_set():
            part = [next(self._rows) for _ in range(int(RATE))]
            self.counts = self.counts + send(self._workspace, part, RATE)
            clock.advance(datetime.fromisoformat(part[-1]["time"]))

    def __enter__(self) -> _Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


def _until(what: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _release_to_canary(workspace: Workspace, version: str) -> str:
    run = PrefectApi(workspace.ports.prefect).run("release/release", {"version": version})
    _until(lambda: _state(workspace, version).stage == Stage.CANARY)
    return run


def _state(workspace: Workspace, version: str) -> Rollout:
    found = workspace.state.release(version)
    return (
        found if found is not None else Rollout(version, None, plan("blue_green", shadowing=False))
    )


def _sweep_until_settled(workspace: Workspace, version: str) -> Rollout:
    api = PrefectApi(workspace.ports.prefect)
    deadline = time.monotonic() + 120
    while not _state(workspace, version).settled:
        assert time.monotonic() < deadline, _state(workspace, version)
        api.wait(api.run("sweep/sweep", {}), timeout=60)
        time.sleep(1)
    return _state(workspace, version)


def test_a_release_whose_run_is_killed_is_promoted_by_another_and_no_payment_is_lost(
    served: tuple[Workspace, Iterator[dict[str, Any]]],
) -> None:
    workspace, rows = served
    version = _challenger(workspace, seed=1)
    with _Stream(workspace, rows) as stream:
        first = _release_to_canary(workspace, version)
        engine = service_status(workspace.root, "warm-engine").pid
        assert engine is not None
        os.killpg(engine, signal.SIGKILL)  # the run dies with the process that forked it
        ended = _sweep_until_settled(workspace, version)
    assert ended.stage == Stage.PROMOTED and ended.run != first
    assert workspace.champion() == version
    assert stream.counts.lost == 0 and stream.counts.answered == stream.counts.sent > 0


def test_a_release_that_a_killed_platform_left_is_finished_after_the_next_up(
    served: tuple[Workspace, Iterator[dict[str, Any]]],
) -> None:
    workspace, rows = served
    version = _challenger(workspace, seed=2)
    with _Stream(workspace, rows):
        run = _release_to_canary(workspace, version)
    supervisor = supervisor_pid(workspace.root)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    _until(lambda: supervisor_pid(workspace.root) is None)
    up(workspace, clock="stream", mlflow=False)
    assert PrefectApi(workspace.ports.prefect).flow_run(run).kind == "CRASHED"
    with _Stream(workspace, rows) as stream:
        ended = _sweep_until_settled(workspace, version)
    assert ended.stage == Stage.PROMOTED
    assert workspace.champion() == version
    assert stream.counts.lost == 0
