"""Payments at a steady rate through the gateway, whoever is or is not there to answer."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from setpoint.adapters.gateway_client import Answer, GatewayClient
from setpoint.domain.world import World
from setpoint.workspace import StreamClock, Workspace

CONNECTIONS = 512
"""Requests that may wait at once: a version that hangs must not slow the sender down."""


@dataclass(frozen=True)
class Payment:
    """A payment of the world, again and again: each time round later, under an id of its own."""

    row: dict[str, Any]
    fraud: bool
    time: datetime


class Stream:
    """The payments of a world from a day on, without end, each by another customer.

    In the small world a few customers carry most of the fraud, and an experiment, which counts
    customers, would wait for weeks.

    Args:
        world: The world.
        first_day: Where they begin.
        label_delay: Event time after which a fraud is reported.
    """

    def __init__(self, world: World, first_day: int, label_delay: timedelta) -> None:
        begin = world.day_slice(first_day).start
        rows = world.events.slice(begin).to_pylist()
        self._rows = [
            Payment(row, bool(fraud), row["time"])
            for row, fraud in zip(rows, world.fraud[begin:].tolist(), strict=True)
        ]
        self._span = timedelta(days=world.config.days - first_day)
        self._delay = label_delay
        self._endless = self._go_on()
        self.now = self._rows[0].time
        self.reports: list[tuple[datetime, str]] = []

    def _go_on(self) -> Iterator[dict[str, Any]]:
        for lap in itertools.count():
            for number, payment in enumerate(self._rows):
                self.now = payment.time + lap * self._span
                identity = f"{payment.row['tx_id']}-{lap}"
                if payment.fraud:
                    self.reports.append((self.now + self._delay, identity))
                customer = f"{payment.row['customer_id']}-{lap}-{number}"
                named = {"tx_id": identity, "customer_id": customer}
                yield {**payment.row, **named, "time": self.now.isoformat()}

    def next(self) -> dict[str, Any]:
        """The next payment."""
        return next(self._endless)

    def reported(self) -> list[dict[str, Any]]:
        """Frauds that have become known since the last time, as labels."""
        due = [one for one in self.reports if one[0] <= self.now]
        self.reports = [one for one in self.reports if one[0] > self.now]
        return [{"id": i, "label": 1, "known_at": known.isoformat()} for known, i in due]


@dataclass
class Load:
    """A steady rate of payments while something else happens: ``with Load(...) as load``.

    Attributes:
        answers: One a payment, once it is over.
        rows: What was sent, by id.
    """

    workspace: Workspace
    stream: Stream
    rate: float
    answers: list[Answer] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels_refused: int = 0
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._play()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _payments(self) -> Iterator[dict[str, Any]]:
        while not self._ending.is_set():
            row = self.stream.next()
            self.rows[row["tx_id"]] = row
            yield row

    async def _play(self) -> None:
        url = f"http://127.0.0.1:{self.workspace.ports.gateway}"
        async with GatewayClient(url, CONNECTIONS, id_column="tx_id") as client:
            telling = asyncio.create_task(self._tell(client))
            self.answers = await client.play(self._payments(), self.rate, "customer_id")
            telling.cancel()

    async def _tell(self, client: GatewayClient) -> None:
        """Move the clock on, and report the frauds that have become known."""
        clock = StreamClock(self.workspace.state)
        while True:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(clock.advance, self.stream.now)
            labels = self.stream.reported()
            if labels and (await client.labels(labels)).status >= 500:
                self.labels_refused += len(labels)
