"""Plays every policy over every drift and seed, prints the table, writes the figures and the plot.

``python -m benchmarks.healing [--seeds N] [--jobs J] [--work FOLDER]``. Each finished world is kept
in the work folder, so that a run that was broken off goes on; what other code made is made again.
``employment_ma`` is read from the folder that ``SETPOINT_SHARED_DATA`` names, else from
``../shared/data`` beside the project.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.healing.plot import money_plot
from benchmarks.healing.scenarios import HARMLESS, NAMES, PEOPLE, SCENARIOS
from benchmarks.healing.summary import summarise

HOME = Path(__file__).parents[2]
RESULT = HOME / "benchmarks" / "results" / "healing.json"
BESIDE = HOME.parent / "shared" / "data"
KEPT = ("money", "retrainings")


def code_digest() -> str:
    """SHA-256 of all code that a played world depends on, hex."""
    here = [Path(__file__).with_name(name) for name in ("cells.py", "scenarios.py")]
    files = [f for f in (HOME / "setpoint").rglob("*.*") if f.suffix in (".py", ".yaml")]
    found = hashlib.sha256()
    for file in sorted([*files, *here]):
        found.update(file.relative_to(HOME).as_posix().encode() + file.read_bytes())
    return found.hexdigest()


def play_seed(seed: int, names: Sequence[str], work: Path, people: Path, code: str) -> list[Path]:
    """Play the worlds of a seed that the work folder does not hold; returns all their files."""
    from benchmarks.healing.cells import Memo, play_cards, play_people

    memo, files = Memo(), []
    for name in names:
        file = work / f"{name.replace(' ', '-')}-{seed:03d}.json"
        files.append(file)
        if file.exists() and json.loads(file.read_text("utf-8"))["code"] == code:
            continue
        began = perf_counter()
        if name == PEOPLE:
            played = play_people(seed, people)
        else:
            scenario = next(s for s in SCENARIOS if s.name == name)
            played = play_cards(scenario, seed, memo)
        seconds = round(perf_counter() - began, 1)
        told = {"drift": name, "seed": seed, "code": code, "seconds": seconds, "policies": played}
        beside = file.with_suffix(".tmp")
        beside.write_text(json.dumps(told, indent=1), "utf-8")
        beside.rename(file)
        print(f"{name}, seed {seed}: {seconds:.0f} s", flush=True)
    return files


def play_all(
    seeds: int, jobs: int, names: Sequence[str], work: Path, people: Path
) -> Iterator[dict[str, Any]]:
    """Every world that was asked for, seed by seed."""
    work.mkdir(parents=True, exist_ok=True)
    code = code_digest()
    with ProcessPoolExecutor(jobs) as pool:
        futures = [pool.submit(play_seed, seed, names, work, people, code) for seed in range(seeds)]
        try:
            files = [file for future in futures for file in future.result()]
        except BrokenProcessPool as err:
            raise SystemExit(
                f"a process that plays was ended from outside; the same command goes on from {work}"
            ) from err
    yield from (json.loads(file.read_text("utf-8")) for file in files)


def gather(worlds: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """Money and retrainings by drift, policy and seed."""
    runs: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    for world in worlds:
        for policy, row in world["policies"].items():
            seeds = runs.setdefault(world["drift"], {}).setdefault(policy, {})
            seeds[world["seed"]] = {key: row[key] for key in KEPT}
    return runs


def show(figures: dict[str, Any], console: Console) -> None:
    """The table for people."""
    table = Table(header_style="bold")
    for name in ("drift", "policy", "money", "over best", "95 %", "minus daily", "95 %", "retrain"):
        table.add_column(name, justify="left" if name in ("drift", "policy") else "right")
    for row in figures["policies"]:
        table.add_row(
            row["drift"],
            row["policy"],
            f"{row['money']:,.0f}",
            f"{row['over_best']:.3f}",
            _span(row, "over_best", "{:.3f}"),
            f"{row['minus_daily']:,.0f}",
            _span(row, "minus_daily", "{:,.0f}"),
            f"{row['retrainings']:g}",
        )
    console.print(table)


def _span(row: dict[str, Any], key: str, form: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return "-" if low is None else f"{form.format(low)} to {form.format(high)}"


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path(".setpoint/healing"))
    parser.add_argument("--drift", action="append", choices=NAMES, help="only these")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    names = [name for name in NAMES if given.drift is None or name in given.drift]
    people = Path(os.environ.get("SETPOINT_SHARED_DATA", BESIDE)) / PEOPLE
    if PEOPLE in names and not people.is_dir():
        raise SystemExit(f"no data at {people}: set SETPOINT_SHARED_DATA to the folder it is in")
    # Read when NumPy and OpenMP are loaded, in the processes that play.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    worlds = list(play_all(given.seeds, given.jobs, names, given.work, people))
    runs = gather(worlds)
    result = summarise(runs, HARMLESS)
    result["seconds"] = round(sum(world["seconds"] for world in worlds), 1)
    result["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    result["runs"] = runs
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    plot = money_plot(result["policies"], given.out.with_suffix(".png"))
    show(result, Console(width=140))
    print(f"wrote {given.out} and {plot}")


if __name__ == "__main__":
    main()
