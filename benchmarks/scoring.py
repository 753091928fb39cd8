"""How fast the scoring service answers, durable before acknowledged.

``python -m benchmarks.scoring`` trains a tiny model, starts the real service once per durability
and sends distinct rows over keep-alive connections, as fast as they are answered. CPU time is
the service's own, from its ``/metrics``; on a shared machine trust it before the rates. Then it
starts the service under the supervisor with Envoy in front, and sends rows at a steady rate
through Envoy and past it; a request's time counts from the moment it was due. It writes
``benchmarks/results/scoring.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.adapters.envoy import EnvoyRouter
from setpoint.adapters.gateway_client import GatewayClient
from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.adapters.processes import free_port
from setpoint.adapters.services import declare, wait_ready
from setpoint.ports import TrafficPlan
from tests.adapters.supervised import supervised
from tests.serving.tiny import Service, make_bundle, row

WARM_UP = 200
RESULT = Path(__file__).parent / "results" / "scoring.json"


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        seconds: Time of every request, [n].
        took: Time of the run, seconds.
        cpu: CPU seconds that the service used.
        memory: Resident memory of the service, bytes.
    """

    seconds: np.ndarray
    took: float
    cpu: float
    memory: float

    def line(self, name: str) -> str:
        """The result as a row of a table."""
        p50, p99 = np.quantile(self.seconds, [0.5, 0.99]) * 1000
        rate = len(self.seconds) / self.took
        micros = self.cpu / len(self.seconds) * 1e6
        return (
            f"{name:>18} {rate:>8.0f}/s  p50 {p50:>6.1f} ms  p99 {p99:>6.1f} ms  "
            f"{micros:>5.0f} us CPU a request  {self.memory / 1e6:>4.0f} MB"
        )

    def figures(self) -> dict[str, float]:
        """The result for the file."""
        return {
            **quantiles(self.seconds),
            "requests_per_second": round(len(self.seconds) / self.took),
            "cpu_micros_a_request": round(self.cpu / len(self.seconds) * 1e6),
            "memory_mb": round(self.memory / 1e6, 1),
        }


def quantiles(seconds: np.ndarray) -> dict[str, float]:
    """Median and 99th percentile, milliseconds."""
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


async def _client(port: int, numbers: range, seconds: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        body = json.dumps(row(number, customer_id=number % 1000, amount=number % 900)).encode()
        head = f"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        started = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not 200: {answer!r}")
        lines = answer.lower().split(b"\r\n")
        length = next(line for line in lines if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        seconds.append(time.perf_counter() - started)
    writer.close()


async def _send(port: int, first: int, requests: int, connections: int) -> list[float]:
    seconds: list[float] = []
    each = requests // connections
    starts = range(first, first + each * connections, each)
    await asyncio.gather(*(_client(port, range(s, s + each), seconds) for s in starts))
    return seconds


def measure(bundle: Path, durability: str, requests: int, connections: int) -> Result:
    """Run one service under closed-loop load."""
    with tempfile.TemporaryDirectory(dir=bundle.parent) as folder:
        service = Service(bundle, Path(folder) / "store.db", "1", ("--durability", durability))
        try:
            service.wait_ready()
            asyncio.run(_send(service.port, 0, WARM_UP, 1))
            cpu = service.metric("process_cpu_seconds_total")
            started = time.perf_counter()
            seconds = asyncio.run(_send(service.port, WARM_UP, requests, connections))
            took = time.perf_counter() - started
            cpu = service.metric("process_cpu_seconds_total") - cpu
            memory = service.metric("process_resident_memory_bytes")
        finally:
            service.kill()
    return Result(np.array(seconds), took, cpu, memory)


def steady(bundle: Path, requests: int, rate: float) -> dict[str, dict[str, float]]:
    """Rows at a steady rate, through Envoy and straight to the same process.

    Args:
        bundle: The bundle.
        requests: Rows for each way.
        rate: Requests a second.

    Returns:
        Milliseconds and requests lost, for ``envoy`` and ``direct``.
    """
    with tempfile.TemporaryDirectory() as folder, supervised(Path(folder)):
        state, port = Path(folder), free_port()
        router = EnvoyRouter(state, port, free_port())
        declare(state, router.service_spec())
        wait_ready(state, "gateway")
        endpoint = ProcessRuntime(state, state / "live.db").start("1", bundle)
        router.apply(TrafficPlan("benchmark", {"1": 100}, "1"), {"1": endpoint})
        ways = {"envoy": port, "direct": endpoint.port}
        return {
            way: asyncio.run(_play(at, place * (WARM_UP + requests), requests, rate))
            for place, (way, at) in enumerate(ways.items())
        }


async def _play(port: int, first: int, requests: int, rate: float) -> dict[str, float]:
    numbers = range(first, first + WARM_UP + requests)
    rows = [row(n, customer_id=n % 1000, amount=n % 900) for n in numbers]
    url = f"http://127.0.0.1:{port}"
    async with GatewayClient(url, id_column="payment_id") as client:
        await client.send(rows[:WARM_UP], "customer_id")
        answers = await client.play(rows[WARM_UP:], rate, "customer_id")
    lost = sum(answer.status != 200 for answer in answers)
    return {**quantiles(np.array([a.seconds for a in answers])), "not_answered_200": lost}


def closed_loop(bundle: Path, requests: int, connections: int) -> dict[str, Any]:
    """All durabilities at one and at several connections, straight to the service."""
    found = {}
    for durability in ("full", "normal"):
        for count in (1, connections):
            result = measure(bundle, durability, requests, count)
            name = f"{durability}, {count} conn."
            print(result.line(name))
            found[name] = result.figures()
    return found


def main() -> None:
    """Measure both and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=100.0, help="steady rate, requests a second")
    parser.add_argument("--steady", type=int, default=3000, help="requests at the steady rate")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle", "1")
        closed = closed_loop(bundle, options.requests, options.connections)
        even = steady(bundle, options.steady, options.rate)
    result = {
        "p50_ms": even["envoy"]["p50_ms"],
        "p99_ms": even["envoy"]["p99_ms"],
        "rate_per_second": options.rate,
        "requests": options.steady,
        "steady": even,
        "closed_loop": closed,
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(load[0], 1),
            "python": platform.python_version(),
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps({key: result[key] for key in ("p50_ms", "p99_ms", "steady")}, indent=2))


if __name__ == "__main__":
    main()
