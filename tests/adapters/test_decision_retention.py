"""Old decisions are dropped in small steps, newer ones never; what is kept longer is exported."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setpoint.adapters.decision_export import export
from setpoint.adapters.sqlite_decisions import FORGET_ROWS, SqliteDecisionLog
from setpoint.adapters.sqlite_link import connect
from setpoint.errors import DataError, StateError
from setpoint.ports import FIXED, RECORD, DecisionQuery, Label
from tests.adapters.decision_homes import Home, Log, opened
from tests.adapters.test_decision_log import START, decision

MINUTE = timedelta(minutes=1)


def _paged(log: Log, rows: int) -> Log:
    """The log, read in batches of ``rows`` unless told otherwise."""
    setattr(log, "batches", partial(log.batches, rows=rows))  # noqa: B010 a method, to mypy
    return log


@pytest.fixture
def log(home: Home) -> Iterator[Log]:
    """An empty log in each home."""
    found = _paged(opened(home.kind, home.address), 50)
    yield found
    found.close()


def _ids(log: Log, **query: Any) -> list[str]:
    ids: list[str] = log.read(DecisionQuery(**query))["id"].to_pylist()
    return ids


def _labels(home: Home) -> set[object]:
    return {one for (one,) in home.execute("SELECT id FROM decision_labels")}


def test_what_is_older_is_dropped_and_nothing_else(log: Log) -> None:
    log.append([decision(number) for number in range(2000)])
    log.append([decision(number, shadow=True) for number in range(0, 2000, 2)])
    assert log.forget(START + 1300 * MINUTE) == 1300 + 650
    assert _ids(log) == [f"d{number}" for number in range(1300, 2000)]
    assert _ids(log, shadow=True) == [f"d{number}" for number in range(1300, 2000, 2)]
    assert log.forget(START + 1300 * MINUTE) == 0
    assert log.forget(START + 9999 * MINUTE) == 700 + 350
    assert log.forget(START + 9999 * MINUTE) == 0


def test_labels_go_with_their_decisions(home: Home, log: Log) -> None:
    log.append([decision(number) for number in range(4)])
    log.add_labels([Label(f"d{number}", 1, START + 9 * MINUTE) for number in range(4)])
    log.forget(START + 2 * MINUTE)
    assert _labels(home) == {"d2", "d3"}
    assert log.read(DecisionQuery())["label"].to_pylist() == [1, 1]


def test_a_label_stays_while_any_version_s_decision_does(home: Home, log: Log) -> None:
    log.append([decision(1), decision(1, version="2", shadow=True, event_time=START + 5 * MINUTE)])
    log.add_labels([Label("d1", 1, START)])
    log.forget(START + 2 * MINUTE)
    assert _labels(home) == {"d1"}


def test_labels_that_no_decision_came_for_go_once_they_are_old(home: Home, log: Log) -> None:
    old = [Label(f"old{number}", 1, START) for number in range(3 * FORGET_ROWS)]
    log.add_labels([*old, Label("new", 1, START + 5 * MINUTE), Label("d7", 1, START)])
    log.append([decision(7)])
    log.forget(START + 5 * MINUTE)
    assert _labels(home) == {"new", "d7"}


def test_dropping_from_a_time_without_zone_is_refused(log: Log) -> None:
    with pytest.raises(DataError, match="no time zone"):
        log.forget(datetime(2024, 5, 1))


def test_at_most_a_thousand_go_at_a_time_and_the_lock_is_free_in_between(
    home: Home, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([decision(number) for number in range(5000)])
    other = opened(home.kind, home.address)
    if isinstance(other, SqliteDecisionLog):  # it shall not wait for the lock
        other = SqliteDecisionLog(connect(Path(home.address), busy_milliseconds=0))
    left = [5000]

    def rest(seconds: float) -> None:
        assert seconds >= 0.005
        other.append([decision(10**6 + len(left))])
        left.append(len(_ids(other, end=START + 5000 * MINUTE)))

    monkeypatch.setattr(time, "sleep", rest)
    assert log.forget(START + 5000 * MINUTE) == 5000
    assert left[-1] == 0
    assert max(a - b for a, b in pairwise(left)) <= 1000
    other.close()


def test_who_writes_meanwhile_gets_through_and_keeps_every_row(home: Home, log: Log) -> None:
    steps = 24
    log.append([decision(-1 - number) for number in range(steps * FORGET_ROWS)])
    done = threading.Event()
    waited: list[tuple[float, float]] = []

    def write() -> None:
        own = opened(home.kind, home.address)
        while not done.is_set():
            began = time.monotonic()
            own.append([decision(len(waited))])
            waited.append((began, time.monotonic()))
        own.close()

    writer = threading.Thread(target=write)
    writer.start()
    start = time.monotonic()
    dropped = log.forget(START)
    end = time.monotonic()
    done.set()
    writer.join()
    assert dropped == steps * FORGET_ROWS
    assert _ids(log) == [f"d{number}" for number in range(len(waited))]
    assert sum(start < began and ended < end for began, ended in waited) >= steps
    assert max(ended - began for began, ended in waited) < 1


def test_old_rows_that_come_meanwhile_do_not_keep_it_from_ending(
    home: Home, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([decision(number) for number in range(2 * FORGET_ROWS)])
    log.append([decision(10**6)])
    own = opened(home.kind, home.address)
    rests: list[float] = []

    def rest(seconds: float) -> None:
        first = len(rests) * FORGET_ROWS
        rests.append(seconds)
        if len(rests) < 20:
            own.append([decision(-i, id=f"late{i}") for i in range(first, first + FORGET_ROWS)])

    monkeypatch.setattr(time, "sleep", rest)
    assert log.forget(START + 10**5 * MINUTE) <= 2 * FORGET_ROWS
    own.close()
    # PostgreSQL rests once more, after it looked for labels
    assert len(rests) == (3 if home.kind == "sqlite" else 4)


def test_a_file_holds_whole_records_in_order(tmp_path: Path, log: Log) -> None:
    log.append([decision(number, reasons=["hour"]) for number in range(120)])
    log.append([decision(1, shadow=True)])
    log.add_labels([Label("d3", 1, START)])
    path = tmp_path / "made" / "decisions.parquet"
    assert export(log, DecisionQuery(features=("amount",), columns=("id",)), path) == 120
    table = pq.read_table(path)
    assert table.column_names == [*FIXED, *RECORD, "f_amount"]
    wanted = log.read(DecisionQuery(columns=(*FIXED, *RECORD), features=("amount",)))
    assert table.cast(wanted.schema).equals(wanted)
    row = table.slice(3, 1).to_pylist()[0]
    assert json.loads(row["features"]) == decision(3).features
    assert (row["label"], row["reasons"], row["trace_id"]) == (1, ["hour"], "r")


def test_a_file_has_one_type_a_column_whatever_came_first(tmp_path: Path, log: Log) -> None:
    late = {"whole": 1.5, "mixed": "a", "known": True, "never": None}
    rows = [decision(i, request={"whole": 1, "mixed": 2}, features={"f": None}) for i in range(60)]
    rows += [decision(60 + i, request=late, features={"f": "text"}) for i in range(60)]
    log.append(rows)
    query = DecisionQuery(request=("whole", "mixed", "known", "never"), features=("f",))
    export(log, query, tmp_path / "d.parquet")
    table = pq.read_table(tmp_path / "d.parquet").select([*query.request, "f_f"])
    assert [field.type for field in table.schema][:3] == [pa.float64(), pa.string(), pa.bool_()]
    assert table.slice(59, 2).to_pylist() == [
        {"whole": 1.0, "mixed": "2", "known": None, "never": None, "f_f": None},
        {"whole": 1.5, "mixed": "a", "known": True, "never": None, "f_f": "text"},
    ]


def test_a_window_without_decisions_is_a_file_without_rows(tmp_path: Path, log: Log) -> None:
    assert export(log, DecisionQuery(features=("a",)), tmp_path / "d.parquet") == 0
    assert pq.read_table(tmp_path / "d.parquet").column_names == [*FIXED, *RECORD, "f_a"]


def test_an_export_that_fails_leaves_the_older_file_and_nothing_beside_it(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([decision(number) for number in range(120)])
    path = tmp_path / "out" / "d.parquet"
    export(log, DecisionQuery(), path)
    whole = path.read_bytes()

    def broken(query: DecisionQuery) -> Iterator[pa.Table]:
        yield next(batches(query))
        raise StateError("gone")

    batches = log.batches
    monkeypatch.setattr(log, "batches", broken)
    with pytest.raises(StateError, match="gone"):
        export(log, DecisionQuery(), path)
    assert path.read_bytes() == whole
    assert [one.name for one in path.parent.iterdir()] == ["d.parquet"]


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path, log: Log) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be written"):
        export(log, DecisionQuery(), tmp_path / "file" / "d.parquet")


def test_the_memory_of_an_export_does_not_grow_with_its_rows(tmp_path: Path, log: Log) -> None:
    def peak(minutes: int) -> int:
        query = DecisionQuery(end=START + minutes * MINUTE)
        tracemalloc.start()
        export(_paged(log, 500), query, tmp_path / "d.parquet")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    log.append([decision(number) for number in range(20_000)])
    peak(2000)
    assert peak(20_000) < 1.5 * peak(2000)
