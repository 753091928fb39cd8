"""Drift report for people, made with Evidently when there is something to look at.

Its figures are not the verdict: Evidently bins and tests in its own way, on a sample. The verdict
is ``setpoint.domain.drift``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from setpoint.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 2_000
"""Rows of each side that the report is made from; it needs minutes and gigabytes for a million."""


def drift_report(
    reference: pd.DataFrame, current: pd.DataFrame, path: Path, *, seed: int = 0
) -> Path:
    """Write a self-contained HTML page that compares two sets of rows column by column.

    Args:
        reference: Rows of the training data.
        current: Rows of the window. Columns that only one side has, or that one side has no value
            of, are left out: Evidently cannot compare them.
        path: File to write; it is replaced whole or not at all.
        seed: Seed of the samples of at most ``MAX_ROWS`` rows a side.

    Returns:
        ``path``.

    Raises:
        DataError: A side has no rows, or no column has values on both sides.
    """
    sides = [_sample(reference, "reference", seed), _sample(current, "current", seed)]
    shared = [c for c in reference.columns if all(_has_values(s, c) for s in sides)]
    if not shared:
        raise DataError(
            "no column has values on both sides",
            where="drift report",
            fix="give training rows and window rows with the same column names",
        )
    left, right = (side[shared] for side in sides)
    # Imported here: it takes seconds and is needed on incidents only.
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = _definition(left)
    snapshot = Report([DataDriftPreset()]).run(
        Dataset.from_pandas(right, data_definition=definition),
        Dataset.from_pandas(left, data_definition=definition),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.html")
    try:
        snapshot.save_html(str(beside))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _sample(frame: pd.DataFrame, side: str, seed: int) -> pd.DataFrame:
    if not len(frame):
        raise DataError(
            f"the {side} side has no rows",
            where="drift report",
            fix="choose a window with decisions in it",
        )
    return frame.sample(MAX_ROWS, random_state=seed) if len(frame) > MAX_ROWS else frame


def _has_values(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and bool(frame[column].notna().any())


def _definition(frame: pd.DataFrame) -> object:
    from evidently import DataDefinition

    numbers = list(frame.select_dtypes("number").columns)
    return DataDefinition(
        numerical_columns=numbers,
        categorical_columns=[c for c in frame.columns if c not in numbers],
    )
