"""A replay of a history through the loop: what it would have done and been worth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.backtest import run_backtest
from setpoint.backtest.figures import micros
from setpoint.backtest.policies import Setpoint, every, never, on_psi
from setpoint.backtest.replay import Replay, Run, Served, play
from setpoint.backtest.run import prepare
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Rollout, Stage
from setpoint.domain.windows import WindowRecord
from setpoint.errors import StateError
from setpoint.stages import publish as publishing
from setpoint.stages import train
from setpoint.workspace import Workspace
from tests.stages.small import APART, PROJECT, deliver, make_frame, make_workspace

DAY = timedelta(days=1)
# After a turn the calibration is of both worlds for a while; so few rows prove no narrow limit.
WATCHED = PROJECT.replace("trials: 1", "trials: 2").replace(
    "gates: {", "gates: {calibration: {max_error: 0.4}, "
) + (
    "watch: {every: 2d, window: 2d, min_positives: 20}\n"
    "respond: {cooldown: 0d, retry_after: 0d, attempts: 19}\n"
)


DRIFT_CLOSER = "respond: {performance: nothing, drift: watch_closer, "


def _replay(folder: Path, frame: pd.DataFrame) -> tuple[dict, Workspace]:
    workspace = make_workspace(folder, WATCHED)
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
    assert not workspace.state.audit_ledger(()).breaks


def test_what_is_watched_closer_is_looked_at_four_times_as_often(tmp_path: Path) -> None:
    frame = make_frame(2500)
    late = frame["at"] >= pd.Timestamp("2026-01-20", tz="UTC")
    workspace = make_workspace(tmp_path, WATCHED.replace("respond: {", DRIFT_CLOSER))
    deliver(workspace, "0.parquet", frame.assign(x=np.where(late, frame["x"] + 3, frame["x"])))
    run_backtest(workspace, "2026-01-12", 2, lambda _: None)
    ends = [window.end for window in workspace.state.windows()]
    opened = workspace.state.incidents()[0].opened_at
    between = {after - before for before, after in pairwise(ends) if before >= opened}
    assert {after - before for before, after in pairwise(ends) if after <= opened} == {2 * DAY}
    assert DAY / 2 in between


ROLLS_BACK = WATCHED.replace("respond: {", "respond: {performance: roll_back, ")


def test_where_nothing_good_served_before_a_roll_back_asks_a_person(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, ROLLS_BACK)
    deliver(workspace, "0.parquet", _turned(make_frame(3000)))
    figures = run_backtest(workspace, "2026-01-12", 2, lambda _: None)
    [asked] = figures["needs_person"]
    assert "nothing to roll v1 back to" in asked
    assert figures["retrainings"] == 0 and not figures["healed"]
    assert figures["requests"] == figures["answered"]


def test_in_a_replay_a_roll_back_serves_the_bundle_of_the_last_good_version(tmp_path: Path) -> None:
    replay = _streamed(tmp_path, make_frame(1500), ROLLS_BACK)
    workspace, training = replay.workspace, replay.first()
    loop = Setpoint(replay, training)
    second = publishing.publish(workspace, training, replay.snapshot, "manual").version
    promoted = Rollout(second, "v1", (), Stage.PROMOTED, settled=True)
    workspace.state.begin_release(promoted)
    workspace.registry.point(CHAMPION, second)
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    held = replace(finding, outcome=Outcome.PASSED, value=0.7)
    workspace.state.keep_window(WindowRecord(BEGIN - timedelta(days=1), "v1", (held,)))
    opened, _ = workspace.state.open_incident(
        Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, BEGIN, second, (finding,))
    )
    run = Run.start(replay, FIRST)
    loop(run, BEGIN)
    assert run.serving.version == workspace.champion() == "v1"
    assert run.tally.trained == 0 and run.tally.promoted == [BEGIN]
    after = workspace.state.incident(opened.id)
    assert (after.status, after.note) == (Status.RESOLVED, "rolled back to v1")
    alone = Served.of_bundle(read_bundle(workspace.bundle("v1")))
    streamed = replay.rows.time >= micros(BEGIN)
    assert np.array_equal(run.log.score[streamed], alone.scores(replay.rows.take(streamed)))


def test_an_earlier_replay_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    _, workspace = _replay(tmp_path, make_frame(1500))
    with pytest.raises(StateError, match="an earlier replay"):
        run_backtest(workspace, "2026-01-12", 2, lambda _: None)


def test_a_platforms_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, WATCHED)
    workspace.root.mkdir(parents=True)
    workspace.set_platform({"ports": {"gateway": 1, "admin": 2, "prefect": 3, "mlflow": 4}})
    before = workspace.platform_file.read_bytes()
    with pytest.raises(StateError, match="is a platform's"):
        run_backtest(workspace, "2026-01-12", 2, lambda _: None)
    assert workspace.platform_file.read_bytes() == before
    assert workspace.snapshots("events").latest() is None


def test_a_replay_writes_to_no_registry_and_no_snapshots_but_its_own(tmp_path: Path) -> None:
    shared = WATCHED.replace("  events: data\n", "  events: data\n  snapshots: shared\n")
    workspace = make_workspace(tmp_path, shared)
    tracking = f"sqlite:///{tmp_path / 'shared.db'}"
    environment = workspace.environment.model_copy(update={"tracking_uri": tracking})
    deliver(workspace, "0.parquet", make_frame(1500))
    run_backtest(replace(workspace, environment=environment), "2026-01-12", 5, lambda _: None)
    assert not (tmp_path / "shared.db").exists() and not (tmp_path / "shared").exists()


def test_a_retraining_that_is_impossible_is_told_and_the_replay_goes_on(tmp_path: Path) -> None:
    frame = make_frame(2500)
    late = frame["at"] >= pd.Timestamp("2026-01-14", tz="UTC")
    # From then on all are bad: the setpoint breaks, and no model can be tuned on one class.
    frame = frame.assign(bad=np.where(late, "1", frame["bad"]))
    text = WATCHED.replace("attempts: 19", "attempts: 2").replace(
        "ranking: {metric: roc_auc, floor: 0.6}", "reviews: {metric: alert_rate, ceiling: 0.6}"
    )
    workspace = make_workspace(tmp_path, text)
    deliver(workspace, "0.parquet", frame.assign(x=np.where(late, 5.0, frame["x"])))
    told: list[str] = []
    figures = run_backtest(workspace, "2026-01-12", 2, told.append)
    assert any("not trained" in line or "refused" in line for line in told)
    assert len(figures["needs_person"]) == 1 and not figures["healed"]
    assert figures["requests"] == figures["answered"]


def test_the_summary_has_the_keys_of_the_demos_and_baselines(tmp_path: Path) -> None:
    figures, _ = _replay(tmp_path, make_frame(1500))
    shared = {
        "healed", "retrainings", "seconds_to_alarm", "seconds_to_heal", "event_time_to_alarm",
        "event_time_to_heal", "requests", "answered", "lost", "wrong_version", "detection_rate",
        "cost", "baselines",
    }  # fmt: skip
    assert shared <= set(figures)
    for key in ("detection_rate", "cost"):
        assert set(figures[key]) == {"before", "during", "after"}
    assert set(figures["baselines"]) == {"never", "cron", "setpoint"}


BEGIN = datetime(2026, 1, 12, tzinfo=UTC)
FIRST = Served("first", lambda rows: rows.numbers[:, 0].astype(float), 0.5)


def _learn(run: Run, now: datetime, since: datetime | None) -> train.Training:
    workspace = run.replay.workspace
    rows, known = train.assemble(workspace, now)
    return train.fit(workspace, rows, known, since)


def _streamed(folder: Path, frame: pd.DataFrame, text: str = WATCHED) -> Replay:
    workspace = replace(make_workspace(folder, text), replay=True)
    deliver(workspace, "0.parquet", frame)
    return prepare(workspace, BEGIN, lambda _: None, _learn)


@pytest.mark.parametrize("unlabelled", ["drop", "negative"])
def test_rows_known_at_a_moment_are_those_that_the_snapshots_knew(
    tmp_path: Path, unlabelled: str
) -> None:
    frame = make_frame(900)
    rng = np.random.default_rng(2)
    known = frame["at"] + pd.to_timedelta(rng.uniform(0, 5, len(frame)), unit="D")
    labels = frame.assign(known_at=known)[["id", "bad", "known_at"]][rng.random(len(frame)) < 0.8]
    text = APART.replace("delay: 1d", f"delay: 2d, unlabelled: {unlabelled}")
    text = text.replace("train: {", "train: {history: 6d, ")
    workspace = replace(make_workspace(tmp_path, text), replay=True)
    deliver(workspace, "0.parquet", frame.drop(columns="bad"))
    deliver(workspace, "0.parquet", labels, "labels")
    replay = prepare(workspace, BEGIN, lambda _: None, _learn)
    run = Run.start(replay, FIRST)
    for day in (12, 15, 20):
        now = datetime(2026, 1, day, 7, tzinfo=UTC)
        ours, theirs = run.known_rows(now), train.assemble(workspace, now)[0]
        order = np.argsort(theirs.time, kind="stable")
        assert len(ours) > 50
        assert ours.ids.tolist() == theirs.ids[order].tolist()
        assert ours.label.tolist() == theirs.label[order].tolist()
        assert np.array_equal(ours.numbers, theirs.numbers[order], equal_nan=True)


def test_labels_can_follow_what_was_decided(tmp_path: Path) -> None:
    replay = _streamed(tmp_path, make_frame(1500), WATCHED.replace("delay: 1d", "delay: 0d"))
    truth = pa.array(replay.rows.label)
    times = replay.table["event_time"]

    def deliver_acted(acted: np.ndarray) -> tuple[pa.Array, pa.Array]:
        seen = pa.array(acted)
        return pc.if_else(seen, truth, None), pc.if_else(seen, times, None)

    run = play(replace(replay, deliver=deliver_acted), never, FIRST)
    known = set(run.known_rows(replay.end).ids.tolist())
    assert known == set(replay.rows.ids[run.log.acted].tolist())
    assert 0 < len(known) < len(replay.rows)


def test_a_cron_retrains_by_the_clock_and_a_psi_alarm_only_when_inputs_move(tmp_path: Path) -> None:
    frame = make_frame(2500)
    late = frame["at"] >= pd.Timestamp("2026-01-20", tz="UTC")
    (tmp_path / "still").mkdir()
    (tmp_path / "moved").mkdir()
    still = _streamed(tmp_path / "still", frame)
    moved = _streamed(tmp_path / "moved", frame.assign(x=np.where(late, 3.0, frame["x"])))
    assert play(still, every(2), FIRST).tally.trained == 4  # of nine looks
    assert play(still, never, FIRST).tally.trained == 0
    assert play(still, on_psi(still.first()), FIRST).tally.trained == 0
    alarmed = play(moved, on_psi(moved.first()), FIRST)
    assert alarmed.tally.trained > 0
    before = alarmed.log.version[replay_before(moved, datetime(2026, 1, 20, tzinfo=UTC))]
    assert set(before) == {"", "first"}


def replay_before(replay: Replay, time: datetime) -> np.ndarray:
    return replay.rows.time < round(time.timestamp() * 1_000_000)
