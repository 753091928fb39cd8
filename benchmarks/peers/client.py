"""One HTTP client for all servers: keep-alive connections, bytes made beforehand.

It costs some 25 µs of CPU a request, so that it hardly competes with what it measures.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PATIENCE_SECONDS = 30.0
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Window:
    """What came back in one window of load.

    Attributes:
        seconds: Time of every answered request, [n]; at a fixed rate from the moment it was due.
        took: Time from the first request to the last answer, seconds.
        lost: Requests that were not answered with 200.
        client_cpu: CPU seconds of the client.
    """

    seconds: npt.NDArray[np.float64]
    took: float
    lost: int
    client_cpu: float

    @property
    def answered(self) -> int:
        """How many were answered with 200."""
        return len(self.seconds)


class _Connection(asyncio.Protocol):
    """One request at a time; ``done`` is called with the answer, ``None`` if it was cut off."""

    def __init__(self, done: Callable[[_Connection, bytes | None], None]) -> None:
        self._done = done
        self._got = b""
        self._wanted = 0
        self._waits = False
        self.due = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes, due: float) -> None:
        self.due, self._got, self._wanted, self._waits = due, b"", 0, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got = self._got + data if self._got else data
        if not self._wanted:
            self._wanted = length_of(self._got)
        if self._wanted and len(self._got) >= self._wanted:
            self._waits = False
            self._done(self, self._got)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waits:
            self._waits = False
            self._done(self, None)


def length_of(answer: bytes) -> int:
    """Bytes of the whole answer, head included; 0 while the head is not complete.

    Raises:
        ValueError: The head names no length.
    """
    end = answer.find(_END)
    if end < 0:
        return 0
    head = answer[:end].lower() + b"\r\n"
    place = head.find(b"\r\ncontent-length:")
    if place < 0:
        raise ValueError(f"an answer without a length: {answer[:200]!r}")
    stop = head.index(b"\r\n", place + 2)
    return end + len(_END) + int(head[place + 17 : stop])


class _Load:
    """A window under way: hands out requests, collects answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines: list[_Connection] = []
        self._times: list[float] = []
        self._lost = 0
        self._sent = 0
        self._over = asyncio.Event()

    async def run(self, connections: int, load: Callable[[], None], limit: float) -> Window:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, line = await loop.create_connection(
                lambda: _Connection(self._settle), "127.0.0.1", self._port
            )
            self._lines.append(line)
        cpu, began = time.process_time(), time.perf_counter()
        load()
        try:
            await asyncio.wait_for(self._over.wait(), limit)
        except TimeoutError:
            self._lost += self._sent - len(self._times) - self._lost
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        for line in self._lines:
            line.transport.abort()
        return Window(np.array(self._times), took, self._lost, cpu)

    def _settle(self, line: _Connection, answer: bytes | None) -> None:
        now = time.perf_counter()
        if answer is not None and answer[9:12] == b"200":
            self._times.append(now - line.due)
        else:
            self._lost += 1
        self._next(line, now, alive=answer is not None)

    def _next(self, line: _Connection, now: float, alive: bool) -> None:
        raise NotImplementedError

    def _send(self, line: _Connection, request: bytes, due: float) -> None:
        self._sent += 1
        line.send(request, due)


class _Closed(_Load):
    """Every connection sends as soon as it was answered, until the time is up."""

    def __init__(self, port: int, requests: Iterator[bytes], seconds: float) -> None:
        super().__init__(port)
        self._requests = requests
        self._seconds = seconds
        self._end = 0.0
        self._open = 0

    def begin(self) -> None:
        now = time.perf_counter()
        self._end = now + self._seconds
        self._open = len(self._lines)
        for line in list(self._lines):
            self._next(line, now, alive=True)

    def _next(self, line: _Connection, now: float, alive: bool) -> None:
        request = next(self._requests, None) if alive and now < self._end else None
        if request is not None:
            self._send(line, request, now)
            return
        self._open -= 1
        if self._open == 0:
            self._over.set()


class _Fixed(_Load):
    """Requests are sent when they are due, whether or not others were answered."""

    def __init__(self, port: int, requests: Sequence[bytes], rate: float) -> None:
        super().__init__(port)
        self._requests = requests
        self._rate = rate
        self._place = 0
        self._began = 0.0
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[bytes, float]] = deque()

    def begin(self) -> None:
        self._idle = list(self._lines)
        self._began = time.perf_counter()
        self._tick()

    def _tick(self) -> None:
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        while self._place < len(self._requests):
            due = self._began + self._place / self._rate
            if due > now:
                loop.call_later(due - now, self._tick)
                return
            request = self._requests[self._place]
            self._place += 1
            if self._idle:
                self._send(self._idle.pop(), request, due)
            else:
                self._waiting.append((request, due))

    def _next(self, line: _Connection, now: float, alive: bool) -> None:
        if alive and self._waiting:
            self._send(line, *self._waiting.popleft())
        elif alive:
            self._idle.append(line)
        if len(self._times) + self._lost == len(self._requests):
            self._over.set()


def closed_loop(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Window:
    """As fast as it is answered.

    Args:
        port: Of the server, on loopback.
        requests: Whole HTTP requests; the window ends early when they do.
        connections: Kept busy, >= 1.
        seconds: Length of the window, > 0.
    """

    async def run() -> Window:
        load = _Closed(port, requests, seconds)
        return await load.run(connections, load.begin, seconds + _PATIENCE_SECONDS)

    with _undisturbed():
        return asyncio.run(run())


def fixed_rate(port: int, requests: Sequence[bytes], connections: int, rate: float) -> Window:
    """At a fixed rate; a request that finds no free connection waits, and its waiting counts.

    Args:
        port: Of the server, on loopback.
        requests: Whole HTTP requests.
        connections: Most requests under way at once, >= 1.
        rate: Requests a second, > 0.
    """

    async def run() -> Window:
        load = _Fixed(port, requests, rate)
        limit = len(requests) / rate + _PATIENCE_SECONDS
        return await load.run(connections, load.begin, limit)

    with _undisturbed():
        return asyncio.run(run())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile: its pauses would be taken for the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
