"""What a training was made with: code commit, locked environment, machine."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from setpoint.domain.record import Conditions
from setpoint.domain.training import THREADS

PACKAGES = "packages"
"""Folder of a version's artifacts that holds what was installed."""


@cache
def code_commit() -> str:
    """Commit of the checkout that runs, ``-dirty`` if it was changed; else the version."""
    folder = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"setpoint-{metadata.version('setpoint')}"
    return done.stdout.strip()


@cache
def environment_packages() -> tuple[str, ...]:
    """Every installed distribution, ``name==version``, sorted."""
    found = {f"{d.metadata['Name']}=={d.version}".lower() for d in metadata.distributions()}
    return tuple(sorted(found))


@cache
def environment_digest() -> str:
    """SHA-256 over all of them, hex."""
    return hashlib.sha256("\n".join(environment_packages()).encode()).hexdigest()


def conditions() -> Conditions:
    """What a training in this process runs on."""
    machine = f"{platform.machine()} {platform.system()}"
    return Conditions(
        code_commit(), environment_digest(), platform.python_version(), machine, THREADS
    )
