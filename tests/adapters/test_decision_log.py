"""The decision log in SQLite keeps what it acknowledged, and shows each id once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog, connect, transaction
from setpoint.errors import DataError, StateError
from setpoint.ports import Decision, DecisionQuery, Label

START = datetime(2024, 5, 1, tzinfo=UTC)


def decision(number: int, **changes: Any) -> Decision:
    """A decision; ``number`` makes its id and its event time, in minutes."""
    plain = Decision(
        id=f"d{number}",
        event_time=START + timedelta(minutes=number),
        request={"amount": number, "country": "AT", "note": None},
        features={"amount": float(number), "hour": 12, "age": None, "country": "AT"},
        score=0.25,
        threshold=0.5,
        action="approve",
        reasons=[],
        version="1",
        bundle_digest="d" * 64,
        trace_id="r",
    )
    return replace(plain, **changes)


@pytest.fixture
def log(tmp_path: Path) -> SqliteDecisionLog:
    """An empty log."""
    return SqliteDecisionLog(tmp_path / "log.db")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
decisions = st.builds(
    Decision,
    id=texts.filter(bool),
    event_time=st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1), timezones=st.just(UTC)),
    request=st.dictionaries(texts, st.none() | st.booleans() | integers | floats | texts),
    features=st.dictionaries(texts, st.none() | floats | texts),
    score=st.floats(0, 1),
    threshold=st.floats(0, 1),
    action=texts,
    reasons=st.lists(texts),
    version=texts,
    bundle_digest=texts,
    shadow=st.just(False),
    propensity=st.none() | st.floats(0, 1),
    trace_id=texts,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(decisions, max_size=5, unique_by=lambda one: one.id))
def test_what_is_appended_is_found_unchanged(written: list[Decision]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = SqliteDecisionLog(Path(folder) / "log.db", durability="normal")
        log.append(written)
        found = log.find([one.id for one in written] + ["nobody's"])
        log.close()
    assert found == {one.id: one for one in written}


def test_read_has_the_columns_of_the_port_and_those_asked_for(log: SqliteDecisionLog) -> None:
    log.append([decision(2, propensity=0.1), decision(1)])
    table = log.read(DecisionQuery(features=("amount", "age", "country"), request=("country",)))
    moment = pa.timestamp("us", tz="UTC")
    assert table.schema == pa.schema(
        {
            "id": pa.string(),
            "event_time": moment,
            "score": pa.float64(),
            "threshold": pa.float64(),
            "action": pa.string(),
            "version": pa.string(),
            "label": pa.int8(),
            "label_known_at": moment,
            "propensity": pa.float64(),
            "country": pa.string(),
            "f_amount": pa.float64(),
            "f_age": pa.float64(),
            "f_country": pa.string(),
        }
    )
    assert table["id"].to_pylist() == ["d1", "d2"]
    assert table["f_amount"].to_pylist() == [1.0, 2.0]
    assert table["f_age"].null_count == 2
    assert table["propensity"].to_pylist() == [None, 0.1]


def test_an_empty_log_reads_as_an_empty_table_of_the_same_columns(log: SqliteDecisionLog) -> None:
    query = DecisionQuery(features=("amount",), request=("country",))
    empty = log.read(query)
    log.append([decision(1)])
    assert empty.num_rows == 0
    assert empty.column_names == log.read(query).column_names


def test_a_request_column_never_hides_a_fixed_one(log: SqliteDecisionLog) -> None:
    log.append([decision(1, request={"score": 700})])
    table = log.read(DecisionQuery(request=("score",)))
    assert (table["score"].to_pylist(), table["r_score"].to_pylist()) == ([0.25], [700])


def test_a_request_column_of_mixed_types_is_read_as_text(log: SqliteDecisionLog) -> None:
    log.append([decision(1, request={"x": 1}), decision(2, request={"x": "a"})])
    assert log.read(DecisionQuery(request=("x",)))["x"].to_pylist() == ["1", "a"]


def test_a_window_includes_its_start_and_not_its_end(log: SqliteDecisionLog) -> None:
    log.append([decision(number) for number in range(6)])
    minute = timedelta(minutes=1)
    window = DecisionQuery(start=START + 2 * minute, end=START + 4 * minute)
    assert log.read(window)["id"].to_pylist() == ["d2", "d3"]


def test_windows_that_touch_share_out_all_decisions(log: SqliteDecisionLog) -> None:
    log.append([decision(number) for number in range(10)])
    cuts = [START + timedelta(minutes=number) for number in (0, 3, 7, 10)]
    windows = [DecisionQuery(start=a, end=b) for a, b in pairwise(cuts)]
    assert [log.read(window).num_rows for window in windows] == [3, 4, 3]


def test_a_decision_logged_twice_is_there_once_and_the_first_stands(
    log: SqliteDecisionLog,
) -> None:
    log.append([decision(1), decision(1, score=0.9)])
    log.append([decision(1, score=0.8)])
    assert log.read(DecisionQuery())["score"].to_pylist() == [0.25]
    assert log.find(["d1"])["d1"].score == 0.25


def test_an_id_answered_by_two_versions_is_read_once_and_by_version(
    log: SqliteDecisionLog,
) -> None:
    log.append([decision(1, version="1"), decision(1, version="2")])
    assert log.read(DecisionQuery())["version"].to_pylist() == ["1"]
    assert log.read(DecisionQuery(version="2"))["version"].to_pylist() == ["2"]


def test_shadow_decisions_are_neither_found_nor_read_unless_asked_for(
    log: SqliteDecisionLog,
) -> None:
    log.append([decision(1, shadow=True), decision(2), decision(2, shadow=True, score=0.7)])
    assert list(log.find(["d1", "d2"])) == ["d2"]
    assert log.read(DecisionQuery())["id"].to_pylist() == ["d2"]
    shadow = log.read(DecisionQuery(shadow=True))
    assert shadow["id"].to_pylist() == ["d1", "d2"]
    assert shadow["score"].to_pylist() == [0.25, 0.7]


def test_a_label_that_comes_before_its_decision_is_attached_later(log: SqliteDecisionLog) -> None:
    assert log.add_labels([Label("d1", 1, START), Label("d2", 0, START)]) == ["d1", "d2"]
    log.append([decision(1)])
    table = log.read(DecisionQuery())
    assert table["label"].to_pylist() == [1]
    assert table["label_known_at"].to_pylist() == [START]


def test_a_later_label_replaces_an_earlier_one(log: SqliteDecisionLog) -> None:
    log.append([decision(1)])
    assert log.add_labels([Label("d1", 1, START)]) == []
    log.add_labels([Label("d1", 0, START + timedelta(days=1))])
    assert log.read(DecisionQuery())["label"].to_pylist() == [0]


def test_a_label_of_a_mirrored_request_alone_is_unknown(log: SqliteDecisionLog) -> None:
    log.append([decision(1, shadow=True)])
    assert log.add_labels([Label("d1", 1, START)]) == ["d1"]


def test_thousands_of_ids_are_found_at_once(log: SqliteDecisionLog) -> None:
    log.append([decision(number) for number in range(1200)])
    assert len(log.find(f"d{number}" for number in range(2000))) == 1200


def test_finding_and_labelling_do_not_get_slower_as_the_log_grows(tmp_path: Path) -> None:
    connection = connect(tmp_path / "log.db")
    log = SqliteDecisionLog(connection)
    steps: list[int] = []

    def count() -> int:
        before = len(steps)
        connection.set_progress_handler(lambda: steps.append(1), 1)
        log.find(["d1", "d2", "d3"])
        log.add_labels([Label("d1", 1, START)])
        connection.set_progress_handler(None, 1)
        return len(steps) - before

    log.append([decision(number) for number in range(10)])
    small = count()
    log.append([decision(number) for number in range(10, 3000)])
    assert count() < 2 * small


@pytest.mark.parametrize(
    "act",
    [
        lambda log, naive: log.append([decision(1, event_time=naive)]),
        lambda log, naive: log.add_labels([Label("d1", 1, naive)]),
        lambda log, naive: log.read(DecisionQuery(start=naive)),
    ],
    ids=["append", "add_labels", "read"],
)
def test_a_time_without_zone_is_refused(
    log: SqliteDecisionLog, act: Callable[[SqliteDecisionLog, datetime], object]
) -> None:
    with pytest.raises(DataError, match="no time zone"):
        act(log, datetime(2024, 5, 1))


def test_inside_an_outer_transaction_the_owner_commits(tmp_path: Path) -> None:
    connection = connect(tmp_path / "log.db")
    log = SqliteDecisionLog(connection)
    with pytest.raises(KeyError), transaction(connection):
        log.append([decision(1)])
        log.add_labels([Label("d1", 1, START)])
        raise KeyError
    assert log.find(["d1"]) == {}
    with transaction(connection):
        log.append([decision(1)])
    assert list(log.find(["d1"])) == ["d1"]


def test_a_store_locked_by_another_is_a_state_error_and_works_afterwards(tmp_path: Path) -> None:
    log = SqliteDecisionLog(connect(tmp_path / "log.db", busy_milliseconds=20))
    other = connect(tmp_path / "log.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked"):
        log.append([decision(1)])
    other.execute("ROLLBACK")
    log.append([decision(1)])
    assert list(log.find(["d1"])) == ["d1"]


def test_a_file_that_is_no_database_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match=r"log\.db"):
        SqliteDecisionLog(tmp_path / "log.db")


def test_many_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    def write(number: int) -> None:
        log = SqliteDecisionLog(tmp_path / "log.db")
        log.append([decision(number)])
        log.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(16)))
    assert SqliteDecisionLog(tmp_path / "log.db").read(DecisionQuery()).num_rows == 16


WRITER = """
import sys
from pathlib import Path
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from tests.adapters.test_decision_log import decision
log = SqliteDecisionLog(Path(sys.argv[1]), durability=sys.argv[2])
for number in range(1_000_000):
    log.append([decision(number)])
    print(f"d{number}", flush=True)
"""


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, durability: str) -> None:
    path = tmp_path / "log.db"
    line = [sys.executable, "-c", WRITER, str(path), durability]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(100)]
        writer.kill()
        acknowledged += [text.strip() for text in writer.stdout if text.endswith("\n")]
    log = SqliteDecisionLog(path)
    assert set(log.find(acknowledged)) == set(acknowledged)
    log.append([decision(-1)])
