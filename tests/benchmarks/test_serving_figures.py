"""What the serving benchmark makes of what it measured."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.peers.client import Window, closed_loop, fixed_rate, length_of
from benchmarks.peers.machine import Clock
from benchmarks.serving import Load, Turn, compare, figures, judge, latencies

REQUEST = b"POST /x HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"


def load(seconds: list[float], took: float = 1.0, lost: int = 0, cpu: float = 0.1) -> Load:
    return Load(Window(np.array(seconds), took, lost, 0.01), cpu, 0.0, 0.0)


def turn(rps: int) -> Turn:
    closed = load([0.01] * rps)
    return Turn(0.5, 100.0, 1e-8, closed, load([0.002]), None)


def test_an_answer_is_whole_only_with_its_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nx: y\r\n\r\n"

    assert length_of(head[:20]) == 0
    assert length_of(head + b"ab") == len(head) + 4


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="without a length"):
        length_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


def test_rates_are_medians_of_rounds() -> None:
    assert figures([turn(100), turn(300), turn(110)])["rps"] == 110


def test_a_request_without_an_answer_spoils_the_99th_percentile() -> None:
    kept, lost = load([0.001] * 100), load([0.001] * 100, lost=5)

    assert latencies([kept]) == {"p50_ms": 1.0, "p99_ms": 1.0}
    assert latencies([lost])["p99_ms"] == float("inf")


def test_ratios_are_ours_with_the_log_over_the_peer() -> None:
    ours = {"direct": {"rps": 500.0, "cpu_us": 200.0, "high_rate": {"p99_ms_median_round": 9.0}}}
    found = compare(ours, {"mlflow": {"rps": 10.0, "cpu_us": 8000.0}}, 0.4)

    assert found["rps_over_mlflow"] == 50
    assert found["cpu_of_mlflow_over_ours"] == 40


def test_a_goal_that_was_not_measured_is_not_met() -> None:
    judged = judge({"rps_over_mlflow": 50.0, "cpu_us_all_told": 401.0})

    assert judged["rps_over_mlflow"]["met"]
    assert not judged["cpu_us_all_told"]["met"]
    assert not judged["p99_ms_at_1000"]["met"]


def test_time_that_nobody_known_used_is_the_others() -> None:
    # ten seconds of two cores, six of them used, four by server and client
    ticks = os.sysconf("SC_CLK_TCK")
    before, after = Clock(0, 0, 0), Clock(0, 6 * ticks, 20 * ticks)

    assert after.rest_share(before, 4.0) == 0.1


@contextmanager
def slow_server(seconds: float, status: bytes = b"200 OK") -> Iterator[int]:
    """Answers each request of a connection ``seconds`` later."""
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readexactly(len(REQUEST))
                await asyncio.sleep(seconds)
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def test_at_a_fixed_rate_waiting_for_a_connection_counts() -> None:
    with slow_server(0.05) as port:
        window = fixed_rate(port, [REQUEST] * 5, connections=1, rate=1000)

    assert window.answered == 5
    assert window.seconds.max() > 0.2  # the last one waited for the four before it


def test_a_closed_loop_ends_with_its_requests_or_its_time() -> None:
    with slow_server(0.02) as port:
        few = closed_loop(port, iter([REQUEST] * 6), connections=2, seconds=30)
        short = closed_loop(port, iter([REQUEST] * 9999), connections=2, seconds=0.2)

    assert few.answered == 6
    assert few.took < 5
    assert 2 <= short.answered < 30


def test_an_answer_that_is_not_200_is_lost() -> None:
    with slow_server(0.0, b"503 Service Unavailable") as port:
        window = closed_loop(port, iter([REQUEST] * 4), connections=2, seconds=5)

    assert (window.answered, window.lost) == (0, 4)
