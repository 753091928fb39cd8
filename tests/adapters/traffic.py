"""A real gateway with stub versions behind it, for tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from setpoint.adapters.envoy import EnvoyRouter
from setpoint.adapters.gateway_client import Answer, GatewayClient
from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.adapters.processes import free_port
from setpoint.adapters.services import declare, service_status, wait_ready
from setpoint.ports import TrafficPlan
from tests.adapters.supervised import STUB, supervised


@dataclass
class Traffic:
    """Supervisor, Envoy and stub versions of one state folder."""

    state: Path
    router: EnvoyRouter
    runtime: ProcessRuntime
    url: str
    plans: list[str] = field(default_factory=list)

    def start(self, *versions: str) -> None:
        """Start stub versions."""
        for version in versions:
            self.runtime.start(version, self.state / "bundle")

    def move(
        self, weights: dict[str, int], stable: str, shadow: str | None = None, offset: int = 0
    ) -> str:
        """Apply a plan with a new id; returns the id."""
        plan = TrafficPlan(f"plan-{len(self.plans)}", weights, stable, shadow, offset)
        self.plans.append(plan.id)
        self.router.apply(plan, self.runtime.endpoints())
        return plan.id

    def kill(self, version: str) -> None:
        """``kill -9`` the process of a version."""
        pid = service_status(self.state, f"model-{version}").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def seen(self, version: str) -> dict[str, int]:
        """How many requests a stub got, ``direct`` and ``shadow``."""
        endpoint = self.runtime.endpoints()[version]
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/seen") as answer:
            counted: dict[str, int] = json.load(answer)
        return counted

    def send(self, rows: Sequence[dict[str, Any]]) -> list[Answer]:
        """Send rows at once."""

        async def go() -> list[Answer]:
            async with GatewayClient(self.url, concurrency=16) as client:
                return await client.send(rows, "customer")

        return asyncio.run(go())

    def play(self, meanwhile: Callable[[], None]) -> list[Answer]:
        """Play ``rows`` at 150 a second until ``meanwhile`` is over, and half a second more."""

        async def go() -> list[Answer]:
            answers: list[Answer] = []
            async with GatewayClient(self.url) as client:
                work = asyncio.create_task(asyncio.to_thread(meanwhile))
                last = False
                while not last:
                    last = work.done()
                    answers += await client.play(rows(75, first=len(answers)), 150.0, "customer")
                await work
            return answers

        return asyncio.run(go())


def rows(count: int, *, first: int = 0, customers: int = 200) -> list[dict[str, Any]]:
    """Request rows of customers in turn."""
    numbers = range(first, first + count)
    return [{"id": f"e{i}", "customer": f"c{i % customers}", "amount": 1.5} for i in numbers]


def versions_by_customer(answers: Sequence[Answer], customers: int = 200) -> dict[int, set[str]]:
    """Which versions answered each customer of ``rows``."""
    found: dict[int, set[str]] = {}
    for place, answer in enumerate(answers):
        assert answer.body is not None, answer
        found.setdefault(place % customers, set()).add(answer.body["version"])
    return found


@contextmanager
def gateway(state: Path) -> Iterator[Traffic]:
    """A gateway that is ready and has no plan."""
    with supervised(state):
        port, admin = free_port(), free_port()
        router = EnvoyRouter(state, port, admin, timeout=10.0)
        declare(state, router.service_spec())
        wait_ready(state, "gateway", 30)
        runtime = ProcessRuntime(state, state / "live.db", STUB, ready_seconds=30)
        yield Traffic(state, router, runtime, f"http://127.0.0.1:{port}")
