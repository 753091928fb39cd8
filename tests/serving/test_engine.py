"""The group commit keeps requests of one batch apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.adapters.sqlite_link import connect
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.errors import StateError
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
    yield Engine(read, "7", connection, online, log, lambda error, _: faults.append(error))
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


def test_a_version_whose_model_hangs_keeps_no_other_from_deciding(
    bundle: Path, tmp_path: Path
) -> None:
    read, store = read_bundle(bundle), tmp_path / "store.db"
    hanging, going = (_engine(read, store, version) for version in ("7", "8"))
    let_go, began = threading.Event(), threading.Event()
    score = hanging.scorer.score

    def hang(rows: Any) -> Any:
        began.set()
        assert let_go.wait(30)
        return score(rows)

    hanging.scorer.score = hang  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: decide(hanging, [row(1)]))
    thread.start()
    assert began.wait(30)
    [other, same] = decide(going, [row(2), row(1)])
    let_go.set()
    thread.join()
    assert (other.version, same.version) == ("8", "8")
    found = SqliteDecisionLog(store).read(DecisionQuery(columns=("id", "version")))
    assert sorted(found.to_pylist(), key=str) == [
        {"id": "p1", "version": "8"},
        {"id": "p2", "version": "8"},
    ]


def test_what_another_version_decided_meanwhile_is_answered_by_both(
    bundle: Path, tmp_path: Path
) -> None:
    read, store = read_bundle(bundle), tmp_path / "store.db"
    slow, quick = (_engine(read, store, version) for version in ("7", "8"))
    score = slow.scorer.score

    def overtaken(rows: Any) -> Any:
        decide(quick, [row(1)])
        return score(rows)

    slow.scorer.score = overtaken  # type: ignore[method-assign]
    [late] = decide(slow, [row(1)])
    assert late.version == "8"
    assert logged(tmp_path) == ["p1"]


@pytest.mark.parametrize("rival", ["7", "8"])
def test_what_another_service_decided_meanwhile_about_another_row_is_a_conflict(
    bundle: Path, tmp_path: Path, rival: str
) -> None:
    read, store = read_bundle(bundle), tmp_path / "store.db"
    slow, quick = (_engine(read, store, version) for version in ("7", rival))
    score = slow.scorer.score

    def overtaken(rows: Any) -> Any:
        decide(quick, [row(1, amount=900.0)])
        return score(rows)

    slow.scorer.score = overtaken  # type: ignore[method-assign]
    [late] = decide(slow, [row(1, amount=5.0)])
    assert isinstance(late, Refusal) and late.status == 409
    assert logged(tmp_path) == ["p1"]


class Space:
    """A reserve whose disk is as full as told."""

    def __init__(self, worth: int) -> None:
        self.worth = worth

    def give_up(self) -> bool:
        """Whether it is worth trying again."""
        self.worth -= 1
        return self.worth >= 0


@pytest.mark.parametrize(("worth", "kind"), [(1, Decision), (0, Unavailable)])
def test_a_batch_on_a_full_disk_is_written_once_room_was_made(
    bundle: Path, tmp_path: Path, worth: int, kind: type
) -> None:
    read = read_bundle(bundle)
    engine = _engine(read, tmp_path / "store.db", "7", Space(worth))
    online = engine._online
    serve, failures = online.serve, iter([True])

    def full_once(events: Any) -> Any:
        if next(failures, False):
            raise StateError("database or disk is full", where="store", fix="make room")
        return serve(events)

    online.serve = full_once  # type: ignore[method-assign]
    [result] = decide(engine, [row(1)])
    assert isinstance(result, kind)


def _engine(read: Bundle, store: Path, version: str, reserve: Any = None) -> Engine:
    connection = connect(store)
    online, log = SqliteOnlineStore(connection, read.features), SqliteDecisionLog(connection)
    return Engine(read, version, connection, online, log, lambda *_: None, reserve=reserve)
