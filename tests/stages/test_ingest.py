"""Ingest: a bad batch stops with one clear error and is kept whole; a batch counts once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from setpoint.errors import DataError, ValidationFailed
from setpoint.stages.assemble import history
from setpoint.stages.ingest import current, ingest, quarantined
from setpoint.stages.train import assemble
from setpoint.workspace import StreamClock
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace, stored

GOOD = make_frame(40)
TWO_FOLDERS = PROJECT.replace("events: data\n", "events: [data, labels]\n")
WITH_RISK = PROJECT.replace(
    "  event_time: at\n", "  event_time: at\n  entities: {kind: kind}\n"
).replace(
    "calendar: [hour]",
    "windows: [{entity: kind, column: x, compute: [count, mean], over: [7d]}], "
    "risks: [{entity: kind, over: [20d], delay: 1d}]",
)


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
    assert said in caught.value.what and caught.value.where.startswith(str(path))
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
    with pytest.raises(ValidationFailed, match=column) as caught:
        ingest(workspace)
    [kept] = quarantined(workspace)
    assert pq.read_table(kept / "b.parquet").num_rows == 40
    assert caught.value.where == str(tmp_path / "data" / "b.parquet")
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
    assert first.batches == ("events/data/1.parquet",) and again.batches == ()
    assert (again.digest, again.events_version) == (first.digest, first.events_version)


def test_a_second_batch_is_added(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    first = ingest(workspace)
    deliver(workspace, "2.parquet", make_frame(20, seed=1, start=40))
    second = ingest(workspace)
    assert (second.rows, second.batches) == (60, ("events/data/2.parquet",))
    assert second.digest != first.digest


def test_no_data_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one batch"):
        ingest(make_workspace(tmp_path))


def _frame(start: int, rows: int = 20) -> pd.DataFrame:
    return make_frame(rows, seed=start, start=start)


# -- ids over all batches ------------------------------------------------------------------------


def test_a_batch_with_an_id_of_an_earlier_ingest_is_refused_whole(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    before = ingest(workspace)
    path = deliver(workspace, "2.parquet", _frame(33))
    with pytest.raises(ValidationFailed) as caught:
        ingest(workspace)
    assert "column id: not seen before" in caught.value.what
    assert "7 of 20 fail" in caught.value.what and "e33 (row 0)" in caught.value.what
    assert "e37 (row 4)" in caught.value.what and "e38 (row 5)" not in caught.value.what
    [kept] = quarantined(workspace)
    assert (kept / "2.parquet").read_bytes() == path.read_bytes()
    assert current(workspace).digest == before.digest


def test_of_two_new_batches_with_one_id_the_later_is_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    for name, start in (("1", 0), ("2", 100), ("3", 119), ("4", 200)):
        deliver(workspace, f"{name}.parquet", _frame(start))
    with pytest.raises(ValidationFailed, match=r"1 of 20 fail, e\.g\. e119 \(row 0\)") as caught:
        ingest(workspace)
    assert caught.value.where.endswith("3.parquet")
    assert current(workspace).rows == 40
    assemble(workspace, None)


# -- names and addresses -------------------------------------------------------------------------


def test_files_of_one_name_at_two_addresses_are_two_batches(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, TWO_FOLDERS)
    deliver(workspace, "1.parquet", _frame(0))
    deliver(workspace, "1.parquet", _frame(100), "labels")
    deliver(workspace, "0.parquet", _frame(200), "labels")
    done = ingest(workspace)
    names = ("labels/0.parquet", "data/1.parquet", "labels/1.parquet")
    assert done.rows == 60 and done.batches == tuple(f"events/{name}" for name in names)
    assert ingest(workspace).batches == ()


def test_a_file_that_two_addresses_name_is_one_batch(tmp_path: Path) -> None:
    text = PROJECT.replace("events: data\n", "events: [data, ./data/1.parquet]\n")
    workspace = make_workspace(tmp_path, text)
    deliver(workspace, "1.parquet", GOOD)
    assert ingest(workspace).rows == 40


def test_a_project_that_moved_knows_its_batches(tmp_path: Path) -> None:
    deliver(make_workspace(tmp_path / "old"), "1.parquet", GOOD)
    before = ingest(make_workspace(tmp_path / "old"))
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    after = ingest(make_workspace(tmp_path / "new"))
    assert (after.digest, after.batches) == (before.digest, ())


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_replaced_after_it_was_taken_in_is_an_error(same_size: bool, tmp_path: Path) -> None:
    text = PROJECT.replace("data:\n", "data:\n  time_zone: UTC\n", 1)
    workspace = make_workspace(tmp_path, text)
    path = tmp_path / "data" / "1.csv"
    GOOD.to_csv(path, index=False)
    ingest(workspace)
    content = path.read_bytes()
    changed = content.replace(b"e0,", b"e9,", 1) if same_size else content + b"\n"
    path.write_bytes(changed)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match="the file was replaced after it was taken in") as caught:
        ingest(workspace)
    assert caught.value.where == str(path) and "under a new name" in caught.value.fix
    assert quarantined(workspace) == []


def test_a_file_that_was_only_touched_is_no_other(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    path = deliver(workspace, "1.parquet", GOOD)
    before = ingest(workspace)
    os.utime(path, (1, 1))
    assert ingest(workspace).digest == before.digest


# -- order of rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["newest first", "shuffled"])
def test_the_order_of_rows_in_a_file_changes_no_feature(order: str, tmp_path: Path) -> None:
    frame = make_frame(200)
    frame["at"] += pd.to_timedelta(range(200), unit="us")  # no ties, whose order is the file's
    other = frame[::-1] if order == "newest first" else frame.sample(frac=1, random_state=1)
    rows = []
    for name, content in (("sorted", frame), ("other", other)):
        workspace = make_workspace(tmp_path / name, WITH_RISK)
        deliver(workspace, "1.parquet", content.reset_index(drop=True))
        ingest(workspace)
        rows.append(assemble(workspace, None)[0])
    np.testing.assert_allclose(rows[0].numbers, rows[1].numbers, equal_nan=True)
    assert (rows[0].label == rows[1].label).all()


def test_events_of_one_moment_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD.assign(at=GOOD["at"].iloc[0])[::-1])
    ingest(workspace)
    assert stored(workspace, "events")["id"].to_pylist() == GOOD["id"].tolist()[::-1]


def test_an_event_that_comes_in_a_later_file_arrived_later(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD[20:])
    deliver(workspace, "2.parquet", GOOD[:20])
    ingest(workspace)
    assert history(workspace).events["id"].to_pylist() == [*GOOD["id"][20:], *GOOD["id"][:20]]


# -- what was refused ----------------------------------------------------------------------------

BROKEN = {"a rule": _frame(200).assign(x=99.0), "the columns": _frame(200).drop(columns="x")}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_refused_file_is_met_once_and_holds_up_nothing_after_it(
    kind: str, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", _frame(0))
    deliver(workspace, "2.parquet", BROKEN[kind])
    deliver(workspace, "3.parquet", _frame(100))
    with pytest.raises(DataError):
        ingest(workspace)
    assert current(workspace).rows == 20
    after = ingest(workspace)
    assert (after.rows, after.batches) == (40, ("events/data/3.parquet",))
    assert after.refused == ("events/data/2.parquet",)
    assert len(quarantined(workspace)) == 1


@pytest.mark.parametrize("name", ["2.parquet", "3.parquet"])
def test_a_corrected_batch_is_taken_in_under_any_name(name: str, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", _frame(0))
    deliver(workspace, "2.parquet", BROKEN["a rule"])
    with pytest.raises(ValidationFailed, match="deliver it again"):
        ingest(workspace)
    deliver(workspace, name, _frame(200))
    assert ingest(workspace).rows == 40


def test_a_refused_batch_is_tried_again_when_the_rule_is_widened(tmp_path: Path) -> None:
    deliver(make_workspace(tmp_path), "1.parquet", GOOD.assign(x=99.0))
    with pytest.raises(ValidationFailed, match=r"0?x: between \(expected -20 to 20\)"):
        ingest(make_workspace(tmp_path))
    wide = make_workspace(tmp_path, PROJECT.replace("max: 20", "max: 200"))
    assert ingest(wide).rows == 40


def test_a_refused_batch_is_tried_again_when_it_left_the_quarantine(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD.assign(x=99.0))
    with pytest.raises(ValidationFailed) as caught:
        ingest(workspace)
    [kept] = quarantined(workspace)
    assert f"delete {kept}" in caught.value.fix
    with pytest.raises(DataError, match=r"1 files are refused: events/data/1\.parquet"):
        ingest(workspace)
    shutil.rmtree(kept)
    with pytest.raises(ValidationFailed):
        ingest(workspace)


# -- time ----------------------------------------------------------------------------------------


def _with_absurd_time() -> pd.DataFrame:
    frame = _frame(100)
    frame.loc[frame.index[-1], "at"] = pd.Timestamp("2199-01-01", tz="UTC")
    return frame


def test_an_event_time_in_the_future_is_refused_where_time_is_the_wall_clock(
    tmp_path: Path,
) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    deliver(workspace, "2.parquet", _with_absurd_time())
    with pytest.raises(ValidationFailed, match=r"column at: not in the future.*2199-01-01"):
        ingest(workspace)
    assert current(workspace).rows == 40


def test_an_absurd_event_time_does_not_move_the_clock_of_a_replay(tmp_path: Path) -> None:
    workspace = replace(make_workspace(tmp_path), replay=True)
    workspace.root.mkdir()
    deliver(workspace, "1.parquet", _with_absurd_time())
    ingest(workspace)
    assert history(workspace).now.year == 2199  # no clock yet: all that is there counts
    StreamClock(workspace.state).advance(datetime(2026, 1, 20, tzinfo=UTC))
    known = history(workspace)
    assert known.now == datetime(2026, 1, 20, tzinfo=UTC)
    assert 0 < known.events.num_rows < 20


def test_a_history_that_ended_long_ago_is_looked_at_from_its_end(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", GOOD)
    ingest(workspace)
    assert history(workspace).now == GOOD["at"].max() + timedelta(days=1)


def test_naive_times_are_read_in_the_zone_of_the_project_file(tmp_path: Path) -> None:
    text = PROJECT.replace("data:\n", "data:\n  time_zone: Europe/Berlin\n", 1)
    workspace = make_workspace(tmp_path, text)
    deliver(workspace, "1.parquet", GOOD.assign(at=GOOD["at"].dt.tz_localize(None)))
    ingest(workspace)
    times = stored(workspace, "events")["at"].to_pandas()
    assert (times == GOOD["at"] - timedelta(hours=1)).all()
