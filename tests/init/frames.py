"""Frames to write a project file from, and what becomes of it on their own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from setpoint.adapters.sources import list_batches, read_batch
from setpoint.config import Project, json_schema, load_project
from setpoint.domain.conform import conform
from setpoint.init import write_project
from setpoint.stages import assemble, ingest
from setpoint.workspace import open_workspace

N = 120
CODES = np.arange(N) % 3


def loans(**more: Any) -> pd.DataFrame:
    """A small frame of loans with columns more, or in place of its own."""
    rng = np.random.default_rng(0)
    base: dict[str, Any] = {
        "id": [f"e{i}" for i in range(N)],
        "timestamp": pd.date_range("2026-01-01", periods=N, freq="6h", tz="UTC"),
        "x": rng.normal(size=N),
        "label": np.arange(N) % 2,
    }
    return pd.DataFrame(base | more)


def written(
    folder: Path, frame: pd.DataFrame, name: str = "loans.parquet", **given: Any
) -> Project:
    """The project written for a frame, after its own data were read with it."""
    data, out = folder / name, folder / "setpoint.yaml"
    frame.to_parquet(data) if name.endswith("parquet") else frame.to_csv(data, index=False)
    write_project(data, out, **given)
    project = load_project(out)
    spec = project.events_spec()
    rows = read_batch(list_batches(str(data))[0], spec, aliases=project.sources())
    zone = project.data.time_zone
    table = conform(rows, spec, name, ignore=project.data.ignore, time_zone=zone)
    for column in spec.columns:
        values = set(table[column.name].to_pylist()) - {None}
        assert not column.values or values <= set(column.values)
    labels = table[project.target.column].cast(pa.string())
    assert project.target.positive in labels.to_pylist()
    written = yaml.safe_load(out.read_text("utf-8"))
    assert not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(written))
    return project


def ingested(folder: Path, frame: pd.DataFrame, name: str, **given: Any) -> Project:
    """The project written for a frame, after its own data were taken in with it."""
    project = written(folder, frame, name, **given)
    workspace = open_workspace(folder / "setpoint.yaml", folder / ".setpoint")
    assert ingest.ingest(workspace).rows == len(frame)
    assert set(assemble.history(workspace).labels["label"].to_pylist()) == {0, 1}
    return project
