"""The kill switch, through the real gateway and under traffic."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from setpoint.demo import Script, first_champion, prepare
from setpoint.platform import down, up
from setpoint.ports import DecisionQuery
from setpoint.workspace import Workspace
from tests.e2e.traffic import payments, send, take_free_ports

pytestmark = pytest.mark.e2e
SCRIPT = Script(seed=3, drift="none", history=45, longest=10)
SECONDS = 5.0


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Workspace, list[dict[str, Any]]]]:
    """A platform with a first champion ``v1`` and the rule ``v2``, and payments to send."""
    root = tmp_path_factory.mktemp("e2e") / "state"
    workspace, world = prepare(SCRIPT, root)
    take_free_ports(workspace)
    try:
        up(workspace, clock="stream", mlflow=False)
        first_champion(workspace, world, SCRIPT)
        yield workspace, payments(world, SCRIPT.history, 3000)
    finally:
        down(root)


def _cli(workspace: Workspace, *words: str) -> None:
    command = [sys.executable, "-m", "setpoint.cli", *words, "--note", "a test"]
    subprocess.run([*command, "--root", str(workspace.root)], check=True, capture_output=True)


def _versions(workspace: Workspace, rows: list[dict[str, Any]]) -> list[str]:
    found = workspace.decisions.find([row["tx_id"] for row in rows])
    return [found[row["tx_id"]].version for row in rows]


def test_everything_is_stopped_within_5_seconds_of_the_command_and_no_request_is_lost(
    served: tuple[Workspace, list[dict[str, Any]]],
) -> None:
    from setpoint.stages import oversight

    workspace, rows = served
    told: list[float] = []

    def order() -> None:
        time.sleep(3.0)
        began = time.monotonic()
        oversight.stop(workspace, "all", "ann", "attack")
        told.append(time.monotonic() - began)

    ordering = threading.Thread(target=order)
    ordering.start()
    counts = send(workspace, rows[:1000], 80)
    ordering.join()
    assert (counts.sent, counts.answered) == (1000, 1000)
    versions = _versions(workspace, rows[:1000])
    # At 80 a second, 3 s before the order and the 5 s that it may take are 640 requests.
    assert versions[0] == "v1" and set(versions[640:]) == {"v2"}
    assert told and told[0] < SECONDS
    seen = workspace.decisions.read(DecisionQuery(version="v2", request=("amount",)))
    by_rule = [a > 150 for a in seen["amount"].to_pylist()]
    assert [a == "review" for a in seen["action"].to_pylist()] == by_rule


def test_a_stop_is_ended_by_the_command_line(
    served: tuple[Workspace, list[dict[str, Any]]],
) -> None:
    workspace, rows = served
    _cli(workspace, "resume", "--all", "--person", "bob")
    assert send(workspace, rows[1000:1100], 80).answered == 100
    assert set(_versions(workspace, rows[1000:1100])) == {"v1"}
    _cli(workspace, "stop", "v1", "--person", "bob")
    assert send(workspace, rows[1100:1200], 80).answered == 100
    assert set(_versions(workspace, rows[1100:1200])) == {"v2"}
    kinds = [e.kind for e in workspace.state.ledger() if e.kind in ("stopped", "resumed")]
    assert kinds == ["stopped", "resumed", "stopped"]
