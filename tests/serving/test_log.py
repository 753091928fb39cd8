"""What the service says: one JSON object a line, bounded, and nothing of what was sent."""

from __future__ import annotations

import errno
import io
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from setpoint.domain.bundle import read_bundle
from setpoint.errors import StateError
from setpoint.serving.log import MOST_A_MINUTE, ServiceLog
from setpoint.serving.problems import Refusal, Unavailable, problem
from tests.serving.tiny import Service, row

Start = Callable[..., Service]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def lines(text: str) -> list[dict[str, Any]]:
    """The lines, decoded."""
    return [json.loads(line) for line in text.splitlines()]


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class Heard:
    """A log and what it wrote."""

    def __init__(self) -> None:
        self.stream, self.clock = io.StringIO(), Clock()
        self.log = ServiceLog("7", self.stream, self.clock)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written."""
        return lines(self.stream.getvalue())


@pytest.fixture
def heard() -> Heard:
    """A log."""
    return Heard()


def test_a_life_is_told_line_by_line(start: Start) -> None:
    service = start("--durability", "normal")
    service.decide(row(1))
    service.decide(row(2, amount="secret-amount"), traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    service.decide(row(3, customer_id=None), **{"x-request-id": "r-3"})
    code, said = service.stop()
    told = lines(said)
    assert code == 0
    # It is ready before it says so: who asks at once may be refused in between.
    [ready] = [one for one in told if one["event"] == "ready"]
    rest = [one for one in told if one is not ready]
    assert [one["event"] for one in rest] == ["start", "refused", "refused", "drain", "stop"]
    begin, first, second, drain, stop = rest
    assert all(one["version"] == "7" and one["level"] == "info" for one in told)
    times = [datetime.fromisoformat(one["time"]) for one in told]
    assert all(one.utcoffset() == timedelta(0) for one in times) and times == sorted(times)
    assert timedelta(0) <= datetime.now(UTC) - times[-1] < timedelta(minutes=5)
    assert begin["bundle"] == read_bundle(service.bundle).digest
    assert begin["address"] == f"127.0.0.1:{service.port}"
    assert (begin["decisions"], begin["durability"]) == (str(service.store), "normal")
    assert (begin["keys"], begin["pid"]) == (False, service.process.pid)
    assert 0 < ready["seconds"] < 30
    assert (first["status"], first["rule"], first["trace_id"]) == (422, "type", TRACE)
    assert (second["rule"], second["trace_id"]) == ("null", "r-3")
    assert (drain["in_flight"], stop["unanswered"]) == (0, 0)
    assert "secret-amount" not in said


def test_a_store_that_is_away_is_told_with_its_place(start: Start) -> None:
    service = start("--busy-milliseconds", "50")
    other = sqlite3.connect(service.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert service.decide(row(1), **{"x-request-id": "r-1"})[0] == 503
    other.close()
    told = {one["event"]: one for one in lines(service.stop()[1])}
    assert told["store"]["level"] == "error"
    assert "locked" in told["store"]["message"]
    failed = told["failed"]
    assert (failed["status"], failed["rule"], failed["trace_id"]) == (503, "unavailable", "r-1")


def test_bad_traffic_fills_no_disk_and_is_counted(start: Start) -> None:
    service = start()
    for number in range(50):
        assert service.decide(row(number, amount=-1))[0] == 422
    said = service.stop()[1]
    told = lines(said)
    assert len([one for one in told if one["event"] == "refused"]) <= MOST_A_MINUTE + 1
    left_out = sum(one.get("left_out", 0) for one in told if one["event"] == "refused")
    left_out += told[-1]["left_out"]["refused"]
    assert left_out + len([one for one in told if one["event"] == "refused"]) == 50


def test_what_was_left_out_is_said_in_the_next_line_of_its_event(heard: Heard) -> None:
    for number in range(25):
        heard.log.say_some("info", "refused", lambda n=number: {"n": n})  # type: ignore[misc]
    heard.log.say_some("error", "fault", dict)
    assert [one.get("n") for one in heard.lines] == [*range(MOST_A_MINUTE), None]
    assert heard.log.left_out() == {"refused": 15}
    heard.clock.now = 60.0
    heard.log.say_some("info", "refused", dict)
    assert heard.lines[-1]["left_out"] == 15
    assert heard.log.left_out() is None


def test_a_fault_is_told_by_its_place_and_not_by_its_message(heard: Heard) -> None:
    try:
        raise ValueError("the card 4000 1234")
    except ValueError as error:
        heard.log.fault(error, "r-1")
    heard.log.fault(StateError("the store failed: disk full", where="live.db"))
    fault, store = heard.lines
    assert (fault["event"], fault["error"], fault["trace_id"]) == ("fault", "ValueError", "r-1")
    assert fault["place"].startswith("test_log.py:")
    assert "4000" not in json.dumps(fault)
    assert (store["event"], store["message"]) == ("store", "live.db: the store failed: disk full")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Refusal("range", "amount is -1", field="amount"), ("info", "refused", None)),
        (Unavailable("the store is away"), ("warning", "failed", "the store is away")),
    ],
)
def test_the_value_that_was_refused_is_not_told(
    heard: Heard, error: Refusal | Unavailable, told: tuple[str, str, str | None]
) -> None:
    heard.log.problem(error.status, [("x-request-id", "r-1")], problem(error))
    (line,) = heard.lines
    assert (line["level"], line["event"], line.get("message")) == told
    assert (line["rule"], line["trace_id"]) == (error.rule, "r-1")


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        """Never."""
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stream_that_cannot_be_written_stops_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, Full()):
        ServiceLog("7", stream).say("info", "start")
