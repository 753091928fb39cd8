"""How fast the scoring service answers, durable before acknowledged.

``python -m benchmarks.scoring`` trains a tiny model, starts the real service once per durability
and sends distinct rows over keep-alive connections, as fast as they are answered. CPU time is
the service's own, from its ``/metrics``; on a shared machine trust it before the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.serving.tiny import Service, make_bundle, row

WARM_UP = 200


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


def main() -> None:
    """Measure all durabilities at one and at several connections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle")
        for durability in ("full", "normal"):
            for connections in (1, options.connections):
                result = measure(bundle, durability, options.requests, connections)
                print(result.line(f"{durability}, {connections} conn."))
    print(f"{os.cpu_count()} cores; load before and after: {os.getloadavg()}")


if __name__ == "__main__":
    main()
