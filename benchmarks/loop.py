"""What orchestration costs, and how fast the loop closes.

``python -m benchmarks.loop [--summary FILE]`` writes ``benchmarks/results/loop.json``. Without a
summary of a demo already run, it runs the demo.

``overhead_ratio``: ingest, features, training, record and gates inside a Prefect flow against a
local server, over the same stages called plainly, on the same card world. Runs of the two ways
alternate after a warm-up of each, and the fastest of each counts: on a busy machine the fastest
run is the least disturbed one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from setpoint.workspace import Workspace

RESULT = Path(__file__).parent / "results" / "loop.json"
CAUSE = "benchmark"


def plainly(workspace: Workspace) -> None:
    """The stages, one after the other."""
    from setpoint.stages import publish as publishing
    from setpoint.stages import train
    from setpoint.stages.gates import run as gate
    from setpoint.stages.ingest import ingest

    snapshot = ingest(workspace)
    rows, known = train.assemble(workspace, None)
    trained = train.fit(workspace, rows, known)
    candidate = publishing.publish(workspace, trained, snapshot, CAUSE)
    verdict = gate.run_gates(workspace, candidate, trained, CAUSE)
    gate.record_verdict(workspace, candidate, verdict, CAUSE)


def orchestrated(workspace: Workspace) -> None:
    """The same as tasks of a flow, artifacts included: ``flows.deliver`` up to the gates."""
    from prefect import flow

    from tasks import data, gates, training

    @flow(name="benchmark", persist_result=False)
    def once() -> None:
        snapshot = data.take_in(workspace)
        rows, known = training.assemble(workspace, None)
        trained = training.fit(workspace, rows, known, None)
        candidate = training.publish(workspace, trained, snapshot, CAUSE)
        gates.run_gates(workspace, candidate, trained, CAUSE)

    once()


def overhead(repeats: int) -> dict[str, Any]:
    """Seconds of both ways on one card world, whose first version is made the champion."""
    # Read by Prefect on import; a developer's own server must not be asked.
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("PREFECT_API_URL", None)
    from prefect.testing.utilities import prefect_test_harness

    from setpoint.adapters.mlflow_registry import CHAMPION
    from setpoint.demo import Script, prepare

    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "state"
        workspace, world = prepare(Script(longest=1), root)
        stack.enter_context(prefect_test_harness(server_startup_timeout=180))
        plainly(workspace)
        workspace.registry.point(CHAMPION, "v1")
        orchestrated(workspace)
        plain, flows = [], []
        for _ in range(repeats):
            plain.append(_seconds(plainly, workspace))
            flows.append(_seconds(orchestrated, workspace))
    return {
        "overhead_ratio": round(min(flows) / min(plain), 3),
        "overhead": {
            "plain_seconds": round(min(plain), 2),
            "orchestrated_seconds": round(min(flows), 2),
            "repeats": repeats,
            "events_of_the_world": len(world),
        },
    }


def _seconds(call: Callable[[Workspace], None], workspace: Workspace) -> float:
    begin = perf_counter()
    call(workspace)
    return perf_counter() - begin


def run_demo() -> dict[str, Any]:
    """The summary of a demo of its own, in a state folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        command = [sys.executable, "-c", "from setpoint.cli import main; main()", "demo"]
        command += ["--summary", str(summary), "--root", str(Path(folder) / "state")]
        # A demo that does not heal ends non-zero but has figures all the same.
        subprocess.run(command, check=False)
        if not summary.exists():
            raise SystemExit("the demo ended without figures; see what it printed above")
        return dict(json.loads(summary.read_text("utf-8")))


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", type=Path, help="written by 'setpoint demo --summary FILE'")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    demo = json.loads(given.summary.read_text("utf-8")) if given.summary else run_demo()
    load = round(os.getloadavg()[0], 1)
    result = overhead(given.repeats)
    result |= {key: demo[key] for key in ("seconds_to_alarm", "seconds_to_heal")}
    result["demo"] = demo
    result["machine"] = {
        "cores": os.cpu_count(),
        "load_1min": load,
        "python": platform.python_version(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
