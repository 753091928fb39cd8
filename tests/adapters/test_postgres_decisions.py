"""What only the PostgreSQL home of the decision log meets: a network, and a server that goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from setpoint.adapters.decision_sql import select
from setpoint.adapters.postgres_decisions import DIALECT, FIND, INSERT, TYPES, PostgresDecisionLog
from setpoint.adapters.postgres_link import REST_SECONDS, without_password
from setpoint.errors import DataError, StateError
from setpoint.ports import DecisionQuery, Label
from tests.adapters.postgres import IN_URL, PASSWORD, PostgresServer, run_postgres
from tests.adapters.test_decision_log import START, acknowledging, decision

LONG = 10.0
"""Seconds that no wait of these takes, on a busy machine either; the driver's own is 60."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    with run_postgres() as found:
        yield found


@pytest.fixture
def log(postgres: PostgresServer) -> Iterator[PostgresDecisionLog]:
    """An empty log."""
    found = PostgresDecisionLog(postgres.new_place())
    yield found
    found.close()


def test_what_was_acknowledged_survives_kill_9_of_the_server(server: PostgresServer) -> None:
    url = server.new_place()
    assert server.execute("SHOW synchronous_commit", url) == [("off",)]
    with acknowledging("postgres", url, 300) as acknowledged:
        server.kill()
    server.start()
    log = PostgresDecisionLog(url)
    assert len(acknowledged) >= 300
    assert set(log.find(acknowledged)) == set(acknowledged)
    log.close()


def test_a_server_that_is_away_is_a_state_error_at_once_and_is_found_again(
    server: PostgresServer,
) -> None:
    log = PostgresDecisionLog(server.new_place(), 5)
    log.append([decision(1)])
    server.stop()
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(StateError, match="the store failed"):
            log.append([decision(2)])
    assert time.monotonic() - began < LONG
    server.start()
    time.sleep(REST_SECONDS)
    log.append([decision(3)])
    assert log.read(DecisionQuery())["id"].to_pylist() == ["d1", "d3"]
    log.close()


def test_a_server_that_went_silent_costs_the_time_limit_and_is_found_again(
    server: PostgresServer,
) -> None:
    log = PostgresDecisionLog(server.new_place(), 1.0)
    with server.hung():
        for _ in range(2):  # the open connection, then a new one
            began = time.monotonic()
            with pytest.raises(StateError, match=r"within 1 s"):
                log.find(["d1"])
            assert time.monotonic() - began < LONG
        began = time.monotonic()
        with pytest.raises(StateError, match=r"within 1 s"):
            log.find(["d1"])
        assert time.monotonic() - began < 1.0  # nobody is kept waiting again so soon
    time.sleep(REST_SECONDS)
    log.append([decision(1)])
    assert list(log.find(["d1"])) == ["d1"]
    log.close()


def test_a_row_that_another_holds_is_waited_for_no_longer_than_the_limit(
    postgres: PostgresServer,
) -> None:
    url = postgres.new_place()
    log = PostgresDecisionLog(url, 0.3)

    async def hold() -> None:
        import asyncpg

        other = await asyncpg.connect(url)
        async with other.transaction():
            columns = ["d1"], ["1"], [False], [START], [0.0], [0.0], ["a"], [None], [None], ["d"]
            last = ["t"], ["[]"], ["{}"], ["{}"], [""]
            await other.execute(INSERT, *columns, *last)
            began = time.monotonic()
            with pytest.raises(StateError, match=r"timeout|within"):
                await asyncio.to_thread(log.append, [decision(1)])
            assert time.monotonic() - began < LONG
        await other.close()

    asyncio.run(hold())
    log.append([decision(1), decision(2)])
    assert log.find(["d1", "d2"]).keys() == {"d1", "d2"}
    log.close()


def test_no_error_shows_the_password(server: PostgresServer) -> None:
    url = server.url()
    with pytest.raises(StateError, match="password authentication failed") as refused:
        PostgresDecisionLog(url.replace(IN_URL, "wrong-one"))
    log = PostgresDecisionLog(url)
    server.stop()
    with pytest.raises(StateError) as away:
        log.append([decision(1)])
    log.close()
    with pytest.raises(StateError, match="closed") as closed:
        log.append([decision(1)])
    for error in (refused.value, away.value, closed.value):
        assert "postgresql://setpoint@127.0.0.1" in str(error)
        assert not [word for word in (PASSWORD, IN_URL, "wrong-one") if word in str(error)]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a:b@h:5/d", "postgresql://a@h:5/d"),
        ("postgres://a@h/d", "postgres://a@h/d"),
        ("postgresql:///d?host=/run/pg&password=x", "postgresql:///d?host=/run/pg"),
        ("postgresql://a:b%40c@[::1]:5/d", "postgresql://a@[::1]:5/d"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("url", ["", "live.db", "mysql://a:secret@h/d", "postgresql:/[x"])
def test_what_is_no_address_of_postgresql_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StateError, match=r"not one of PostgreSQL|failed") as refused:
        PostgresDecisionLog(url, 1)
    assert "secret" not in str(refused.value)


def test_a_role_that_may_only_write_and_read_is_enough(postgres: PostgresServer) -> None:
    url = postgres.new_place()
    name = url.rpartition("=")[2]
    PostgresDecisionLog(url).close()
    postgres.execute("CREATE ROLE writer LOGIN PASSWORD 'w'", url)
    postgres.execute(f"GRANT USAGE ON SCHEMA {name} TO writer", url)
    for table in ("decisions", "decision_labels"):
        rights = "SELECT, INSERT, UPDATE, DELETE"
        postgres.execute(f"GRANT {rights} ON {table} TO writer", url)
    log = PostgresDecisionLog(url.replace(f"setpoint:{IN_URL}", "writer:w"))
    log.append([decision(1)])
    assert log.add_labels([Label("d1", 1, START)]) == []
    assert log.forget(decision(2).event_time) == 1
    log.close()


def test_a_log_that_cannot_be_written_says_so_when_nothing_is_written(
    postgres: PostgresServer,
) -> None:
    url = postgres.new_place()
    PostgresDecisionLog(url).close()
    log = PostgresDecisionLog(f"{url}&default_transaction_read_only=on")
    with pytest.raises(StateError, match="read-only"):
        log.append([])
    log.close()


def test_a_text_that_postgresql_cannot_keep_is_refused_by_its_name(
    log: PostgresDecisionLog,
) -> None:
    with pytest.raises(DataError, match=r"action .* NUL"):
        log.append([decision(1), decision(2, action="\0")])
    with pytest.raises(DataError, match=r"id .* NUL"):
        log.add_labels([Label("\0", 1, START)])
    assert log.read(DecisionQuery()).num_rows == 0


def test_ids_and_pages_are_looked_up_by_index_in_a_long_log(log: PostgresDecisionLog) -> None:
    log.append([decision(number) for number in range(5000)])
    window = DecisionQuery(start=START + timedelta(minutes=100), end=START + timedelta(minutes=110))
    for text, values in [(FIND, [["d1", "d2"]]), select(window, None, 100, DIALECT)]:
        plan = "\n".join(row[0] for row in log._fetch(f"EXPLAIN {text}", values))
        assert "Index" in plan
        assert "Seq Scan on decisions" not in plan, plan


def test_it_can_be_used_where_an_event_loop_runs(log: PostgresDecisionLog) -> None:
    async def use() -> list[str]:
        log.append([decision(1)])
        return list(log.find(["d1"]))

    assert asyncio.run(use()) == ["d1"]


def test_many_threads_may_use_one_log(log: PostgresDecisionLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.append([decision(number)]), range(100)))
    assert log.read(DecisionQuery()).num_rows == 100


def test_every_column_has_its_type() -> None:
    assert len(TYPES) == len(INSERT.partition("(")[2].partition(")")[0].split(","))
