"""The simulated card world as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from setpoint.domain.world import DEMO, Drift, World, generate
from setpoint.errors import ProjectFileError

PROJECT = Path(__file__).parents[1] / "projects" / "cards.yaml"
"""The project file of the card world."""


def labels_table(world: World, rows: Any, known: Any) -> pa.Table:
    """Labels as a bank would deliver them.

    Args:
        world: The world.
        rows: Row numbers, [n].
        known: When each label became known, datetime64[us], [n].
    """
    return pa.table(
        {
            "tx_id": world.events["tx_id"].take(pa.array(rows)),
            "fraud": pa.array([str(int(f)) for f in world.fraud[rows]]),
            "known_at": pa.array(known).cast(pa.timestamp("us", "UTC")),
        }
    )


def write_batch(folder: Path, name: str, table: pa.Table) -> None:
    """Deliver one batch whole: written beside, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{name}.tmp"
    pq.write_table(table, beside)
    beside.rename(folder / f"{name}.parquet")


def _check(out: Path, days: int, drift: str, drift_day: float) -> None:
    file = out / "setpoint.yaml"
    if file.exists():
        raise ProjectFileError(
            "the file exists", where=str(file), fix="name another folder with --out"
        )
    if drift != "none" and not 0 <= drift_day < days:
        raise ProjectFileError(
            f"the drift begins on day {drift_day:g}, and the world has days 0 to {days}",
            where="world.drift_day",
            fix=f"give a day of 0 or more and below {days} with --drift-day, or more --days",
        )


def write_world(out: Path, days: int, seed: int, drift: str, drift_day: float) -> tuple[int, int]:
    """Write a project: its file, its events, its labels.

    Nothing was reviewed in it: frauds are known from disputes alone.

    Args:
        out: Folder; it gets ``setpoint.yaml``, ``data/events`` and ``data/labels``.
        days: Length, days.
        seed: Of the world.
        drift: Name of the drift, or ``none``.
        drift_day: Day on which it begins.

    Returns:
        Payments and frauds.

    Raises:
        ProjectFileError: There is a project file already, a value is not allowed, or the folder
            cannot be written.
    """
    _check(out, days, drift, drift_day)
    change = Drift(drift, drift_day) if drift != "none" else None  # type: ignore[arg-type]
    world = generate(replace(DEMO, seed=seed, days=days, drift=change))
    known = world.labels(np.zeros(len(world), dtype=bool))
    rows = np.flatnonzero(~np.isnat(known))
    try:
        write_batch(out / "data" / "events", "0000", world.events)
        write_batch(out / "data" / "labels", "0000", labels_table(world, rows, known[rows]))
        (out / "setpoint.yaml").write_bytes(PROJECT.read_bytes())
    except OSError as err:
        raise ProjectFileError(
            f"the folder cannot be written: {err.strerror}",
            where=str(out),
            fix="name a folder with --out that can be made and written",
        ) from err
    return len(world), int(world.fraud.sum())
