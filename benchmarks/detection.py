"""How soon a rise of errors is found: real streams with abrupt drift, and simulated rare errors.

``python -m benchmarks.detection`` reads the SINE1 streams (``sine1`` in the folder that
``SETPOINT_SHARED_DATA`` names, else in ``../shared/data`` beside the project). On each concept a
tree of depth 6 is trained on the first 2,000 rows and then left as it is; its errors on the next
1,000 rows are the base, and its errors from there on, across the change of concept, the stream
that is watched. Rare errors are simulated: a rate of 1 % seen in 20,000 rows, that doubles. It
writes ``benchmarks/results/detection.json``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from setpoint.domain.changes import Cusum, watch_errors

RESULT = Path(__file__).parent / "results" / "detection.json"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
TRAIN, BASE, CONCEPT = 2_000, 1_000, 20_000
FALSE_ALARM_ROWS = 200_000.0
RATE, SEEN, CLEAN, AFTER, ROUNDS = 0.01, 20_000, 100_000, 50_000, 1_000
GIVEN = {
    "sine1": {
        "ADWIN": {"median_delay": 47, "false_alarms_per_10000": 0.0},
        "HDDM_W": {"median_delay": 32, "false_alarms_per_10000": 0.0},
        "HDDM_A": {"median_delay": 57, "false_alarms_per_10000": 0.0},
        "Page-Hinkley": {"median_delay": 82, "false_alarms_per_10000": 0.1},
        "DDM": {"median_delay": 327, "false_alarms_per_10000": 0.1},
        "EDDM": {"median_delay": 420, "false_alarms_per_10000": 15.0},
    },
    "doubling_of_1_percent": {"ADWIN": {"mean_delay": 4_300, "missed_share": 0.08}},
}
"""river 0.26.1 with its defaults, measured once on the same streams; not run again here."""


def sine1(folder: Path) -> dict[str, Any]:
    """Delays and false alarms over all streams and changes of concept."""
    table = pq.read_table(folder / "sine1_w50_n10.parquet")
    stream = table["stream"].to_numpy()
    inputs = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    label = table["label"].to_numpy()
    delays, false_alarms, stationary, missed = [], 0, 0, 0
    for one in np.unique(stream):
        x, y = inputs[stream == one], label[stream == one]
        for start in range(0, len(y) - CONCEPT, CONCEPT):
            watched, errors = _watched(x, y, start)
            quiet = CONCEPT - TRAIN - BASE
            before = watched.after(errors[:quiet])
            stationary += quiet
            false_alarms += before.alarm_at is not None
            ready = watched if before.alarm_at is not None else before
            after = ready.after(errors[quiet:])
            if after.alarm_at is None:
                missed += 1
            else:
                delays.append(after.alarm_at - ready.rows + 1)
    return {
        "changes": len(delays) + missed,
        "missed": missed,
        "median_delay": float(np.median(delays)),
        "longest_delay": int(max(delays)),
        "stationary_rows": stationary,
        "false_alarms": false_alarms,
    }


def _watched(x: NDArray[Any], y: NDArray[Any], start: int) -> tuple[Cusum, NDArray[np.bool_]]:
    """The test of one frozen tree, and its errors from the base to the end of the next concept."""
    trained = slice(start, start + TRAIN)
    tree = DecisionTreeClassifier(max_depth=6, random_state=0).fit(x[trained], y[trained])
    rest = slice(start + TRAIN, start + 2 * CONCEPT)
    errors = tree.predict(x[rest]) != y[rest]
    return watch_errors(int(errors[:BASE].sum()), BASE, FALSE_ALARM_ROWS), errors[BASE:]


def doubling(rounds: int = ROUNDS, seed: int = 0) -> dict[str, Any]:
    """Delays, misses and false alarms of a rate of 1 % that doubles."""
    rng = np.random.default_rng(seed)
    delays, missed, false_alarms = [], 0, 0
    for _ in range(rounds):
        watched = watch_errors(int(rng.binomial(SEEN, RATE)), SEEN, FALSE_ALARM_ROWS)
        clean = watched.after(rng.random(CLEAN) < RATE)
        false_alarms += clean.alarm_at is not None
        ready = watched if clean.alarm_at is not None else clean
        after = ready.after(rng.random(AFTER) < 2 * RATE)
        if after.alarm_at is None:
            missed += 1
        else:
            delays.append(after.alarm_at - ready.rows + 1)
    return {
        "rounds": rounds,
        "mean_delay": round(float(np.mean(delays)), 1),
        "median_delay": float(np.median(delays)),
        "missed": missed,
        "false_alarms_per_100000": round(false_alarms / rounds * 100_000 / CLEAN, 3),
        "stated_per_100000": 100_000 / FALSE_ALARM_ROWS,
    }


def main() -> None:
    """Measure and write the figures."""
    folder = Path(os.environ.get("SETPOINT_SHARED_DATA", BESIDE)) / "sine1"
    if not folder.is_dir():
        raise SystemExit(f"no data at {folder}: set SETPOINT_SHARED_DATA to the folder it is in")
    streams, rare = sine1(folder), doubling()
    result = {
        "sine1_median_delay": streams["median_delay"],
        "sine1_false_alarms": streams["false_alarms"],
        "doubling_mean_delay": rare["mean_delay"],
        "doubling_false_alarms_per_100000": rare["false_alarms_per_100000"],
        "doubling_missed": rare["missed"],
        "sine1": streams,
        "doubling": rare,
        "river": GIVEN,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
