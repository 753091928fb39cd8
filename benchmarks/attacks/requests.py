"""Requests that are to wear the service out: what they get, and what honest ones get meanwhile.

The real service scores a tiny bundle. An attacker sends as fast as one connection can, and honest
rows are sent one after the other as long as that lasts.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.attacks.worlds import Row, told
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.ports import DecisionQuery
from setpoint.serving.keys import new_key
from tests.serving.test_refusals import ROWS
from tests.serving.tiny import Service, make_bundle, row

ASKED = 100
"""Honest rows that an attack is to keep from a score, for each world of the other attacks."""
PER_MINUTE = 60
"""Requests a minute of the key that floods."""
HONEST, FLOODING = 1_000_000, 10_000_000
"""First number of honest rows, and of those that flood."""
CUT = 0
"""Stands for the status of a request without an answer."""
KINDS = {
    400: "AML.T0046: bodies that are no JSON",
    422: "AML.T0046: rows that break the schema",
    413: "AML.T0029: bodies that are too large",
}

Sent = Counter[int]
"""Requests by the status they were answered with."""


@contextmanager
def service(bundle: Path, work: Path, *options: str) -> Iterator[Service]:
    """A service of its own, gone afterwards."""
    started = Service(bundle, work / "store.db", "7", options)
    try:
        yield started.wait_ready()
    finally:
        started.kill()


class Client:
    """A keep-alive connection that is opened again where the service closes it."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.headers = headers

    def ask(self, body: bytes) -> int:
        """Status of the answer; ``CUT`` without one."""
        try:
            self.connection.request("POST", "/v1/decisions", body, self.headers)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return CUT


def assault(
    port: int, bodies: Iterator[bytes], asked: int, keys: tuple[dict[str, str], dict[str, str]]
) -> tuple[Sent, Sent]:
    """What the bodies of an attack got, and what so many honest rows got meanwhile.

    Args:
        port: Of the service.
        bodies: What the attacker sends, without end: until the honest rows are answered, and at
            least so many of them.
        asked: Honest rows.
        keys: Headers of the attacker, and of the honest client.
    """
    bad, good = Client(port, keys[0]), Client(port, keys[1])
    over = threading.Event()

    def attack() -> Sent:
        sent: Sent = Counter()
        while not over.is_set() or sent.total() < asked:
            sent[bad.ask(next(bodies))] += 1
        return sent

    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(attack)
        try:
            honest = Counter(good.ask(as_bytes(row(HONEST + i))) for i in range(asked))
        finally:
            over.set()
        return attacking.result(), honest


def as_bytes(body: Any) -> bytes:
    """A body as it is sent."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def floods(seeds: int) -> Iterator[Row]:
    """Valid rows without end by one key, with and without a rate for each key."""
    scored, unanswered, flooded = [], [], 0
    asked = ASKED * seeds
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bundle = make_bundle(work / "bundle")
        token, few = new_key("flood", ["score"], PER_MINUTE)
        honest, many = new_key("honest", ["score"], 1_000_000)
        (work / "keys.json").write_bytes(msgspec.json.encode([few, many]))
        limited = ("--keys", str(work / "keys.json"))
        for name, options in (("off", ()), ("on", limited)):
            (work / name).mkdir()
            with service(bundle, work / name, *options) as started:
                sent, answered = assault(
                    started.port,
                    (as_bytes(row(i)) for i in count(FLOODING)),
                    asked,
                    ({"authorization": f"Bearer {token}"}, {"authorization": f"Bearer {honest}"}),
                )
            scored.append(sent[200] / sent.total())
            unanswered.append(1 - answered[200] / answered.total())
            flooded += sent.total()
    rate = f"a rate for each key, {PER_MINUTE} a minute"
    yield told("AML.T0034: flood of valid rows", rate, "scored, share", *scored, flooded)
    yield told("AML.T0029: flood of valid rows", rate, "honest rows without a score, share",
               *unanswered, asked)  # fmt: skip


def refused(seeds: int) -> dict[str, object]:
    """Malformed and oversized requests, which no switch lets in: what they and honest ones get."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle")
        for status, kind in KINDS.items():
            bad = [as_bytes(body) for body, wanted, _, _ in ROWS.values() if wanted == status]
            work = Path(folder) / str(status)
            work.mkdir()
            with service(bundle, work) as started:
                sent, honest = assault(started.port, cycle(bad), ASKED * seeds, ({}, {}))
            left = SqliteDecisionLog(work / "store.db").read(DecisionQuery()).num_rows
            found.append(
                {
                    "attack": kind,
                    "sent": sent.total(),
                    "answered as described": sent[status],
                    "status": str(status),
                    "scored": sent[200],
                    "decisions left behind": left - honest[200],
                    "honest rows meanwhile": honest.total(),
                    "of them scored": honest[200],
                }
            )
    return {"requests_refused": found}
