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
    "serving": {
        "rps_over_mlflow": "requests a second of ours, durable log on, over `mlflow models serve`",
        "rps_over_litserve": "the same over LitServe with the same ONNX model",
        "cpu_us_all_told": "µs of CPU a request, our service and Envoy, 32 connections",
        "p99_ms_at_1000": "ms through Envoy at 1,000 requests a second, features looked up online",
        "cold_start_seconds": "seconds from the start of a model's process to its first score",
    },
    "release": {
        "requests": "requests sent while versions were released, killed and broken",
        "lost": "of them without an answer, counted at the client",
        "wrong_version": "answered by a version without traffic, or not as the version named would",
        "seconds_to_zero": "seconds from the deciding sample to 0 % for a bad version, the longest",
    },
    "governance": {
        "ledger_entries_per_second": "signed entries a second that are verified, of a million",
        "ledger_seconds": "seconds to verify them: chain, signatures, seals",
        "questions_slowest": "seconds of the slowest question about a million decisions",
        "questions_long_ledger_slowest": "the same beside a ledger of a million entries, audited",
        "replays_equal": "past decisions that came out bit for bit",
        "replays_total": "of so many",
        "rebuilds_equal": "versions that came out byte for byte",
        "rebuilds_total": "of so many",
    },
    "analysis": {
        "rounds": "simulated releases for each strategy and quality of the challenger",
        "stated_rate": "chance of promoting what is not better that a plan states",
        "false_promotion": "the largest measured of whole releases, equal or 5 % worse challengers",
    },
    "gates": {
        "rounds": "candidates of each true quality, for each kind, tail of costs and sample",
        "stated_rate": "chance of promoting what is not better that the project file states",
        "false_promotion_worst": "the largest measured, challengers equal, 1 % or 5 % worse",
        "setpoint_stated_rate": "chance that a model exactly at a setpoint passes its gate, stated",
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
        "cpu_seconds": "CPU seconds for the check of 50 columns of 1,000,000 rows",
        "cpu_over_evidently": "times that CPU is what Evidently's drift preset takes",
        "cpu_over_read_once": "times that CPU is of adding the columns up once",
        "cpu_ten_times_the_rows": "times the CPU for ten times the rows, both from a file",
        "peak_mb_million_rows": "MB, peak resident memory, 1,000,000 rows from a file",
        "peak_mb_ten_million_rows": "MB, the same with 10,000,000",
    },
    "false_alarms": {
        "windows": "windows of 50 columns without drift",
        "false_alarms": "of them called drift",
        "stated": "share that the check states",
    },
    "estimation": {
        "largest_gap_to_realized": "ROC AUC, car-loan chunks: farthest from the realized one",
        "largest_gap_to_published": "ROC AUC, the same: farthest from the published estimate",
        "alerts": "chunks that alert; the shift begins with chunk 5",
        "cpu_seconds_million_rows": "CPU seconds for all estimates of 1,000,000 rows",
    },
    "detection": {
        "sine1_median_delay": "rows to the alarm after an abrupt change of concept, median of 20",
        "sine1_false_alarms": "alarms without one, in 340,000 rows",
        "sine1_adwin_median_delay": "rows to the alarm of river's ADWIN on the same streams",
        "doubling_mean_delay": "rows until a doubling of 1 % errors is found, mean",
        "doubling_false_alarms_per_100000": "alarms without one, per 100,000 rows",
        "doubling_missed": "doublings not found within 50,000 rows",
    },
    "attacks": {
        "attacks_played": "kinds of attack, each with its mitigation off and on",
        "evasion_off": "share of caught frauds that a disguise within bounds gets through",
        "evasion_on": "the same with adversarial training",
        "sound_sources": "sources without poison that new data were checked on, changed worlds too",
        "sound_sources_stopped": "of them taken for poisoned",
        "fresh_sound_sources": "sound sources of worlds that no threshold was chosen on",
        "fresh_sound_sources_stopped": "of them taken for poisoned",
        "fresh_sound_sources_asked_about": "of them doubted, so that a person is asked",
    },
    "healing": {
        "worst_ours_over_best": "money of the loop over the best other policy's, the worst drift",
        "drifts_within_5_percent": "drifts on which the loop is within 5 % of that policy",
        "drifts": "drifts in all",
        "drifts_cheaper_than_daily": "on which it costs less than daily retraining, all seeds",
        "drifts_strictly_better_than_daily": "on which it does so by the 95 % interval",
        "retrainings_over_daily": "retrainings of the loop over those of a daily cron",
        "retrainings_unneeded": "of the loop where nothing that matters changes, all seeds",
    },
    "loop": {
        "overhead_ratio": "wall time of the training flow over the same stages called plainly",
        "seconds_to_alarm": "wall seconds from drift to alarm in the demo",
        "seconds_to_heal": "wall seconds from drift to the healed champion in the demo",
    },
}
"""Top-level keys of each file and what they are, in the order in which they are run."""

NAMES = tuple(HEADLINES)

NOTES = {
    "gates": """\
`most` is the largest share promoted over all kinds, tails and samples, with its 95 % Wilson
interval; for what is not better it is held against the stated rate. Each candidate is the first on
its rows and judged at 6/π² of that rate; the rest is kept for later ones. Beside it the rule "2 %
cheaper on 200 rows". Ten candidates on one holdout: how often one of ten equal ones is promoted,
each judged at the stated rate (unpaid) or at what earlier ones left of it (paid). Of the others the
share of verdicts on models well within, exactly at and beyond a limit: exactly there at most the
stated share passes. The slices gate is a watch: it fails on proof of harm, so there the stated rate
is that of failing what costs exactly what is allowed. A cost ceiling allows for one more loss as
large as the largest seen; with tails much heavier than simulated it passes oftener than stated.""",
    "analysis": """\
The stated rate is that of a whole release: gate and canary together, A/B test, bandit. Canary,
shadow and blue-green rest on the gate for superiority; their own analysis looks for harm. `canary
alone` and `shadow alone` take the gate as passed, whatever the quality: `let through` of a worse
challenger is harm too small to be proven on so few requests and is not held against the stated
rate; `rolled back` of an equal or a good one is a false alarm.""",
}
"""What is to be known to read a benchmark's tables."""

KEPT_IN_FILE = ("runs",)
"""Keys of single runs, too many for a page."""


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
    for name, whole in results.items():
        figures = {key: value for key, value in whole.items() if key not in KEPT_IN_FILE}
        lines += ["", f"## {name}", "", f"`make bench-{name}`", ""]
        lines += [NOTES[name], ""] if name in NOTES else []
        lines += ["| figure | value |", "|---|---:|"]
        plain = {key: value for key, value in figures.items() if not _rows(value)}
        lines += [f"| {path} | {_shown(value)} |" for path, value in _flat(plain)]
        for key, value in figures.items():
            if key not in plain:
                lines += ["", f"### {key.replace('_', ' ')}", "", *_table(_rows(value))]
    return "\n".join(lines) + "\n"


def _rows(value: Any) -> list[dict[str, Any]]:
    """What is shown as a table of its own: several rows of the same figures; empty otherwise."""
    rows: list[dict[str, Any]] = []
    if isinstance(value, list):
        rows = [dict(one) for one in value if isinstance(one, Mapping)]
    elif isinstance(value, Mapping) and all(isinstance(one, Mapping) for one in value.values()):
        rows = [{"": key, **one} for key, one in value.items()]
    flat = all(not isinstance(x, Mapping | list) for row in rows for x in row.values())
    alike = len({tuple(row) for row in rows}) == 1
    return rows if flat and alike and len(rows) > 1 else []


def _table(rows: list[dict[str, Any]]) -> list[str]:
    used = [key for key in rows[0] if any(row[key] not in ("", None) for row in rows)]
    words = [any(isinstance(row[key], str) for row in rows) for key in used]
    head = "|".join(f" {key.replace('_', ' ')} " for key in used)
    sides = "|".join("---" if text else "---:" for text in words)
    lines = [f"|{head}|", f"|{sides}|"]
    for row in rows:
        cells = ["" if row[key] is None else _shown(row[key]).replace("|", "/") for key in used]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


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
