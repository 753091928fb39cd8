"""Ingest: a bad batch stops with one clear error and is kept whole; a batch counts once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from setpoint.errors import DataError, ValidationFailed
from setpoint.stages.ingest import current, ingest, quarantined
from setpoint.stages.train import assemble
from tests.stages.small import APART, deliver, make_frame, make_workspace

GOOD = make_frame(40)


def _table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda path: change(GOOD.copy()).to_parquet(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing column": (_table(lambda f: f.drop(columns="x")), "column x: missing"),
    "undeclared column": (_table(lambda f: f.assign(z=1)), "column z: found, but not declared"),
    "wrong type": (_table(lambda f: f.assign(x="far")), "column x: found"),
    "time without zone": (_table(lambda f: f.assign(at=f["at"].dt.tz_localize(None))), "column at"),
    "no rows": (_table(lambda f: f.iloc[:0]), "0 rows"),
    "empty file": (lambda path: path.write_bytes(b""), "0 bytes"),
    "unreadable file": (lambda path: path.write_bytes(b"PAR1 and no more"), "cannot be read"),
}
BROKEN_RULES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "x": lambda f: f.assign(x=99.0),
    "kind": lambda f: f.assign(kind="c"),
    "id": lambda f: f.assign(id="same"),
    "bad": lambda f: f.assign(bad="2"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_batch_that_cannot_be_used_is_kept_as_it_came(kind: str, tmp_path: Path) -> None:
    make, said = BAD[kind]
    workspace = make_workspace(tmp_path)
    path = tmp_path / "data" / "b.parquet"
    make(path)
    with pytest.raises(DataError) as caught:
        ingest(workspace)
    assert said in caught.value.what and "b.parquet" in caught.value.where
    [kept] = quarantined(workspace)
    assert str(kept) in caught.value.fix
    assert (kept / "b.parquet").read_bytes() == path.read_bytes()
    assert said in json.loads((kept / "reason.json").read_text())["reason"]


@pytest.mark.parametrize("column", BROKEN_RULES)
def test_a_batch_that_breaks_a_rule_is_refused_whole(column: str, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    frame = GOOD.copy()
    frame.iloc[:3] = BROKEN_RULES[column](frame.iloc[:3].copy())
    deliver(workspace, "b.parquet", frame)
    with pytest.raises(ValidationFailed, match=column):
        ingest(workspace)
    [kept] = quarantined(workspace)
    assert pq.read_table(kept / "b.parquet").num_rows == 40
    with pytest.raises(DataError, match="there are no events yet"):
        current(workspace)


def test_a_refused_batch_is_kept_once_however_often_it_is_tried(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "b.parquet", GOOD.drop(columns="x"))
    for _ in range(2):
        with pytest.raises(DataError):
            ingest(workspace)
    assert len(quarantined(workspace)) == 1


def test_a_refused_batch_leaves_the_snapshot_of_the_good_ones(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    before = ingest(workspace)
    deliver(workspace, "2.parquet", GOOD.assign(x="far"))
    with pytest.raises(DataError):
        ingest(workspace)
    assert current(workspace).digest == before.digest


def test_the_same_batch_twice_changes_nothing(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    first = ingest(workspace)
    again = ingest(workspace)
    assert (first.rows, again.rows) == (40, 40)
    assert first.batches == ("events/1.parquet",) and again.batches == ()
    assert (again.digest, again.events_version) == (first.digest, first.events_version)


def test_a_second_batch_is_added(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    first = ingest(workspace)
    deliver(workspace, "2.parquet", make_frame(20, seed=1, start=40))
    second = ingest(workspace)
    assert (second.rows, second.batches) == (60, ("events/2.parquet",))
    assert second.digest != first.digest


def test_a_constant_label_stops_before_training(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD.assign(bad="0"))
    ingest(workspace)
    with pytest.raises(DataError, match=r"the label is 0 in every row.*nothing can be learned"):
        assemble(workspace, None)


def test_no_data_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one batch"):
        ingest(make_workspace(tmp_path))


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
