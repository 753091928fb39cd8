"""Writes where the versions listen, for Prometheus: ``targets.py FILE``, until it is stopped."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from setpoint.adapters.files import write_atomically
from setpoint.ports import ModelRuntime
from setpoint.workspace import open_workspace

SECONDS = 5.0


def targets(runtime: ModelRuntime) -> list[dict[str, Any]]:
    """All versions that should be running, in the form of Prometheus' file discovery."""
    return [
        {"targets": [f"{where.host}:{where.port}"], "labels": {"version": version}}
        for version, where in sorted(runtime.endpoints().items())
    ]


def main() -> int:
    """Write it every few seconds."""
    runtime = open_workspace().runtime
    while True:
        write_atomically(Path(sys.argv[1]), json.dumps(targets(runtime)).encode())
        time.sleep(SECONDS)


if __name__ == "__main__":
    sys.exit(main())
