"""Writes ``results.md`` from the JSON files of the benchmarks.

``python -m benchmarks.report`` does it alone, without measuring anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "results.md"

HEADLINES: dict[str, dict[str, str]] = {
    "features": {
        "offline_rows_per_second": "rows a second, batch, events in order",
        "online_requests_per_second": "requests a second, each committed alone",
    },
    "scoring": {
        "p50_ms": "ms through Envoy, median, at a steady rate",
        "p99_ms": "ms through Envoy, 99th percentile, at a steady rate",
    },
    "decisions": {
        "kill_rounds": "times that the service was ended by `kill -9` under load",
        "acknowledged": "decisions that clients hold an answer of",
        "missing": "of them not in the log",
        "duplicates": "rows of the log beyond one a decision",
        "read_million_cpu_seconds": "CPU seconds to read and judge the log for drift, 20 features",
        "read_million_peak_mb": "MB, peak resident memory of the process that does",
    },
    "drift": {
        "cpu_seconds": "CPU seconds for the check of all columns",
        "peak_memory_mb": "MB, peak resident memory of the process, the data included",
    },
    "loop": {
        "overhead_ratio": "wall time of the training flow over the same stages called plainly",
        "seconds_to_alarm": "wall seconds from drift to alarm in the demo",
        "seconds_to_heal": "wall seconds from drift to the healed champion in the demo",
    },
}
"""Top-level keys of each file and what they are, in the order in which they are run."""

NAMES = tuple(HEADLINES)


def read(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Figures by benchmark; one that was not run is left out."""
    found = {}
    for name in NAMES:
        file = folder / f"{name}.json"
        if file.exists():
            found[name] = dict(json.loads(file.read_text("utf-8")))
    return found


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    lines = ["# Measured", "", "Written by `python -m benchmarks.report` from `results/*.json`."]
    lines += [
        "Figures depend on the machine: each file has its cores, most the load before the run.",
        "",
    ]
    lines += ["| benchmark | figure | value | what it is |", "|---|---|---:|---|"]
    for name, keys in HEADLINES.items():
        for key, meaning in keys.items():
            value = _shown(results.get(name, {}).get(key))
            lines.append(f"| {name} | `{key}` | {value} | {meaning} |")
    for name, figures in results.items():
        lines += ["", f"## {name}", "", f"`python -m benchmarks.{name}`", ""]
        lines += ["| figure | value |", "|---|---:|"]
        lines += [f"| {path} | {_shown(value)} |" for path, value in _flat(figures)]
    return "\n".join(lines) + "\n"


def write(folder: Path = RESULTS, page: Path = PAGE) -> Path:
    """Write the page; returns where it is."""
    page.write_text(render(read(folder)), "utf-8")
    return page


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        path = f"{before} / {key}" if before else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _shown(value: Any) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


if __name__ == "__main__":
    print(f"wrote {write()}")
