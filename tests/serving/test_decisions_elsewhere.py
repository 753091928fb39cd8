"""A service whose decisions are in PostgreSQL answers nothing that is not there."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.gateway_client import Answer, GatewayClient
from setpoint.adapters.postgres_decisions import PostgresDecisionLog
from setpoint.adapters.processes import free_port
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.adapters.sqlite_link import connect
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import read_bundle
from setpoint.errors import StateError
from setpoint.ports import Decision, DecisionQuery
from setpoint.serving.engine import Engine
from setpoint.serving.problems import Refusal, Unavailable
from tests.adapters.postgres import IN_URL, PASSWORD, PostgresServer, run_postgres
from tests.serving.test_engine import decide
from tests.serving.test_failures import Load, ended_start
from tests.serving.tiny import Service, row

Start = Callable[..., Service]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests may stop, if they start it again."""
    with run_postgres() as found:
        yield found


@pytest.fixture
def url(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new place, named in the environment of services that are started."""
    found = server.new_place()
    monkeypatch.setenv("SETPOINT_DECISIONS", found)
    return found


def logged(url: str) -> list[str]:
    """Ids in the log."""
    with closing(PostgresDecisionLog(url)) as log:
        ids: list[str] = log.read(DecisionQuery())["id"].to_pylist()
    return ids


@contextmanager
def steady(service: Service, seconds: float) -> Iterator[list[Answer]]:
    """100 requests a second meanwhile and for ``seconds`` in all; the answers are there after."""
    answers: list[Answer] = []
    rows = [row(number, customer_id=number) for number in range(int(seconds * 100))]

    async def play() -> None:
        url = f"http://127.0.0.1:{service.port}"
        async with GatewayClient(url, 256, id_column="payment_id") as client:
            answers.extend(await client.play(rows, 100, "customer_id"))

    thread = threading.Thread(target=lambda: asyncio.run(play()))
    thread.start()
    try:
        yield answers
    finally:
        thread.join()


def test_decisions_and_labels_are_there_and_not_in_the_store(start: Start, url: str) -> None:
    service = start()
    status, first = service.decide(row(1))
    assert status == 200
    assert service.decide(row(1)) == (200, first)
    assert service.decide(row(1, amount=900))[0] == 409
    label = {"id": "p1", "label": 1, "known_at": "2024-05-03T00:00:00Z"}
    assert service.call("POST", "/v1/labels", [label]) == (200, {"accepted": 1, "unknown": 0})
    assert service.call("GET", "/v1/decisions/p1")[1]["score"] == first["score"]
    assert service.raw("GET", "/v1/decisions/%00")[0] == 404
    with closing(PostgresDecisionLog(url)) as log:
        (found,) = log.read(DecisionQuery(columns=("id", "score", "label"))).to_pylist()
    assert found == {"id": "p1", "score": first["score"], "label": 1}
    assert SqliteDecisionLog(service.store).read(DecisionQuery()).num_rows == 0


def test_another_version_on_the_store_gives_the_answer_that_was_given(
    start: Start, url: str
) -> None:
    first, second = start(version="7"), start(version="8")
    answer = first.decide(row(1))
    assert second.decide(row(1)) == answer
    assert logged(url) == ["p1"]


def test_a_server_that_is_away_costs_a_quick_503_and_the_service_recovers_by_itself(
    start: Start, url: str, server: PostgresServer
) -> None:
    service = start()
    with steady(service, 6) as answers:
        time.sleep(1.5)
        server.stop()
        time.sleep(1.5)
        assert service.call("GET", "/health/ready")[0] == 503
        server.start()
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 503}
    assert (statuses[0], statuses[-1]) == (200, 200)
    assert max(answer.seconds for answer in answers) < 10
    refused = [answer.body or {} for answer in answers if answer.status == 503]
    assert {one["detail"] for one in refused} == {"the store cannot be written"}
    assert {answer.id for answer in answers if answer.status == 200} <= set(logged(url))
    assert service.call("GET", "/health/ready")[0] == 200
    again = [service.decide(row(number, customer_id=number))[0] for number in range(20)]
    assert again == [200] * 20


def test_a_server_that_went_silent_costs_503_within_the_time_limit(
    start: Start, url: str, server: PostgresServer
) -> None:
    service = start("--busy-milliseconds", "300")
    with steady(service, 4) as answers:
        time.sleep(1)
        with server.hung():
            time.sleep(1.5)
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses[-1] == 200
    assert max(answer.seconds for answer in answers) < 10
    assert {answer.id for answer in answers if answer.status == 200} <= set(logged(url))


@pytest.mark.parametrize("victim", ["service", "server"])
def test_every_acknowledged_decision_survives_kill_9_under_load(
    start: Start, url: str, server: PostgresServer, victim: str
) -> None:
    for number in range(3):
        service = start()
        load = Load(service.port, 8, number * 1_000_000)
        assert load.enough.wait(60)
        if victim == "server":
            server.kill()
        service.kill()
        load.wait()
        if victim == "server":
            server.start()
        ids = logged(url)
        assert len(load.acknowledged) >= 100
        assert set(load.acknowledged) <= set(ids)
        assert len(ids) == len(set(ids))


def test_the_password_is_no_flag_and_nowhere_said(
    start: Start, bundle: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = ended_start(bundle, tmp_path, free_port(), "--log", url)
    assert ended.returncode == 1
    assert "the address has a password" in ended.stderr
    plain = url.replace(f":{IN_URL}", "")
    service = start("--log", plain)
    assert service.decide(row(1))[0] == 200
    arguments = Path(f"/proc/{service.process.pid}/cmdline").read_text()
    said = service.stop()[1]
    assert plain in arguments and plain in said
    monkeypatch.setenv("SETPOINT_DECISIONS", "")
    refused = ended_start(bundle, tmp_path, free_port(), "--log", plain)
    assert refused.returncode == 1
    assert "password" in refused.stderr
    texts = (ended.stderr, arguments, said, refused.stderr)
    assert not [text for text in texts if IN_URL in text or PASSWORD in text]
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert start("--log", plain).decide(row(2))[0] == 200


def test_without_a_server_the_service_does_not_start_and_says_why(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETPOINT_DECISIONS", f"postgresql://setpoint@127.0.0.1:{free_port()}/d")
    ended = ended_start(bundle, tmp_path, free_port())
    assert ended.returncode == 1
    told = json.loads(ended.stderr)
    assert (told["event"], told["level"]) == ("not_started", "error")
    assert "start PostgreSQL" in told["message"]


class Outrun(SqliteDecisionLog):
    """A log elsewhere to which another machine writes each id first."""

    def __init__(self, path: Path, changes: dict[str, Any]) -> None:
        super().__init__(path)
        self._changes = changes

    def append(self, decisions: Sequence[Decision]) -> None:
        """As the real one."""
        super().append([replace(one, **self._changes) for one in decisions])
        super().append(decisions)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"score": 0.125}, Decision),
        ({"score": 0.125, "version": "6"}, Decision),
        ({"request": row(1, amount=9)}, Refusal),
    ],
    ids=["same version", "other version", "other row"],
)
def test_what_another_machine_logged_first_is_answered(
    bundle: Path, tmp_path: Path, changes: dict[str, Any], kind: type
) -> None:
    read = read_bundle(bundle)
    connection = connect(tmp_path / "store.db")
    online, log = SqliteOnlineStore(connection, read.features), Outrun(tmp_path / "log.db", changes)
    engine = Engine(read, "7", connection, online, log, print, log_elsewhere=True)
    (answered,) = decide(engine, [row(1)])
    assert isinstance(answered, kind)
    if isinstance(answered, Decision):
        assert answered == log.find(["p1"])["p1"]
        assert answered.score == 0.125
    connection.close()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_features_are_synced_to_the_disk_before_an_answer_wherever_the_log_is(
    bundle: Path, tmp_path: Path, elsewhere: bool
) -> None:
    read = read_bundle(bundle)
    connection = connect(tmp_path / "store.db")
    online = SqliteOnlineStore(connection, read.features)
    log = SqliteDecisionLog(tmp_path / "log.db" if elsewhere else connection)
    engine = Engine(read, "7", connection, online, log, print, log_elsewhere=elsewhere)
    said: list[str] = []
    connection.set_trace_callback(said.append)
    assert isinstance(decide(engine, [row(1)])[0], Decision)
    # where the log is elsewhere, no later transaction of the store would sync them
    assert any("synchronous = NORMAL" in one for one in said) is not elsewhere
    connection.close()


class Interrupted(SqliteDecisionLog):
    """A log elsewhere whose first answer does not arrive."""

    failed = False

    def append(self, decisions: Sequence[Decision]) -> None:
        """As the real one."""
        super().append(decisions)
        if not self.failed:
            self.failed = True
            raise StateError("the store failed: interrupted")


def test_a_decision_that_was_logged_and_not_answered_is_given_when_it_is_asked_for_again(
    bundle: Path, tmp_path: Path
) -> None:
    read = read_bundle(bundle)
    connection = connect(tmp_path / "store.db")
    online, log = SqliteOnlineStore(connection, read.features), Interrupted(tmp_path / "log.db")

    def ask() -> object:
        engine = Engine(read, "7", connection, online, log, print, log_elsewhere=True)
        return decide(engine, [row(1)])[0]

    def events() -> int:
        return int(connection.execute("SELECT count(*) FROM online_events").fetchone()[0])

    failed = ask()
    assert isinstance(failed, Unavailable) and failed.what == "the store cannot be written"
    assert (list(log.find(["p1"])), events()) == (["p1"], 1)
    assert ask() == log.find(["p1"])["p1"]
    assert (events(), log.read(DecisionQuery()).num_rows) == (1, 1)
    connection.close()
