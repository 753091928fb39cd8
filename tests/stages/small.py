"""A small synthetic project in a folder: a score that can be learned, two groups, own labels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from setpoint.config import Environment, load_project
from setpoint.ports import Decision
from setpoint.workspace import Workspace

T0 = datetime(2026, 2, 1, tzinfo=UTC)
"""A moment after all events of ``make_frame``."""

PROJECT = """\
name: small
owner: {team: tests, contact: tests@example.org}
data:
  events: data
  event_id: id
  event_time: at
  protected: [sex]
  columns:
    id: {type: id}
    at: {type: time}
    x: {type: number, min: -20, max: 20}
    y: {type: number, min: -20, max: 20, nullable: true}
    kind: {type: category, values: [a, b]}
    sex: {type: category, values: [f, m], personal: true}
    bad: {type: category, values: ["0", "1"]}
target: {column: bad, positive: "1", delay: 1d}
costs: {false_negative: 5, false_positive: 1, true_positive: 1}
features: {columns: [x, y, kind], calendar: [hour]}
setpoints:
  ranking: {metric: roc_auc, floor: 0.6}
train: {holdout: 0.4, judge_recent: 1.0, trials: 1, max_iter: 12, seed: 3}
gates: {min_sample: 100, fairness: {floor: 0.5, min_group: 10}}
package: {image: never}
"""

APART = (
    PROJECT.replace("  events: data\n", "  events: data\n  labels: labels\n")
    .replace('    bad: {type: category, values: ["0", "1"]}\n', "")
)  # fmt: skip


def make_frame(rows: int = 1200, seed: int = 0, start: int = 0) -> pd.DataFrame:
    """Events of 30 days, with their label ``bad``."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    chance = 1 / (1 + np.exp(-(2.5 * x + y)))
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(
        np.sort(rng.integers(0, 30 * 86_400, rows)), unit="s"
    )
    return pd.DataFrame(
        {
            "id": [f"e{start + i}" for i in range(rows)],
            "at": at,
            "x": x,
            "y": np.where(rng.random(rows) < 0.05, np.nan, y),
            "kind": rng.choice(["a", "b"], rows),
            "sex": rng.choice(["f", "m"], rows),
            "bad": np.where(rng.random(rows) < chance, "1", "0"),
        }
    )


def make_workspace(folder: Path, text: str = PROJECT) -> Workspace:
    """A workspace whose batches are in ``folder/data`` (and ``folder/labels``)."""
    for name in ("data", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    file = folder / "setpoint.yaml"
    file.write_text(text, "utf-8")
    return Workspace(load_project(file), file, folder / "state", Environment())


def deliver(workspace: Workspace, name: str, frame: pd.DataFrame, table: str = "data") -> Path:
    """Put a batch where the project file says the data are."""
    path = workspace.project_file.parent / table / name
    frame.to_parquet(path)
    return path


def serve(workspace: Workspace, until: datetime, rows: int = 300) -> None:
    """Decisions of the four days before ``until`` by ``v1``, with ``x`` moved by 3."""
    rng = np.random.default_rng(5)
    inputs = {"y": None, "kind": "a", "sex": "f", "hour": 3.0}
    workspace.decisions.append(
        [
            Decision(
                id=f"d{i}",
                event_time=until - timedelta(hours=1 + i / 3),
                request={},
                features={"x": float(rng.normal() + 3), **inputs},
                score=0.2,
                threshold=0.5,
                action="approve",
                reasons=(),
                version="v1",
                bundle_digest="0" * 64,
            )
            for i in range(rows)
        ]
    )


def stored(workspace: Workspace, table: str) -> pa.Table:
    """The newest snapshot of ``events`` or ``labels``."""
    store = workspace.snapshots(table)
    latest = store.latest()
    assert latest is not None
    return store.read(latest.version)
