"""A real supervisor as a subprocess, for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from setpoint.adapters.supervisor import supervisor_pid

ROOT = Path(__file__).parents[2]
STUB = (sys.executable, str(Path(__file__).with_name("stub_service.py")))


def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until ``what()`` is true; fail the test if it never gets so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def start_supervisor(state: Path) -> subprocess.Popen[str]:
    """Start a supervisor and wait until it keeps ``state``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "setpoint.adapters.supervisor", str(state)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: supervisor_pid(state) == process.pid or process.poll() is not None)
    return process


@contextmanager
def supervised(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor that is stopped, with all that it keeps, at the end."""
    process = start_supervisor(state)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
