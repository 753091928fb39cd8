"""Run the benchmarks one after the other, then write ``results.md`` from their figures.

``python -m benchmarks [NAME ...] [--summary FILE]``; without names, all. Each runs in a process
of its own, so that none measures what another one left in memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import report


def main() -> int:
    """Run what was asked for; a benchmark that fails does not keep the others from running."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(report.NAMES))
    parser.add_argument(
        "--summary", type=Path, help="figures of a demo already run, for the loop benchmark"
    )
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(report.NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(report.NAMES)}")
    failed = []
    for name in given.names or report.NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if name == "loop" and given.summary is not None:
            command += ["--summary", str(given.summary)]
        print(f"== {' '.join(command[1:])}", flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    print(f"wrote {report.write()}")
    if failed:
        print(f"failed, so the page shows older figures or none: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
