"""A training is started by as many labels as are declared that it would learn and has not yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.errors import TrainingError, ValidationFailed
from setpoint.ports import Label
from setpoint.stages import respond, triggers
from setpoint.stages.assemble import history, training_rows
from setpoint.stages.ingest import current, ingest
from setpoint.workspace import StreamClock, Workspace
from tests.stages.small import APART, T0, deliver, make_frame, make_workspace

TEXT = APART.replace("trials: 1", "trials: 1, labelled_batch: 100")
FRAME = make_frame(600)
LABELS = FRAME[["id", "bad"]].assign(known_at=FRAME["at"] + timedelta(hours=5))
HOUR = timedelta(hours=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """All events are there; the first 200 labels are in a training."""
    made = replace(make_workspace(tmp_path, TEXT), replay=True)
    StreamClock(made.state).advance(T0)
    deliver(made, "1.parquet", FRAME.drop(columns="bad"))
    _told(made, "1", LABELS.iloc[:200])
    assert triggers.due(made, T0) == [], "nothing was ever trained"
    triggers.trained(made, current(made))
    yield made


def _told(workspace: Workspace, name: str, labels: pd.DataFrame) -> None:
    deliver(workspace, f"{name}.parquet", labels, "labels")
    ingest(workspace)


def _due(workspace: Workspace) -> bool:
    return triggers.due(workspace, T0) == [triggers.LABELS]


def test_as_many_labels_as_are_declared_start_a_training_and_it_is_one(
    workspace: Workspace,
) -> None:
    _told(workspace, "2", LABELS.iloc[200:299])
    assert not _due(workspace)
    assert triggers.take(workspace, triggers.LABELS) is None
    _told(workspace, "3", LABELS.iloc[299:300])
    again = Workspace(*(getattr(workspace, f) for f in ("project", "project_file", "root")),
                      workspace.environment, replay=True)  # fmt: skip
    assert _due(workspace) and _due(again), "a restart changes nothing"
    assert triggers.take(workspace, triggers.LABELS) is not None
    triggers.trained(workspace, current(workspace))
    assert not _due(workspace) and not _due(again)
    assert triggers.take(again, triggers.LABELS) is None, "told of by two sweeps"


def test_labels_that_were_known_already_start_none(workspace: Workspace) -> None:
    _told(workspace, "2", LABELS.iloc[:200].assign(known_at=LABELS["known_at"] + HOUR))
    assert not _due(workspace)


def test_a_label_that_was_corrected_counts_once_and_not_if_it_was_taken_back(
    workspace: Workspace,
) -> None:
    other = LABELS.iloc[:100].assign(
        bad=LABELS["bad"].map({"0": "1", "1": "0"}), known_at=LABELS["known_at"] + HOUR
    )
    _told(workspace, "2", other)
    assert _due(workspace)
    back = LABELS.iloc[:1].assign(known_at=LABELS["known_at"] + 2 * HOUR)
    _told(workspace, "3", back)
    assert not _due(workspace), "99 differ from what was trained on"


def test_labels_of_a_batch_count_once_it_is_no_longer_refused(workspace: Workspace) -> None:
    bad = LABELS.iloc[200:310].copy()
    bad.loc[bad.index[0], "bad"] = "maybe"
    with pytest.raises(ValidationFailed):
        _told(workspace, "2", bad)
    assert not _due(workspace)
    _told(workspace, "2", LABELS.iloc[200:310])
    assert _due(workspace)


def test_labels_that_no_training_would_learn_yet_do_not_count_yet(workspace: Workspace) -> None:
    """Known after the clock, of events that have not come, of events not old enough."""
    unknown = LABELS.iloc[200:300].assign(known_at=pd.Timestamp(T0) + 9 * HOUR)
    late = make_frame(150, seed=1, start=1000)
    _told(workspace, "2", unknown)
    told = late[["id", "bad"]].assign(known_at=late["at"] + HOUR)
    _told(workspace, "3", told)
    assert not _due(workspace)
    deliver(workspace, "2.parquet", late.drop(columns="bad"))
    ingest(workspace)
    assert _due(workspace)
    triggers.trained(workspace, current(workspace))
    assert not _due(workspace)
    StreamClock(workspace.state).advance(T0 + 9 * HOUR)
    assert _due(workspace), "no batch came, and they are known"


def test_a_training_counts_what_was_in_its_own_snapshot(workspace: Workspace) -> None:
    snapshot = current(workspace)
    _told(workspace, "2", LABELS.iloc[200:300])
    triggers.trained(workspace, snapshot)
    assert _due(workspace), "they came after the snapshot that it was trained on"


def test_labels_of_a_fault_count_once_it_is_taken_back(workspace: Workspace) -> None:
    finding = Finding("fault", Outcome.FAILED, 0.5, 0.25, "ceiling", 500, 0.001, "in cents")
    begin = FRAME["at"].iloc[200].to_pydatetime()
    opened_at = begin + workspace.project.watch.window / 3
    fault, _ = workspace.state.open_incident(
        Incident("", Cause.FAULT, Severity.HIGH, Status.NEEDS_PERSON, opened_at, "v1", (finding,))
    )
    _told(workspace, "2", LABELS.iloc[200:320])
    assert not _due(workspace)
    triggers.trained(workspace, current(workspace))
    respond.by_person(workspace, fault.id, "a sale", retry=False, sound=True)
    assert _due(workspace)


def test_labels_of_events_younger_than_the_label_delay_count_once_they_are_older(
    tmp_path: Path,
) -> None:
    text = TEXT.replace("delay: 1d", "delay: 10d")
    workspace = replace(make_workspace(tmp_path, text), replay=True)
    StreamClock(workspace.state).advance(T0)
    deliver(workspace, "1.parquet", FRAME.drop(columns="bad"))
    _told(workspace, "1", LABELS.iloc[:200])
    triggers.trained(workspace, current(workspace))
    learned = len(training_rows(workspace, history(workspace)))
    _told(workspace, "2", LABELS.iloc[450:])
    assert len(training_rows(workspace, history(workspace))) == learned
    assert not _due(workspace)
    later = make_frame(1, start=2000).assign(at=pd.Timestamp(T0) + timedelta(days=10))
    StreamClock(workspace.state).advance(T0 + timedelta(days=10))
    deliver(workspace, "2.parquet", later.drop(columns="bad"))
    ingest(workspace)
    assert len(training_rows(workspace, history(workspace))) == learned + 150
    assert _due(workspace)


def test_a_clock_that_goes_back_makes_nothing_new(workspace: Workspace) -> None:
    other = LABELS.iloc[:100].assign(
        bad=LABELS["bad"].map({"0": "1", "1": "0"}), known_at=pd.Timestamp(T0) - HOUR
    )
    _told(workspace, "2", other)
    assert _due(workspace)
    triggers.trained(workspace, current(workspace))
    workspace.state.remember("stream_clock", (T0 - 2 * HOUR).isoformat())
    assert not _due(workspace), "as if the corrections had been taken back"


def test_labels_that_only_the_scoring_service_was_told_are_in_no_training_and_start_none(
    workspace: Workspace,
) -> None:
    before = len(training_rows(workspace, history(workspace)))
    told = [
        Label(row.id, int(row.bad), row.known_at.to_pydatetime())
        for row in LABELS.iloc[200:400].itertuples()
    ]
    workspace.decisions.add_labels(told)
    assert len(training_rows(workspace, history(workspace))) == before
    assert not _due(workspace)


def test_a_state_that_tells_but_a_number_of_labels_is_still_counted_from(
    workspace: Workspace,
) -> None:
    workspace.state.remember("labels_trained", "200")
    assert not _due(workspace)
    _told(workspace, "2", LABELS.iloc[200:300])
    assert _due(workspace)


def test_no_training_starts_beside_a_release_that_waits(workspace: Workspace) -> None:
    _told(workspace, "2", LABELS.iloc[200:300])
    held = Rollout("v2", "v1", plan("blue_green", shadowing=False), Stage.HELD)
    workspace.state.save_release(held)
    assert not _due(workspace)


def _killed(workspace: Workspace, run: str) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        triggers.learning(workspace, current(workspace), run),
    ):
        raise KeyboardInterrupt


def test_labels_whose_training_was_killed_start_one_again_but_once(workspace: Workspace) -> None:
    _told(workspace, "2", LABELS.iloc[200:300])
    _killed(workspace, "r1")
    assert not triggers.given_back(workspace, lambda run: False)
    assert not _due(workspace), "it may go on"
    assert triggers.given_back(workspace, lambda run: run == "r1")
    assert _due(workspace)
    assert not triggers.given_back(workspace, lambda run: True), "two sweeps"
    _killed(workspace, "r2")
    assert not triggers.given_back(workspace, lambda run: True), "what kills may kill again"
    assert not _due(workspace)


def test_labels_of_a_killed_training_are_not_lost_to_one_that_is_killed_after_it(
    workspace: Workspace,
) -> None:
    _told(workspace, "2", LABELS.iloc[200:300])
    _killed(workspace, "r1")
    _killed(workspace, "r2")
    assert triggers.given_back(workspace, lambda run: run == "r2")
    assert _due(workspace)


@pytest.mark.parametrize("fails", [False, True])
def test_labels_of_a_training_that_ended_start_none_again(
    workspace: Workspace, fails: bool
) -> None:
    _told(workspace, "2", LABELS.iloc[200:300])
    with (
        pytest.raises(TrainingError) if fails else nullcontext(),
        triggers.learning(workspace, current(workspace), "r1"),
    ):
        if fails:
            raise TrainingError("one class", where="rows", fix="wait")
    assert not triggers.given_back(workspace, lambda run: True)
    assert not _due(workspace)
