"""What a drift check costs: 1,000,000 rows, 40 numbers and 10 categories.

Run as ``python -m benchmarks.drift [--rows N] [--no-evidently]``; writes
``benchmarks/results/drift.json``. Every way runs in a process of its own, which makes the data,
then measures its own CPU seconds and how far its peak memory rises above that. Evidently's drift
preset takes minutes and gigabytes. The streamed ways read a Parquet file row group by row group,
as many rows and ten times as many, decoding included.
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
ROW_GROUP = 50_000
RESULT = Path(__file__).parent / "results" / "drift.json"


def window(rows: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers as the decision log gives them, float64 (one in four zero-inflated); categories as
    Arrow dictionaries.
    """
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    numbers: dict[str, Any] = {}
    for i in range(NUMBERS):
        values = rng.standard_normal(rows)
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
    """Add up every column, a category's codes: what touching the data costs at the least."""
    numbers, categories = window(rows, 1)
    codes = [column.indices.to_numpy() for column in categories.values()]
    return lambda: [float(values.sum()) for values in (*numbers.values(), *codes)]


def check(rows: int) -> Callable[[], object]:
    """Count the window against the stored profile and judge all 50 columns."""
    from setpoint.domain.drift import count, psi_findings

    profile = _profile()
    numbers, categories = window(rows, 1)
    columns = numbers | categories
    return lambda: psi_findings(profile, count(profile, columns))


def _profile() -> Any:
    from setpoint.domain.profile import build_profile

    numbers, categories = window(100_000, 0)
    return build_profile(numbers | categories, categories=list(categories))


def streamed(rows: int) -> Callable[[], object]:
    """The same of a file, row group by row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from setpoint.domain.drift import Counts, count, psi_findings

    profile = _profile()
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "window.parquet"
    writer = None
    for seed in range(rows // ROW_GROUP):
        numbers, categories = window(ROW_GROUP, seed)
        floats = {name: values.astype(np.float32) for name, values in numbers.items()}
        table = pa.table(floats | categories)
        writer = writer or pq.ParquetWriter(file, table.schema, compression="none")
        writer.write_table(table)
    if writer is not None:
        writer.close()

    def run() -> object:
        counts = Counts({})
        with pq.ParquetFile(file, memory_map=False) as stored:
            for group in range(stored.num_row_groups):
                part = stored.read_row_group(group, use_threads=False)
                counts += count(profile, {name: part[name] for name in part.column_names})
        folder.cleanup()
        return psi_findings(profile, counts)

    return run


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


WAYS = {
    "read_once": read_once,
    "check": check,
    "build_profile": build,
    "streamed": streamed,
    "streamed_ten_times": lambda rows: streamed(10 * rows),
    "evidently": evidently,
}


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
    parser.add_argument("--no-evidently", action="store_true", help="leave out its minutes")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        given.out.write_text(json.dumps(measure(given.way, given.rows)))
        return
    once = {"streamed", "streamed_ten_times", "evidently"}
    ways = {
        way: apart(way, given.rows, 1 if way in once else given.repeats)
        for way in WAYS
        if way != "evidently" or not given.no_evidently
    }
    spent = {way: figures["cpu_seconds"] for way, figures in ways.items()}
    against = {}
    if "evidently" in spent:
        against["cpu_over_evidently"] = round(spent["evidently"] / spent["check"], 1)
    result = {
        "rows": given.rows,
        "numbers": NUMBERS,
        "categories": CATEGORIES,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "cpu_seconds": spent["check"],
        **against,
        "cpu_over_read_once": round(spent["check"] / spent["read_once"], 2),
        "cpu_ten_times_the_rows": round(spent["streamed_ten_times"] / spent["streamed"], 2),
        "peak_mb_million_rows": ways["streamed"]["peak_mb"],
        "peak_mb_ten_million_rows": ways["streamed_ten_times"]["peak_mb"],
        "peak_memory_mb": ways["check"]["peak_mb"],
        "ways": ways,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
