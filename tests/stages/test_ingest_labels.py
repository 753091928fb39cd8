"""Ingest of labels: beside their events or of their own, known when they say so, of two values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from setpoint.errors import DataError, ValidationFailed
from setpoint.stages.ingest import current, ingest
from setpoint.stages.train import assemble
from setpoint.workspace import Workspace
from tests.stages.small import APART, PROJECT, deliver, make_frame, make_workspace, stored

GOOD = make_frame(40)
NULLABLE = PROJECT.replace('values: ["0", "1"]}', 'values: ["0", "1"], nullable: true}')
ANY_LABEL = APART.replace('positive: "1"', 'positive: "yes"')
DECLARED_LABEL = APART.replace("target:", '    bad: {type: category, values: ["0", "1"]}\ntarget:')


def test_a_constant_label_stops_before_training(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD.assign(bad="0"))
    ingest(workspace)
    with pytest.raises(DataError, match=r"the label is 0 in every row.*nothing can be learned"):
        assemble(workspace, None)


def test_labels_without_a_time_are_known_from_the_delay_on(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, APART)
    deliver(workspace, "1.parquet", GOOD.drop(columns="bad"))
    deliver(workspace, "1.parquet", GOOD[["id", "bad"]].sample(frac=1, random_state=0), "labels")
    ingest(workspace)
    store = workspace.snapshots("labels")
    latest = store.latest()
    assert latest is not None
    labels = store.read(latest.version).to_pandas().set_index("id")
    events = GOOD.set_index("id").loc[labels.index]
    assert (labels["known_at"] == events["at"] + timedelta(days=1)).all()
    assert (labels["label"].astype(str) == events["bad"]).all()


def test_labels_of_unknown_events_without_a_time_are_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, APART)
    deliver(workspace, "1.parquet", GOOD.drop(columns="bad"))
    deliver(workspace, "1.parquet", GOOD[["id", "bad"]].assign(id="stranger"), "labels")
    with pytest.raises(DataError):
        ingest(workspace)
    with pytest.raises(DataError, match="there are no labels yet"):
        current(workspace)


def test_a_batch_without_any_label_adds_its_events_and_no_labels(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, NULLABLE)
    deliver(workspace, "1.parquet", GOOD)
    first = ingest(workspace)
    deliver(workspace, "2.parquet", make_frame(20, seed=100, start=100).assign(bad=None))
    second = ingest(workspace)
    assert (second.rows, second.labels_version) == (60, first.labels_version)
    assert stored(workspace, "labels").num_rows == 40
    assert ingest(workspace).batches == ()


def _labels(workspace: Workspace, values: list[str], name: str = "1.parquet") -> None:
    known = datetime(2026, 3, 1, tzinfo=UTC)
    frame = pd.DataFrame({"id": GOOD["id"][: len(values)], "bad": values, "known_at": known})
    deliver(workspace, name, frame, "labels")


def test_labels_of_their_own_are_held_against_the_declared_values(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, DECLARED_LABEL)
    deliver(workspace, "1.parquet", GOOD.drop(columns="bad"))
    _labels(workspace, ["0", "1", "maybe"])
    with pytest.raises(ValidationFailed, match=r"column bad: in set \(expected 0, 1\).*maybe"):
        ingest(workspace)
    assert workspace.snapshots("labels").latest() is None


def test_a_third_label_value_is_an_error_that_names_all_three(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, ANY_LABEL)
    deliver(workspace, "1.parquet", GOOD.drop(columns="bad"))
    _labels(workspace, ["yes", "no", "no", "No"])
    with pytest.raises(ValidationFailed, match=r"'No', 'no', 'yes'.*1 of 4 fail, e\.g\. No"):
        ingest(workspace)


def test_a_third_label_value_is_found_in_a_later_ingest_too(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, ANY_LABEL)
    deliver(workspace, "1.parquet", GOOD.drop(columns="bad"))
    _labels(workspace, ["yes", "no"])
    ingest(workspace)
    _labels(workspace, ["yes", "none", "none"], "2.parquet")
    with pytest.raises(ValidationFailed, match="'no', 'none', 'yes'"):
        ingest(workspace)
    assert stored(workspace, "labels").num_rows == 2


def test_labels_of_events_that_have_not_come_are_kept_and_counted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, APART)
    deliver(workspace, "1.parquet", GOOD[:30].drop(columns="bad"))
    _labels(workspace, GOOD["bad"].tolist())
    assert ingest(workspace).labels_waiting == 10
    deliver(workspace, "2.parquet", GOOD[30:].drop(columns="bad"))
    assert ingest(workspace).labels_waiting == 0
