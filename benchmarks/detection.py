"""How soon a rise of errors is found: real streams with abrupt drift, and simulated rare errors.

``python -m benchmarks.detection`` reads the SINE1 streams (``sine1`` in the folder that
``SETPOINT_SHARED_DATA`` names, else in ``../shared/data`` beside the project). On each concept a
tree of depth 6 is trained on the first 2,000 rows and then left as it is; its errors on the next
1,000 rows are the base, and its errors from there on, across the change of concept, the stream
that is watched. Rare errors are simulated: a rate of 1 % seen in 20,000 rows, that doubles. river's
detectors with their defaults are given base and stream, row by row, and answer for the stream;
they are installed from ``infra/locks/peers-river.txt`` into ``.venv-peers``. It writes
``benchmarks/results/detection.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from benchmarks.peers.environment import python_of, versions
from setpoint.domain.changes import watch_errors

RESULT = Path(__file__).parent / "results" / "detection.json"
RIVER = Path(__file__).parent / "peers" / "river_detectors.py"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
TRAIN, BASE, CONCEPT = 2_000, 1_000, 20_000
FALSE_ALARM_ROWS = 200_000.0
RATE, SEEN, CLEAN, AFTER, ROUNDS = 0.01, 20_000, 100_000, 50_000, 1_000
ROUNDS_BESIDE = 100
"""Rounds of rare errors that river is given too; it takes seconds a round."""


@dataclass(frozen=True)
class Stream:
    """Errors of a model, in order.

    Attributes:
        base: Whether each row was an error before anything is watched.
        quiet: The rows watched while nothing has changed.
        changed: Those after the change.
    """

    base: NDArray[np.bool_]
    quiet: NDArray[np.bool_]
    changed: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """What a detector said of a stream.

    Attributes:
        false_alarms: Alarms in the quiet rows.
        delay: Rows from the change to the first alarm after it; ``None`` where there is none.
    """

    false_alarms: int
    delay: int | None


def ours(stream: Stream) -> Found:
    """An alarm without a change begins the test anew at the change."""
    watched = watch_errors(int(stream.base.sum()), len(stream.base), FALSE_ALARM_ROWS)
    quiet = watched.after(stream.quiet)
    ready = watched if quiet.alarm_at is not None else quiet
    at = ready.after(stream.changed).alarm_at
    return Found(int(quiet.alarm_at is not None), None if at is None else at - ready.rows + 1)


def river(streams: Sequence[Stream]) -> dict[str, list[Found]]:
    """What river's detectors say, by name."""
    errors = [np.concatenate([s.base, s.quiet, s.changed]).astype(np.uint8) for s in streams]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "streams.npz"
        np.savez(file, errors=np.stack(errors))
        command = [python_of("peers-river"), RIVER, file]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {
        name: [_found(stream, rows) for stream, rows in zip(streams, alarms, strict=True)]
        for name, alarms in json.loads(said).items()
    }


def _found(stream: Stream, alarms: Sequence[int]) -> Found:
    begin = len(stream.base)
    change = begin + len(stream.quiet)
    after = [row - change + 1 for row in alarms if row >= change]
    return Found(sum(begin <= row < change for row in alarms), min(after, default=None))


def figures(streams: Sequence[Stream], found: Sequence[Found]) -> dict[str, Any]:
    """Delays in rows, ``None`` if nothing was found, misses and false alarms over all streams."""
    delays = [one.delay for one in found if one.delay is not None]
    quiet = sum(len(one.quiet) for one in streams)
    false_alarms = sum(one.false_alarms for one in found)
    return {
        "changes": len(found),
        "missed": len(found) - len(delays),
        "median_delay": float(np.median(delays)) if delays else None,
        "mean_delay": round(float(np.mean(delays)), 1) if delays else None,
        "longest_delay": max(delays, default=None),
        "stationary_rows": quiet,
        "false_alarms": false_alarms,
        "false_alarms_per_100000": round(false_alarms * 100_000 / quiet, 3),
    }


def sine1(folder: Path) -> list[Stream]:
    """All streams and changes of concept."""
    table = pq.read_table(folder / "sine1_w50_n10.parquet")
    stream = table["stream"].to_numpy()
    inputs = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    label = table["label"].to_numpy()
    found = []
    for one in np.unique(stream):
        x, y = inputs[stream == one], label[stream == one]
        found += [_frozen(x, y, start) for start in range(0, len(y) - CONCEPT, CONCEPT)]
    return found


def _frozen(x: NDArray[Any], y: NDArray[Any], start: int) -> Stream:
    """The errors of one frozen tree, to the end of the next concept."""
    trained = slice(start, start + TRAIN)
    tree = DecisionTreeClassifier(max_depth=6, random_state=0).fit(x[trained], y[trained])
    rest = slice(start + TRAIN, start + 2 * CONCEPT)
    errors = tree.predict(x[rest]) != y[rest]
    change = CONCEPT - TRAIN
    return Stream(errors[:BASE], errors[BASE:change], errors[change:])


def doubling(rounds: int = ROUNDS, seed: int = 0) -> list[Stream]:
    """A rate of 1 % that doubles."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        base = rng.random(SEEN) < RATE
        found.append(Stream(base, rng.random(CLEAN) < RATE, rng.random(AFTER) < 2 * RATE))
    return found


def beside_river(streams: Sequence[Stream]) -> dict[str, dict[str, Any]]:
    """Figures of our test and of each of river's detectors on the same streams."""
    found = {"Setpoint": [ours(one) for one in streams], **river(streams)}
    return {name: figures(streams, its) for name, its in found.items()}


def main() -> None:
    """Measure and write the figures."""
    folder = Path(os.environ.get("SETPOINT_SHARED_DATA", BESIDE)) / "sine1"
    if not folder.is_dir():
        raise SystemExit(f"no data at {folder}: set SETPOINT_SHARED_DATA to the folder it is in")
    streams, rare = beside_river(sine1(folder)), doubling()
    all_rare = figures(rare, [ours(one) for one in rare])
    result = {
        "sine1_median_delay": streams["Setpoint"]["median_delay"],
        "sine1_false_alarms": streams["Setpoint"]["false_alarms"],
        "sine1_adwin_median_delay": streams["ADWIN"]["median_delay"],
        "doubling_mean_delay": all_rare["mean_delay"],
        "doubling_false_alarms_per_100000": all_rare["false_alarms_per_100000"],
        "doubling_missed": all_rare["missed"],
        "stated_false_alarms_per_100000": 100_000 / FALSE_ALARM_ROWS,
        "river": versions(("river",))["river"],
        "sine1": streams,
        "doubling": all_rare,
        "doubling_beside_river": beside_river(rare[:ROUNDS_BESIDE]),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
