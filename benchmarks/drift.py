"""What a drift check costs: 1,000,000 rows, 40 numbers and 10 categories.

Run as ``python -m benchmarks.drift [--rows N] [--evidently]``; writes
``benchmarks/results/drift.json``. Every way runs in a process of its own, which makes the data,
then measures its own CPU seconds and how far its peak memory rises above that.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS, CATEGORIES = 40, 10
RESULT = Path(__file__).parent / "results" / "drift.json"


def window(rows: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers as float32 arrays (one in four zero-inflated), categories as Arrow dictionaries."""
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    numbers: dict[str, Any] = {}
    for i in range(NUMBERS):
        values = rng.standard_normal(rows, dtype=np.float32)
        if i % 4 == 0:
            values[rng.random(rows, dtype=np.float32) < 0.6] = 0.0
        numbers[f"n{i}"] = values
    names = pa.array([f"value {k}" for k in range(50)])
    categories = {
        f"c{i}": pa.DictionaryArray.from_arrays(
            pa.array(rng.integers(0, 50, rows, dtype=np.int32)), names
        )
        for i in range(CATEGORIES)
    }
    return numbers, categories


def read_once(rows: int) -> Callable[[], object]:
    """Add up every numeric column: what touching the data costs at the least."""
    numbers, _ = window(rows, 1)
    return lambda: [float(values.sum()) for values in numbers.values()]


def check(rows: int) -> Callable[[], object]:
    """Count the window against the stored profile and judge all 50 columns."""
    from setpoint.domain.drift import count, psi_findings
    from setpoint.domain.profile import build_profile

    reference_numbers, reference_categories = window(min(rows, 100_000), 0)
    reference = reference_numbers | reference_categories
    profile = build_profile(reference, categories=list(reference_categories))
    numbers, categories = window(rows, 1)
    columns = numbers | categories
    return lambda: psi_findings(profile, count(profile, columns))


def build(rows: int) -> Callable[[], object]:
    """Build the profile itself, once per training."""
    from setpoint.domain.profile import build_profile

    numbers, categories = window(rows, 1)
    return lambda: build_profile(numbers | categories, categories=list(categories))


def evidently(rows: int) -> Callable[[], object]:
    """Evidently's drift preset over all rows of both sides."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    frames = []
    for seed in (0, 1):
        numbers, categories = window(rows, seed)
        frames.append(pd.DataFrame(numbers | {k: v.to_pandas() for k, v in categories.items()}))
    shape = DataDefinition(
        numerical_columns=[c for c in frames[0] if c.startswith("n")],
        categorical_columns=[c for c in frames[0] if c.startswith("c")],
    )

    def run() -> object:
        sides = [Dataset.from_pandas(frame, data_definition=shape) for frame in frames]
        return Report([DataDriftPreset()]).run(sides[1], sides[0]).dict()

    return run


WAYS = {"read_once": read_once, "check": check, "build_profile": build, "evidently": evidently}


def measure(way: str, rows: int) -> dict[str, float]:
    """CPU seconds (user and system) and memory of one way, in this process."""
    run = WAYS[way](rows)
    before = resource.getrusage(resource.RUSAGE_SELF)
    run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # ru_maxrss is in kibibytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "cpu_seconds": round(seconds, 3),
        "peak_mb": round(after.ru_maxrss * unit / 1e6, 1),
        "rise_mb": round((after.ru_maxrss - before.ru_maxrss) * unit / 1e6, 1),
    }


def apart(way: str, rows: int, repeats: int) -> dict[str, float]:
    """The measurement of least CPU time of several fresh processes."""
    found = []
    for _ in range(repeats):
        with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
            command = [sys.executable, "-m", "benchmarks.drift", "--way", way]
            command += ["--rows", str(rows), "--out", answer.name]
            subprocess.run(command, check=True)
            found.append(json.loads(answer.read()))
    return min(found, key=lambda one: float(one["cpu_seconds"]))


def main() -> None:
    """Measure every way asked for and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--evidently", action="store_true", help="minutes, and gigabytes")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        given.out.write_text(json.dumps(measure(given.way, given.rows)))
        return
    ways = {way: apart(way, given.rows, given.repeats) for way in WAYS if way != "evidently"}
    if given.evidently:
        ways["evidently"] = apart("evidently", given.rows, 1)
    result = {
        "rows": given.rows,
        "numbers": NUMBERS,
        "categories": CATEGORIES,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "cpu_seconds": ways["check"]["cpu_seconds"],
        "peak_memory_mb": ways["check"]["peak_mb"],
        "ways": ways,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
