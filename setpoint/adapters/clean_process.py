"""A module of Setpoint run in a process of its own, with nothing inherited but what is given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from setpoint.domain.validation import bounded
from setpoint.errors import PlatformError

_PACKAGE = Path(__file__).resolve().parents[1]


def run_module(module: str, told: str, variables: Mapping[str, str], seconds: float) -> str:
    """Run a module of this package and return what it wrote.

    Args:
        module: Its dotted name.
        told: What it reads from standard input.
        variables: Its environment, whole.
        seconds: How long it may take.

    Returns:
        Its standard output.

    Raises:
        PlatformError: It does not start, takes too long, or ends non-zero; with its last words.
    """
    # The same code as runs here, whatever folder this process was started in (-P).
    environment = {**variables, "PYTHONPATH": str(_PACKAGE.parent)}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module],
            input=told,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise PlatformError(
            f"the process did not run to its end: {type(err).__name__}",
            where=module,
            fix=f"see that the machine has room for it; it may take {seconds:g} s",
        ) from err
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-3:])
        raise PlatformError(
            f"the process ended with {done.returncode}: {bounded(last, 600)}",
            where=module,
            fix="read why in its last words",
        )
    return done.stdout
