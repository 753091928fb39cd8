"""A replay of a history through the loop: what it would have done and been worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from setpoint.backtest import run_backtest
from setpoint.errors import DataError
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

WATCHED = PROJECT.replace("trials: 1", "trials: 2") + (
    "watch: {every: 2d, window: 2d, min_positives: 20}\n"
    "respond: {cooldown: 0d, retry_after: 0d, attempts: 19}\n"
)


def _replay(folder: Path, frame: pd.DataFrame) -> tuple[dict, Workspace]:
    workspace = make_workspace(folder, WATCHED)
    workspace.root.mkdir(parents=True, exist_ok=True)
    workspace.set_platform({"clock": "stream"})
    deliver(workspace, "0.parquet", frame)
    return run_backtest(workspace, "2026-01-12", 2, lambda _: None), workspace


def _turned(frame: pd.DataFrame) -> pd.DataFrame:
    """From the 15th on, high ``x`` means the opposite."""
    late = frame["at"] >= pd.Timestamp("2026-01-15", tz="UTC")
    flipped = frame["bad"].map({"0": "1", "1": "0"})
    return frame.assign(bad=np.where(late, flipped, frame["bad"]))


def test_a_history_without_drift_is_not_retrained_on(tmp_path: Path) -> None:
    figures, _ = _replay(tmp_path, make_frame(2500))
    assert figures["retrainings"] == 0
    assert figures["alarms"] == []
    assert figures["baselines"]["setpoint"]["cost"] == figures["baselines"]["never"]["cost"]
    assert figures["baselines"]["cron"]["retrainings"] > 0
    assert figures["requests"] == figures["answered"] > 0


def test_a_concept_that_turns_is_found_and_healed_and_pays(tmp_path: Path) -> None:
    figures, workspace = _replay(tmp_path, _turned(make_frame(6000)))
    assert figures["healed"]
    assert figures["baselines"]["setpoint"]["cost"] < figures["baselines"]["never"]["cost"]
    assert workspace.state.verify_ledger() is None


def test_an_earlier_replay_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    _, workspace = _replay(tmp_path, make_frame(1500))
    with pytest.raises(DataError, match="an earlier replay"):
        run_backtest(workspace, "2026-01-12", 2, lambda _: None)
