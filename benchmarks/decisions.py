"""Does the decision log keep what was acknowledged, and what does it cost to read it?

``python -m benchmarks.decisions`` starts the real service with the durable log, sends rows at a
steady rate whether or not answers come, and after a random time ends the process with ``kill -9``
the moment an answer arrives. After restarts every answer that a client holds is looked for in the
log, field by field, and requests are repeated. Then it fills a log and reads it for a drift check,
whole, and into a Parquet file, each in a process of its own. It writes
``benchmarks/results/decisions.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kills import VERSION, kill_rounds
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.ports import Decision, DecisionQuery
from tests.serving.tiny import make_bundle, row

RESULT = Path(__file__).parent / "results" / "decisions.json"
START = datetime(2024, 5, 1, tzinfo=UTC)
NUMBERS, CATEGORIES = 18, 2
NAMES = (*(f"n{i}" for i in range(NUMBERS)), *(f"c{i}" for i in range(CATEGORIES)))


def fill(store: Path, rows: int) -> None:
    """A log of ``rows`` decisions with 20 features, a third of them with all their digits."""
    random_numbers = np.random.default_rng(5)
    log = SqliteDecisionLog(store, durability="normal")
    for begin in range(0, rows, 5000):
        size = min(5000, rows - begin)
        values = random_numbers.gamma(2.0, 30.0, (size, NUMBERS))
        values[:, 6:12] = values[:, 6:12].round(2)
        values[:, 12:] = values[:, 12:].round()
        kinds = random_numbers.integers(0, 30, (size, CATEGORIES))
        scores = random_numbers.random(size)
        log.append([_decision(begin + i, values[i], kinds[i], scores[i]) for i in range(size)])
    log.close()


def _decision(number: int, values: Any, kinds: Any, score: float) -> Decision:
    numbers: list[Any] = values.tolist()
    if number % 20 == 0:
        numbers[3] = None
    inputs = [*numbers, *(f"kind {kind}" for kind in kinds)]
    at = START + timedelta(milliseconds=100 * number)
    request = row(number, amount=numbers[6], at=at.isoformat())
    adverse = score >= 0.9
    return Decision(
        id=f"p{number}",
        event_time=at,
        request=request,
        features=dict(zip(NAMES, inputs, strict=True)),
        score=float(score),
        threshold=0.9,
        action="review" if adverse else "approve",
        reasons=["n0", "n7"] if adverse else [],
        version=VERSION,
        bundle_digest="d" * 64,
        trace_id=f"trace-{number}",
    )


def read_for_drift(store: Path) -> Callable[[], object]:
    """Count the window as the watch does and judge every column."""
    from setpoint.domain.drift import psi_findings
    from setpoint.domain.profile import build_profile
    from setpoint.stages.watch import count_window

    generator = np.random.default_rng(6)
    columns: dict[str, Any] = {n: generator.gamma(2.0, 30.0, 20_000) for n in NAMES[:NUMBERS]}
    columns |= {n: [f"kind {i % 30}" for i in range(20_000)] for n in NAMES[NUMBERS:]}
    columns["score"] = generator.random(20_000)
    profile = build_profile(columns)
    log = SqliteDecisionLog(store)
    window = DecisionQuery(start=START, version=VERSION)
    return lambda: psi_findings(profile, count_window(log, window, profile, NAMES))


def read_whole(store: Path) -> Callable[[], object]:
    """The same columns as one table, with all that ``read`` gives unless told otherwise."""
    log = SqliteDecisionLog(store)
    return lambda: log.read(DecisionQuery(start=START, version=VERSION, features=NAMES)).num_rows


def write_parquet(store: Path) -> Callable[[], object]:
    """Export whole records."""
    from setpoint.adapters.decision_export import export

    log = SqliteDecisionLog(store)
    return lambda: export(log, DecisionQuery(start=START), store.with_suffix(".parquet"))


WAYS = {"drift": read_for_drift, "whole": read_whole, "export": write_parquet}


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    try:
        # ru_maxrss begins with that of the process that started this one.
        status = Path("/proc/self/status").read_text("utf-8")
        line = next(one for one in status.splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(way: str, store: Path) -> dict[str, float]:
    """CPU seconds (user and system) and memory of one way of reading, in this process."""
    run = WAYS[way](store)
    before, memory = resource.getrusage(resource.RUSAGE_SELF), peak_bytes()
    started = time.perf_counter()
    run()
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = peak_bytes()
    return {
        "cpu_seconds": round(seconds, 2),
        "seconds": round(took, 2),
        "peak_mb": round(peak / 1e6, 1),
        "rise_mb": round((peak - memory) / 1e6, 1),
    }


def apart(way: str, store: Path, repeats: int) -> dict[str, float]:
    """The measurement of least CPU time of several fresh processes."""
    command = [sys.executable, "-m", "benchmarks.decisions", "--way", way, "--store", str(store)]
    found = []
    for _ in range(repeats):
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(ended.stdout))
    return min(found, key=lambda one: float(one["cpu_seconds"]))


def run(rounds: int, rate: float, longest: float, rows: int, repeats: int) -> dict[str, Any]:
    """Everything; see ``main`` for the arguments."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = make_bundle(folder / "bundle", VERSION)
        kills = kill_rounds(bundle, folder / "live.db", rounds, rate, longest, ())
        fill(folder / "log.db", rows)
        size = (folder / "log.db").stat().st_size
        ways = {way: apart(way, folder / "log.db", repeats) for way in WAYS}
    return {
        "kill_rounds": rounds,
        **kills,
        "rate_per_second": rate,
        "read_million_cpu_seconds": ways["drift"]["cpu_seconds"],
        "read_million_peak_mb": ways["drift"]["peak_mb"],
        "rows": rows,
        "features": len(NAMES),
        "log_mb": round(size / 1e6, 1),
        "ways": ways,
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(load[0], 1),
            "python": platform.python_version(),
        },
    }


def main() -> int:
    """Measure and write the figures; 1 if anything acknowledged is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="kills")
    parser.add_argument("--rate", type=float, default=300.0, help="rows a second while killed")
    parser.add_argument("--longest", type=float, default=4.0, help="most seconds until a kill")
    parser.add_argument("--rows", type=int, default=1_000_000, help="decisions to be read")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.store)))
        return 0
    result = run(given.rounds, given.rate, given.longest, given.rows, given.repeats)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    faults = ("missing", "differing", "duplicates", "changed", "without_origin")
    return 1 if any(result[name] for name in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
