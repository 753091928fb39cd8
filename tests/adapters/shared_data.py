"""Real public data, kept beside the repository and reached through one fixture."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(name: str) -> Path:
    """A file of the shared data, e.g. ``taiwan_default/taiwan_default.parquet``."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SETPOINT_SHARED_DATA", beside))
    path = folder / name
    if not path.exists():
        pytest.skip(f"no real data at {path}: set SETPOINT_SHARED_DATA to the folder that has it")
    return path
