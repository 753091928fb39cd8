"""What only the SQLite home of the decision log does: shared transactions, locks, durability."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.adapters.sqlite_link import connect, transaction
from setpoint.errors import StateError
from setpoint.ports import DecisionQuery, Label
from tests.adapters.test_decision_log import START, decision


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


def test_only_what_is_asked_for_is_loaded(tmp_path: Path) -> None:
    connection = connect(tmp_path / "log.db")
    log = SqliteDecisionLog(connection)
    log.append([decision(1)])
    loaded: set[tuple[str, str]] = set()

    def note(action: int, table: str | None, column: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_READ:
            loaded.add((str(table), str(column)))
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    query = DecisionQuery(version="1", columns=("score",), features=("amount",))
    (table,) = log.batches(query)
    assert table.column_names == ["score", "f_amount"]
    names = {"score", "features", "event_time", "seq", "shadow", "version"}
    assert loaded == {("decisions", name) for name in names}


def test_between_two_batches_others_write_and_the_write_ahead_log_is_emptied(
    tmp_path: Path,
) -> None:
    log = SqliteDecisionLog(tmp_path / "log.db", durability="normal")
    log.append([decision(number) for number in range(60)])
    batches = log.batches(DecisionQuery(), rows=10)
    seen = next(batches)["id"].to_pylist()
    other = connect(tmp_path / "log.db", busy_milliseconds=0)
    SqliteDecisionLog(other).append([decision(10_000)])
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    seen += [one for batch in batches for one in batch["id"].to_pylist()]
    assert len(seen) == len(set(seen)) == 60 + 1


def test_inside_an_outer_transaction_its_owner_commits_what_was_dropped(tmp_path: Path) -> None:
    connection = connect(tmp_path / "log.db")
    log = SqliteDecisionLog(connection)
    log.append([decision(number) for number in range(10)])
    with pytest.raises(KeyError), transaction(connection):
        log.forget(START + timedelta(minutes=5))
        raise KeyError
    assert log.read(DecisionQuery()).num_rows == 10


WRITER = """
import sys
from datetime import timedelta
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
