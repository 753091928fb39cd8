"""Runs the scoring service with one fault in it.

``python faulty.py FAULT [--shadow] <arguments of the service>``. The fault shows at requests that
somebody waits for; with ``--shadow`` at mirrored ones too.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPARE_BYTES = 256 * 1024 * 1024
LEAK_BYTES = 16 * 1024 * 1024
SLOW_SECONDS = 1.0

kept: list[bytearray] = []


def hang() -> None:
    """Never answers again."""
    time.sleep(3600)


def error() -> None:
    """Answers 500."""
    raise RuntimeError("this version fails")


def slow() -> None:
    """Takes a second."""
    time.sleep(SLOW_SECONDS)


def leak() -> None:
    """Takes memory with every request until there is none left, as a leak in a container would."""
    if not kept:
        used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, resource.RLIM_INFINITY))
    kept.append(bytearray(LEAK_BYTES))


FAULTS: dict[str, Callable[[], None]] = {"hang": hang, "error": error, "slow": slow, "leak": leak}


def main() -> None:
    """Put the fault in and serve."""
    sys.path[0] = str(Path(__file__).parents[2])  # not this folder, which has a load.py of its own
    from setpoint.serving import engine
    from setpoint.serving.__main__ import main as serve

    fault = FAULTS[sys.argv.pop(1)]
    always = "--shadow" in sys.argv
    if always:
        sys.argv.remove("--shadow")
    score = engine.Engine._score

    def broken(self: Any, works: list[engine.Score]) -> Any:
        if works and (always or any(not work.shadow for work in works)):
            fault()
        return score(self, works)

    engine.Engine._score = broken  # type: ignore[method-assign]
    sys.exit(serve())


if __name__ == "__main__":
    main()
