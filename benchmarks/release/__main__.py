"""Are requests lost while versions are released and processes die? Counted at the client.

``python -m benchmarks.release`` plays every scenario under a steady rate of payments through the
gateway, prints the table and writes ``benchmarks/results/release.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.release.bench import platform
from benchmarks.release.check import Checker, Row
from benchmarks.release.scenarios import SCENARIOS, Scenario, play

RESULT = Path(__file__).parents[1] / "results" / "release.json"


def run(scenarios: Sequence[Scenario], rate: float, settle: float, root: Path) -> list[Row]:
    """Play scenarios on one platform, one after the other."""
    console = Console(highlight=False)
    rows = []
    with platform(root) as bench:
        checker = Checker(bench.workspace)
        for scenario in scenarios:
            row = play(bench, scenario, checker, rate, settle)
            console.print(f"{row}", soft_wrap=True)
            rows.append(row)
    return rows


def figures(rows: Sequence[Row], rate: float, load: float) -> dict[str, Any]:
    """The figures of all scenarios together, and one row each."""
    to_zero = [row.seconds_to_zero for row in rows if row.seconds_to_zero is not None]
    return {
        "requests": sum(row.requests for row in rows),
        "lost": sum(row.lost for row in rows),
        "wrong_version": sum(row.wrong_version for row in rows),
        "seconds_to_zero": max(to_zero, default=None),
        "rate_per_second": rate,
        "scenarios": [asdict(row) for row in rows],
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(load, 1),
            "python": machine.python_version(),
        },
    }


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title="Requests lost, counted at the client")
    for name in ("scenario", "ended", "requests", "lost", "wrong", "p99 ms", "s to zero", "note"):
        table.add_column(name, justify="left" if name in ("scenario", "ended", "note") else "right")
    for row in rows:
        zero = "" if row.seconds_to_zero is None else f"{row.seconds_to_zero:.1f}"
        table.add_row(
            row.scenario, row.ended.replace("_", " "), f"{row.requests:,}", str(row.lost),
            str(row.wrong_version), f"{row.p99_ms:,.0f}", zero, row.note,
        )  # fmt: skip
    Console().print(table)


def main() -> int:
    """Play, print, write; 1 if a request was lost or answered wrongly, or a release went astray."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=250.0, help="payments a second")
    parser.add_argument("--settle", type=float, default=8.0, help="seconds before and after each")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    chosen = [one for one in SCENARIOS if given.only in one.name]
    with tempfile.TemporaryDirectory() as folder:
        rows = run(chosen, given.rate, given.settle, Path(folder) / "state")
    result = figures(rows, given.rate, load)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    show(rows)
    astray = any(row.astray for row in rows)
    return 1 if result["lost"] or result["wrong_version"] or astray else 0


if __name__ == "__main__":
    sys.exit(main())
