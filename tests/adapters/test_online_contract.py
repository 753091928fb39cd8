"""What every home of the port ``OnlineStore`` must do; SQLite is the only one so far."""

from __future__ import annotations

import math
import multiprocessing
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.features import DelayedRisk, FeatureSpec, WindowFeature
from setpoint.errors import DataError, StateError
from setpoint.ports import Label, OnlineStore

DAY = 86_400
START = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)  # a Monday

SPEC = FeatureSpec(
    event_id="id",
    event_time="at",
    entities={"customer": "customer_id", "terminal": "terminal_id"},
    numbers=("amount",),
    categories=("kind",),
    calendar=("hour", "night"),
    windows=(
        WindowFeature("customer", "count", DAY),
        WindowFeature("customer", "mean", DAY, "amount"),
    ),
    risks=(DelayedRisk("terminal", 7 * DAY, 7 * DAY),),
)

Opener = Callable[[], OnlineStore]


def event(id_: str, days: float, **other: Any) -> dict[str, Any]:
    row = {"id": id_, "at": START + timedelta(days=days), "customer_id": 1, "terminal_id": "t"}
    return row | {"amount": 10.0, "kind": "web"} | other


def label(id_: str, value: int = 1, days: float = 0) -> Label:
    return Label(id_, value, START + timedelta(days=days))


def numbers(store: OnlineStore, row: dict[str, Any]) -> dict[str, float]:
    [(values, _)] = store.serve([row])
    return dict(zip(SPEC.number_names, values, strict=True))


@pytest.fixture(params=["sqlite"])
def opener(tmp_path: Path) -> Opener:
    """Opens the same store again and again, as processes on one host do."""
    return lambda: SqliteOnlineStore(tmp_path / "online.db", SPEC)


@pytest.fixture
def store(opener: Opener) -> OnlineStore:
    return opener()


def test_inputs_come_in_model_order_numbers_first(store: OnlineStore) -> None:
    [(values, texts)] = store.serve([event("1", 0)])
    assert values == [10.0, 6.0, 1.0, 1.0, 10.0, 0.0, 0.0]
    assert texts == ["web"]


def test_events_of_one_call_see_those_before_them(store: OnlineStore) -> None:
    answers = store.serve([event("1", 0), event("2", 0.5, amount=20.0), event("3", 1)])
    assert [values[3:5] for values, _ in answers] == [[1.0, 10.0], [2.0, 15.0], [2.0, 15.0]]


def test_missing_values_are_nan_and_empty_text(store: OnlineStore) -> None:
    row = event("1", 0, amount=None, kind=None)
    [(values, texts)] = store.serve([row])
    assert math.isnan(values[0])
    assert math.isnan(values[4])
    assert texts == [""]


def test_a_retry_gets_the_same_numbers_whatever_came_in_between(store: OnlineStore) -> None:
    store.serve([event("old", -10)])
    first = store.serve([event("1", 0)])
    store.learn([label("old")])
    store.serve([event("2", -0.1, amount=99.0), event("3", -10.1)])
    assert store.serve([event("1", 0)]) == first
    assert numbers(store, event("4", 0))["terminal_risk_7d"] == 0.5


def test_a_replaced_label_counts_from_then_on_and_not_before(store: OnlineStore) -> None:
    store.serve([event("old", -10)])
    shares = []
    for i, value in enumerate([1, 0, 0, 1]):
        store.learn([label("old", value)])
        shares.append(numbers(store, event(f"new{i}", 0))["terminal_risk_7d"])
    assert shares == [1.0, 0.0, 0.0, 1.0]
    again = [numbers(store, event(f"new{i}", 0))["terminal_risk_7d"] for i in range(4)]
    assert again == shares


def test_a_label_that_comes_before_its_event_counts(store: OnlineStore) -> None:
    store.learn([label("old")])
    store.serve([event("old", -10)])
    assert numbers(store, event("1", 0))["terminal_risk_7d"] == 1.0


def test_events_without_an_entity_share_no_history(store: OnlineStore) -> None:
    store.serve([event("1", -8, customer_id=None, terminal_id=None)])
    found = numbers(store, event("2", 0, customer_id=None, terminal_id=None))
    assert found["customer_count_1d"] == 1.0
    assert found["customer_amount_mean_1d"] == 10.0
    assert found["terminal_nb_7d"] == 0.0


def test_forgetting_drops_older_events_and_nothing_else(store: OnlineStore) -> None:
    store.serve([event("1", -9), event("2", -8), event("3", -1)])
    store.learn([label("1"), label("2"), label("never came", days=-20), label("early", days=0)])
    assert store.forget(START - timedelta(days=8)) == 1
    assert store.forget(START - timedelta(days=8)) == 0
    found = numbers(store, event("4", 0))
    assert (found["terminal_nb_7d"], found["terminal_risk_7d"]) == (1.0, 1.0)
    store.serve([event("never came", -9), event("early", -9)])
    found = numbers(store, event("5", 0))
    assert (found["terminal_nb_7d"], found["terminal_risk_7d"]) == (3.0, 2 / 3)


def test_a_time_without_zone_is_refused_and_nothing_is_recorded(store: OnlineStore) -> None:
    naive = event("2", 0, at=datetime(2026, 3, 2))
    with pytest.raises(DataError, match="no zone"):
        store.serve([event("1", 0), naive])
    assert numbers(store, event("3", 0))["customer_count_1d"] == 1.0


def test_two_stores_on_one_file_see_each_other(opener: Opener) -> None:
    champion, challenger = opener(), opener()
    first = champion.serve([event("1", 0)])
    assert challenger.serve([event("1", 0)]) == first
    assert numbers(challenger, event("2", 0))["customer_count_1d"] == 2.0
    assert numbers(champion, event("3", 0))["customer_count_1d"] == 3.0


def _serve_many(path: str, name: str) -> None:
    store = SqliteOnlineStore(path, SPEC)
    for i in range(50):
        store.serve([event(f"{name}{i}", 0)])


def test_processes_that_write_at_once_lose_no_event(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_serve_many, args=(str(path), n)) for n in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = SqliteOnlineStore(path, SPEC)
    assert numbers(store, event("last", 0))["customer_count_1d"] == 101.0


def connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_sqlite_an_outer_transaction_decides_whether_events_stay(tmp_path: Path) -> None:
    connection = connected(tmp_path / "state.db")
    connection.execute("CREATE TABLE log (id TEXT)")
    store = SqliteOnlineStore(connection, SPEC)
    for ending, count in (("ROLLBACK", 0), ("COMMIT", 1)):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO log VALUES ('1')")
        store.serve([event("1", 0)])
        store.learn([label("1")])
        store.forget(START - timedelta(days=30))
        assert connection.in_transaction
        connection.execute(ending)
        rows = connection.execute("SELECT count(*) FROM log JOIN online_events USING (id)")
        assert rows.fetchone()[0] == count


def test_sqlite_a_store_can_be_opened_inside_a_transaction(tmp_path: Path) -> None:
    connection = connected(tmp_path / "state.db")
    connection.execute("BEGIN IMMEDIATE")
    store = SqliteOnlineStore(connection, SPEC)
    store.serve([event("1", 0)])
    connection.execute("COMMIT")
    assert numbers(store, event("2", 0))["customer_count_1d"] == 2.0


def test_sqlite_a_connection_that_opens_transactions_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="isolation level ''"):
        SqliteOnlineStore(sqlite3.connect(tmp_path / "state.db"), SPEC)


def test_sqlite_a_file_that_is_none_of_ours_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("not a database" * 100)
    with pytest.raises(StateError, match=r"state\.db"):
        SqliteOnlineStore(path, SPEC)


def test_sqlite_a_column_that_only_the_newer_spec_uses_is_kept_by_both(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    champion = SqliteOnlineStore(path, SPEC)
    champion.serve([event("0", 0)])
    newer = FeatureSpec(
        "id", "at", {"card": "card"}, windows=(WindowFeature("card", "sum", DAY, "fee"),)
    )
    challenger = SqliteOnlineStore(path, newer)
    champion.serve([event("1", 0, card="c", fee=2.0)])
    assert challenger.serve([event("2", 0, card="c", fee=3.0)]) == [([5.0], [])]


def test_sqlite_history_with_a_repeated_id_is_refused_whole(tmp_path: Path) -> None:
    rows = [event("1", 0) | {"_arrival": 1}, event("1", 0) | {"_arrival": 2}]
    store = SqliteOnlineStore(tmp_path / "online.db", SPEC)
    with pytest.raises(DataError, match="UNIQUE"):
        store.seed(pa.Table.from_pylist(rows))
    assert store.seed(pa.Table.from_pylist(rows[:1])) == 1
