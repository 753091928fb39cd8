"""How fast features are made: batch and online, beside pandas rolling windows in the same run.

``python -m benchmarks.features`` writes ``benchmarks/results/features.json``.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyarrow as pa

from setpoint.adapters.duckdb_features import compute, label_arrivals
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.features import MICROSECONDS, DelayedRisk, FeatureSpec, WindowFeature

DAY = 86_400
ROWS = 200_000
DAYS = 90
REQUESTS = 3_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
RESULTS = Path(__file__).parent / "results" / "features.json"

SPEC = FeatureSpec(
    event_id="id",
    event_time="at",
    entities={"customer": "customer_id", "terminal": "terminal_id"},
    numbers=("amount",),
    calendar=("weekend", "night"),
    windows=tuple(
        window
        for entity in ("customer", "terminal")
        for days in (1, 7, 30)
        for window in (
            WindowFeature(entity, "count", days * DAY),
            WindowFeature(entity, "mean", days * DAY, "amount"),
        )
    ),
    risks=tuple(DelayedRisk("terminal", days * DAY, 7 * DAY) for days in (1, 7, 30)),
)


def make_events(late_share: float, heavy_share: float, seed: int = 0) -> pa.Table:
    """Events of 90 days in the order of arrival.

    Args:
        late_share: Share of events that arrive up to an hour late, 0 to 1.
        heavy_share: Share of all rows that belong to one terminal, 0 to 1.
        seed: Seed of all random numbers.
    """
    random = np.random.default_rng(seed)
    arrived = np.sort(random.integers(0, DAYS * DAY * MICROSECONDS, ROWS))
    late = random.random(ROWS) < late_share
    times = arrived - late * random.integers(0, 3_600 * MICROSECONDS, ROWS)
    terminals = random.integers(1, 5_000, ROWS)
    terminals[random.random(ROWS) < heavy_share] = 0
    start = (START - EPOCH) // timedelta(microseconds=1)
    return pa.table(
        {
            "id": pa.array(np.arange(ROWS)).cast(pa.string()),
            "at": pa.array(times + start).cast(pa.timestamp("us", "UTC")),
            "customer_id": random.integers(0, 5_000, ROWS),
            "terminal_id": terminals,
            "amount": random.gamma(2.0, 30.0, ROWS),
            "_arrival": np.arange(1, ROWS + 1),
        }
    )


def make_labels(events: pa.Table, slow_share: float, seed: int = 1) -> pa.Table:
    """1 % positives, known after 1 to 7 days; ``slow_share`` of all labels after up to 30."""
    random = np.random.default_rng(seed)
    days = np.where(
        random.random(ROWS) < slow_share, random.uniform(7, 30, ROWS), random.uniform(1, 7, ROWS)
    )
    micros = np.asarray(events["at"].cast(pa.int64())) + (days * DAY * MICROSECONDS).astype("int64")
    labels = {
        "id": events["id"],
        "label": pa.array((random.random(ROWS) < 0.01).astype(np.int8)),
        "known_at": pa.array(micros).cast(pa.timestamp("us", "UTC")),
    }
    return label_arrivals(SPEC, events, pa.table(labels))


def rate(call: Callable[[], Any], repeats: int = 3, rows: int = ROWS) -> dict[str, float]:
    """The fastest of some runs; CPU seconds are of all threads and hold on a busy machine."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = perf_counter(), process_time()
        call()
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    return {
        "seconds": round(min(walls), 3),
        "cpu_seconds": round(min(cpus), 3),
        "rows_per_second": round(rows / min(walls)),
    }


def batch() -> dict[str, dict[str, float]]:
    """Batch rates of four streams, from ordinary to hostile."""
    streams = {
        "in order": (0.0, 0.0, 0.0),
        "in order, one terminal with 10 % of all rows": (0.0, 0.1, 0.0),
        "2 % late": (0.02, 0.0, 0.0),
        "2 % late, heavy terminal, 20 % of labels after the delay": (0.02, 0.1, 0.2),
    }
    found = {}
    for name, (late, heavy, slow) in streams.items():
        events = make_events(late, heavy)
        labels = make_labels(events, slow)
        found[name] = rate(lambda e=events, k=labels: compute(SPEC, e, k))  # type: ignore[misc]
    return found


def pandas_baseline() -> dict[str, float]:
    """The same features with pandas rolling windows, the handbook's way.

    Easier work: in order, no ties, and every label known after the delay.
    """
    events = make_events(0.0, 0.0)
    frame = events.to_pandas()
    frame["label"] = np.asarray(make_labels(events, 0.0)["label"])

    def roll() -> None:
        for entity in ("customer_id", "terminal_id"):
            ordered = frame.sort_values([entity, "at"], kind="stable")
            groups = ordered.set_index("at").groupby(entity)
            found = {}
            for days in (1, 7, 30):
                rolling = groups["amount"].rolling(f"{days}D")
                found[f"count_{days}"] = rolling.count().to_numpy()
                found[f"mean_{days}"] = rolling.mean().to_numpy()
            if entity == "terminal_id":
                for days in (0, 1, 7, 30):
                    rolling = groups["label"].rolling(f"{7 + days}D")
                    found[f"nb_{days}"] = rolling.count().to_numpy()
                    found[f"risk_{days}"] = rolling.sum().to_numpy()
            frame[[f"{entity}_{name}" for name in found]] = (
                type(frame)(found, index=ordered.index).loc[frame.index].to_numpy()
            )

    return rate(roll)


def online() -> dict[str, dict[str, float]]:
    """Requests, one a transaction and 50 a transaction, on a store with the past of 90 days."""
    events = make_events(0.0, 0.0)
    labels = make_labels(events, 0.0)
    past = ROWS - 2 * REQUESTS
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteOnlineStore(Path(folder) / "online.db", SPEC)
        known = pa.array(np.asarray(labels["_arrival"]) <= past)
        seeding = rate(lambda: store.seed(events.slice(0, past), labels.filter(known)), 1, past)
        rows = events.slice(past).to_pylist()
        return {
            "seed": seeding,
            "a request a commit": _rates(store, rows[:REQUESTS], 1),
            "the same requests again": _rates(store, rows[:REQUESTS], 1),
            "50 requests a commit": _rates(store, rows[REQUESTS:], 50),
        }


def _rates(store: SqliteOnlineStore, rows: list[dict[str, Any]], size: int) -> dict[str, float]:
    micros = []
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        begin = perf_counter()
        store.serve(chunk)
        micros.append((perf_counter() - begin) * 1e6 / len(chunk))
    p50, p99 = np.percentile(micros, [50, 99])
    return {
        "requests_per_second": round(1e6 / float(np.mean(micros))),
        "p50_micros": round(float(p50)),
        "p99_micros": round(float(p99)),
    }


def main() -> None:
    """Measure, print and write the results."""
    found: dict[str, Any] = {
        "rows": ROWS,
        "features": len(SPEC.number_names),
        "batch": batch(),
        "pandas": pandas_baseline(),
        "online": online(),
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(os.getloadavg()[0], 1),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }
    found["offline_rows_per_second"] = found["batch"]["in order"]["rows_per_second"]
    found["online_requests_per_second"] = found["online"]["a request a commit"][
        "requests_per_second"
    ]
    for measure in ("seconds", "cpu_seconds"):
        ours = found["batch"]["in order"][measure]
        found[f"pandas_to_batch_{measure}"] = round(found["pandas"][measure] / ours, 1)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(RESULTS.read_text())


if __name__ == "__main__":
    main()
