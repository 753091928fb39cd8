"""The snapshot store, on a folder and on a real S3 service; and the quarantine."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from setpoint.adapters.delta import ARRIVAL, DeltaSnapshots, quarantine
from setpoint.adapters.quarantine import refused
from setpoint.adapters.s3 import S3Options
from setpoint.adapters.sources import list_batches, read_bytes
from setpoint.domain import table_digest as digests
from setpoint.domain.table_digest import table_digest
from setpoint.errors import DataError, StateError
from tests.adapters.s3 import BUCKET

START = datetime(2024, 1, 1, tzinfo=UTC)


def _batch(first: int, rows: int = 3) -> pa.Table:
    numbers = range(first, first + rows)
    return pa.table(
        {
            "id": pa.array([f"é{n}" for n in numbers]),
            "at": pa.array(
                [START + timedelta(hours=n) for n in numbers], pa.timestamp("us", "UTC")
            ),
            "amount": pa.array([None if n % 3 == 0 else n / 7 for n in numbers], pa.float64()),
            "flag": pa.array([n % 2 == 0 for n in numbers]),
            "default.payment": pa.array(numbers, pa.int64()),
        }
    )


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeltaSnapshots]:
    if request.param == "folder":
        yield DeltaSnapshots(str(tmp_path / "snapshots"))
        return
    s3: S3Options = request.getfixturevalue("s3_server")
    yield DeltaSnapshots(f"s3://{BUCKET}/snapshots-{uuid4().hex}", s3.delta_options())


def test_every_append_is_a_version_that_stays_readable(store: DeltaSnapshots) -> None:
    assert store.latest() is None and store.history() == []
    first = store.append(_batch(0), "a")
    second = store.append(_batch(3), "b")
    assert (first.version, first.rows, first.batches) == (0, 3, ("a",))
    assert (second.version, second.rows, second.batches) == (1, 6, ("a", "b"))
    assert store.latest() == second and store.get(0) == first
    assert store.history() == [first, second]
    assert store.read(0)["id"].to_pylist() == ["é0", "é1", "é2"]
    assert store.read(1)[ARRIVAL].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert store.read(1).drop([ARRIVAL]).equals(_batch(0, 6))


def test_the_digest_is_that_of_the_rows_read_back(store: DeltaSnapshots) -> None:
    for name, first in (("a", 0), ("b", 3)):
        snapshot = store.append(_batch(first), name)
        assert table_digest(store.read(snapshot.version)) == snapshot.digest
        store.verify(snapshot)


def test_folder_and_s3_give_the_same_digest(tmp_path: Path, s3_server: S3Options) -> None:
    local = DeltaSnapshots(str(tmp_path / "x"))
    remote = DeltaSnapshots(f"s3://{BUCKET}/same-{uuid4().hex}", s3_server.delta_options())
    assert local.append(_batch(0), "a").digest == remote.append(_batch(0), "a").digest


def test_a_batch_is_applied_once(store: DeltaSnapshots) -> None:
    store.append(_batch(0), "a")
    newest = store.append(_batch(3), "b")
    again = DeltaSnapshots(store.uri, store._options)
    assert again.append(_batch(0), "a") == newest
    assert again.read(newest.version).num_rows == 6


def test_a_note_is_kept_with_its_batch_as_it_was_first_given(store: DeltaSnapshots) -> None:
    store.append(_batch(0), "a", "first")
    store.append(_batch(3), "b")
    newest = store.append(_batch(0), "a", "other")
    assert (newest.batches, newest.notes) == (("a", "b"), ("first", ""))


def test_other_content_under_a_known_name_is_refused(store: DeltaSnapshots) -> None:
    store.append(_batch(0), "a")
    with pytest.raises(DataError, match="batch a: other content"):
        store.append(_batch(1), "a")


def test_writers_at_once_lose_and_double_nothing(store: DeltaSnapshots) -> None:
    def work(number: int) -> None:
        # Each batch is delivered by two writers.
        own = DeltaSnapshots(store.uri, store._options)
        own.append(_batch(number // 2 * 10, 2), f"b{number // 2}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    newest = store.latest()
    assert newest is not None and newest.rows == 6
    assert sorted(newest.batches) == ["b0", "b1", "b2"]
    assert store.read(newest.version)[ARRIVAL].to_pylist() == list(range(6))
    store.verify(newest)


def test_history_is_right_while_others_write(tmp_path: Path) -> None:
    store = DeltaSnapshots(str(tmp_path / "x"))
    store.append(_batch(0, 1), "b0")

    def write() -> None:
        for number in range(1, 15):
            DeltaSnapshots(store.uri).append(_batch(number, 1), f"b{number}")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            assert all(s.rows == s.version + 1 for s in store.history())
        writing.result()


def test_columns_and_time_ranges_are_read_alone(store: DeltaSnapshots) -> None:
    version = store.append(_batch(0, 10), "a").version
    rows = store.read(
        version, ["flag", "id"], time_column="at",
        start=START + timedelta(hours=2), end=START + timedelta(hours=4),
    )  # fmt: skip
    assert rows.to_pylist() == [{"flag": True, "id": "é2"}, {"flag": False, "id": "é3"}]


def test_wrong_questions_are_answered_clearly(store: DeltaSnapshots) -> None:
    with pytest.raises(DataError, match="no snapshot version 0"):
        store.read(0)
    store.append(_batch(0), "a")
    for version in (-1, 1, 99):
        with pytest.raises(DataError, match=f"version {version}"):
            store.read(version)
        with pytest.raises(DataError, match=f"version {version}"):
            store.get(version)
    with pytest.raises(DataError, match="no column nope"):
        store.read(0, ["nope"])
    with pytest.raises(DataError, match="zone"):
        store.read(0, time_column="at", start=datetime(2024, 1, 1))


def test_files_without_a_commit_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    pq.write_table(_batch(50), folder / "part-half-written.parquet")  # killed before its commit
    store = DeltaSnapshots(str(folder))
    assert store.latest() is None
    first = store.append(_batch(0), "a")
    pq.write_table(_batch(60), folder / "part-other.parquet")
    assert store.read(first.version)["id"].to_pylist() == ["é0", "é1", "é2"]
    assert store.append(_batch(3), "b").rows == 6


def test_an_empty_batch_and_changed_columns_are_refused(tmp_path: Path) -> None:
    store = DeltaSnapshots(str(tmp_path / "x"))
    with pytest.raises(DataError, match="no row"):
        store.append(_batch(0, 0), "a")
    store.append(_batch(0), "a")
    with pytest.raises(DataError, match="flag"):
        store.append(_batch(3).drop(["flag"]), "b")
    with pytest.raises(DataError, match=ARRIVAL):
        store.append(store.read(0), "c")


def test_rows_written_by_another_program_are_noticed(tmp_path: Path) -> None:
    store = DeltaSnapshots(str(tmp_path / "x"))
    store.append(_batch(0), "a")
    write_deltalake(store.uri, store.read(0), mode="append")
    with pytest.raises(StateError, match="6 rows, Setpoint wrote 3"):
        store.latest()
    with pytest.raises(StateError, match="another program"):
        store.append(_batch(3), "b")


def test_compaction_keeps_digest_and_goes_on(tmp_path: Path) -> None:
    store = DeltaSnapshots(str(tmp_path / "x"))
    store.append(_batch(0), "a")
    before = store.append(_batch(3), "b")
    DeltaTable(store.uri).optimize.compact()
    after = store.latest()
    assert after is not None and after.version == 2 and after.digest == before.digest
    store.verify(after)
    assert store.append(_batch(6), "c").rows == 9


def test_a_damaged_log_is_reported(tmp_path: Path) -> None:
    store = DeltaSnapshots(str(tmp_path / "x"))
    store.append(_batch(0), "a")
    log = next((tmp_path / "x" / "_delta_log").glob("*.json"))
    log.write_text("{ half")
    with pytest.raises(StateError, match="cannot be used"):
        store.latest()


def test_lost_data_files_are_reported(tmp_path: Path) -> None:
    store = DeltaSnapshots(str(tmp_path / "x"))
    snapshot = store.append(_batch(0), "a")
    next((tmp_path / "x").glob("*.parquet")).unlink()
    with pytest.raises(StateError, match="cannot be used"):
        store.verify(snapshot)


def test_changed_values_fail_verification(tmp_path: Path) -> None:
    store, other = DeltaSnapshots(str(tmp_path / "x")), DeltaSnapshots(str(tmp_path / "y"))
    snapshot = store.append(_batch(0), "a")
    other.append(_batch(1), "a")
    shutil.copy(next((tmp_path / "y").glob("*.parquet")), next((tmp_path / "x").glob("*.parquet")))
    with pytest.raises(StateError, match="restore"):
        store.verify(snapshot)


def test_the_secret_is_not_in_the_text_of_the_store(tmp_path: Path) -> None:
    assert "hush" not in repr(DeltaSnapshots("s3://b/x", {"AWS_SECRET_ACCESS_KEY": "hush"}))


# -- digest ------------------------------------------------------------------------------------


def test_layout_does_not_change_the_digest() -> None:
    whole = _batch(0, 8)
    parts = pa.concat_tables([_batch(0, 1), _batch(1, 7)])
    coded = whole.set_column(0, "id", whole["id"].combine_chunks().dictionary_encode())
    large = whole.set_column(0, "id", whole["id"].cast(pa.large_string()))
    sliced = _batch(-3, 20).slice(3, 8)
    for same in (parts, coded, large, sliced):
        assert table_digest(same) == table_digest(whole)


def test_what_stands_under_a_null_does_not_change_the_digest() -> None:
    masked = pa.array([1.0, 2.0], mask=np.array([False, True]))
    plain = pa.array([1.0, None], pa.float64())
    assert table_digest(pa.table({"x": masked})) == table_digest(pa.table({"x": plain}))


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"x": [1, 2, None]}),
        pa.table({"x": [2, 1, 0]}),
        pa.table({"y": [1, 2, 0]}),
        pa.table({"x": [1.0, 2.0, 0.0]}),
        pa.table({"x": [1, 2]}),
        pa.table({"x": ["1", "2", "0"]}),
    ],
)
def test_content_changes_the_digest(other: pa.Table) -> None:
    assert table_digest(other) != table_digest(pa.table({"x": [1, 2, 0]}))


def test_borders_between_texts_count() -> None:
    assert table_digest(pa.table({"x": ["ab", "c"]})) != table_digest(pa.table({"x": ["a", "bc"]}))


def test_appending_block_by_block_gives_the_digest_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "BLOCK_ROWS", 4)
    store = DeltaSnapshots(str(tmp_path / "x"))
    first = 0
    for rows in (1, 3, 9, 2, 4):
        snapshot = store.append(_batch(first, rows), f"b{first}")
        assert snapshot.digest == table_digest(store.read(snapshot.version))
        first += rows


def test_lists_have_no_digest() -> None:
    with pytest.raises(DataError, match="column x: values of type list"):
        table_digest(pa.table({"x": [[1]]}))


# -- quarantine --------------------------------------------------------------------------------


def test_a_refused_file_is_kept_byte_by_byte_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    ref = list_batches(str(tmp_path / "bad.parquet"))[0]
    places = {quarantine(ref, {"rule": "readable"}, tmp_path / "q") for _ in range(2)}
    assert len(places) == 1
    place = Path(places.pop())
    assert (place / "bad.parquet").read_bytes() == b"not parquet"
    reason = json.loads((place / "reason.json").read_text())
    assert reason["reason"] == {"rule": "readable"} and reason["batch"] == "bad.parquet"
    assert reason["source"] == ref.uri


def test_refused_rows_are_kept_whole(tmp_path: Path) -> None:
    place = Path(quarantine(_batch(0), "why", tmp_path / "q", name="../2024-01"))
    assert place.parent == tmp_path / "q"
    assert pq.read_table(next(place.glob("*.parquet"))).equals(_batch(0))


def test_the_quarantine_may_lie_on_s3(s3_server: S3Options) -> None:
    place = quarantine(_batch(0), "why", f"s3://{BUCKET}/q", name="b", s3=s3_server)
    assert json.loads(read_bytes(f"{place}/reason.json", s3_server))["reason"] == "why"
    assert [r.name for r in list_batches(place, s3_server)] == ["b.parquet", "reason.json"]


def test_a_refused_file_is_found_again_by_its_content_while_the_rules_are_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    ref = list_batches(str(tmp_path / "bad.parquet"))[0]
    place = Path(quarantine(ref, "why", tmp_path / "q", terms="rules 1"))
    digest = hashlib.sha256(b"not parquet").hexdigest()
    assert refused(tmp_path / "q", "rules 1") == {digest: place}
    assert refused(tmp_path / "q", "rules 2") == {}
    assert refused(tmp_path / "nowhere", "rules 1") == {}


def test_a_damaged_note_in_the_quarantine_says_what_to_delete(tmp_path: Path) -> None:
    (tmp_path / "q" / "b").mkdir(parents=True)
    (tmp_path / "q" / "b" / "reason.json").write_text("{ half")
    with pytest.raises(StateError, match=r"reason\.json[^$]*delete its folder"):
        refused(tmp_path / "q", "")
