"""The group commit keeps requests of one batch apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog, connect
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import read_bundle
from setpoint.ports import Decision, DecisionQuery
from setpoint.serving.engine import Engine, Score
from setpoint.serving.problems import Refusal, Unavailable
from setpoint.serving.rows import RowReader
from tests.serving.tiny import row


class Fragile(SqliteOnlineStore):
    """The real store, with a fault of its own for one event."""

    def serve(self, events: Sequence[Mapping[str, Any]]) -> list[tuple[list[float], list[str]]]:
        """As the real one, except for ``poison``."""
        if any(event["payment_id"] == "poison" for event in events):
            raise ZeroDivisionError("a bug")
        return super().serve(events)


@pytest.fixture
def faults() -> list[Exception]:
    """What the engine reported."""
    return []


@pytest.fixture
def engine(bundle: Path, tmp_path: Path, faults: list[Exception]) -> Iterator[Engine]:
    """An engine that is not started, so that what is submitted waits and forms one batch."""
    read = read_bundle(bundle)
    connection = connect(tmp_path / "store.db")
    online = Fragile(connection, read.features)
    log = SqliteDecisionLog(connection)
    yield Engine(read, "7", connection, online, log, faults.append)
    connection.close()


def test_equal_requests_in_one_batch_get_one_decision(engine: Engine, tmp_path: Path) -> None:
    results = decide(engine, [row(1), row(1), row(1, amount=3), row(2)])
    assert results[0] is results[1]
    assert isinstance(results[2], Refusal) and results[2].status == 409
    assert isinstance(results[3], Decision) and results[3].id == "p2"
    assert logged(tmp_path) == ["p1", "p2"]


def test_a_request_that_breaks_the_service_harms_no_other(
    engine: Engine, faults: list[Exception], tmp_path: Path
) -> None:
    results = decide(engine, [row(1), row(2, payment_id="poison"), row(3)])
    assert [type(result) for result in results] == [Decision, Unavailable, Decision]
    assert isinstance(results[1], Unavailable) and results[1].status == 500
    assert [type(fault) for fault in faults] == [ZeroDivisionError]
    assert logged(tmp_path) == ["p1", "p3"]


def test_a_batch_scores_as_its_rows_do_alone(engine: Engine, bundle: Path, tmp_path: Path) -> None:
    rows = [row(i, customer_id=i, amount=i * 7.5, country="CH") for i in range(60, 120)]
    together = decide(engine, rows)
    read = read_bundle(bundle)
    for one, decision in list(zip(rows, together, strict=True))[::10]:
        connection = connect(tmp_path / f"{one['payment_id']}.db")
        store, log = SqliteOnlineStore(connection, read.features), SqliteDecisionLog(connection)
        [alone] = decide(Engine(read, "7", connection, store, log, print), [one])
        connection.close()
        assert isinstance(alone, Decision) and isinstance(decision, Decision)
        assert (alone.score, alone.reasons) == (decision.score, decision.reasons)


def test_what_ran_out_of_time_is_left_out_and_the_rest_is_answered(
    bundle: Path, tmp_path: Path
) -> None:
    read = read_bundle(bundle)
    connection = connect(tmp_path / "store.db")
    online, log = SqliteOnlineStore(connection, read.features), SqliteDecisionLog(connection)
    engine = Engine(read, "7", connection, online, log, print, 0.2)
    reader = RowReader(read.table)

    async def submit() -> tuple[object, object]:
        late = engine.submit(Score(reader.check(row(1)), False, ""))
        [expired] = await asyncio.gather(late, return_exceptions=True)
        waiting = asyncio.ensure_future(engine.submit(Score(reader.check(row(2)), False, "")))
        await asyncio.sleep(0)
        engine.start()
        return expired, await waiting

    expired, decision = asyncio.run(submit())
    engine.stop()
    connection.close()
    assert isinstance(expired, Unavailable)
    assert (expired.status, expired.rule) == (503, "timeout")
    assert isinstance(decision, Decision)
    assert logged(tmp_path) == ["p2"]


def decide(engine: Engine, rows: Sequence[dict[str, Any]]) -> list[object]:
    """Submit all, then start the engine; results in order, errors as values."""

    async def submit() -> list[object]:
        reader = RowReader(engine.bundle.table)
        works = [Score(reader.check(one), False, "") for one in rows]
        waiting = asyncio.gather(*map(engine.submit, works), return_exceptions=True)
        await asyncio.sleep(0)
        engine.start()
        results = await waiting
        engine.stop()
        return results

    return asyncio.run(submit())


def logged(folder: Path) -> list[str]:
    """Ids in the log."""
    log = SqliteDecisionLog(folder / "store.db")
    ids: list[str] = log.read(DecisionQuery())["id"].to_pylist()
    log.close()
    return ids
