"""A service that is killed under load, again and again, and what clients and log hold after."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.ports import Decision
from setpoint.serving.scorer import Scorer
from tests.serving.tiny import Service, row

VERSION = "7"


@dataclass
class Traffic:
    """What clients sent, and what they hold.

    Attributes:
        sent: Rows by id.
        answers: Answers with status 200, by id.
        unanswered: Ids whose connection was cut or that got a 5xx; they may have been decided.
        changed: Ids that were answered otherwise when they were sent again.
    """

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)

    def rows(self) -> Iterator[dict[str, Any]]:
        """New rows without end, one in three for the adverse action."""
        for number in itertools.count(len(self.sent)):
            amount, country = number * 37 % 900, ("AT", "CH", "DE")[number % 3]
            age = None if number % 7 == 0 else number % 80
            yield row(number, customer_id=number % 97, amount=amount, country=country, age=age)


def trace_of(identity: str) -> str:
    """The request id that a row is sent with."""
    return f"trace-{identity}"


async def _ask(
    session: Any,
    port: int,
    sent: dict[str, Any],
    traffic: Traffic,
    on_answer: Callable[[], None] = lambda: None,
) -> None:
    import aiohttp

    identity = sent["payment_id"]
    headers = {"x-request-id": trace_of(identity)}
    url = f"http://127.0.0.1:{port}/v1/decisions"
    try:
        async with session.post(url, json=sent, headers=headers) as answer:
            on_answer()
            found = await answer.json()
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError):
        traffic.unanswered.add(identity)
        return
    if status >= 500:
        traffic.unanswered.add(identity)  # nothing was promised
        return
    if status != 200:
        raise AssertionError(f"{identity} was answered {status}: {found}")
    traffic.unanswered.discard(identity)
    if traffic.answers.setdefault(identity, found) != found:
        traffic.changed.add(identity)


async def _storm(service: Service, traffic: Traffic, rate: float, seconds: float) -> None:
    """Send at ``rate`` rows a second; kill the service with the first answer after ``seconds``.

    A service that answers before its commit has returned is then caught in between.
    """
    import aiohttp

    begin = time.perf_counter()

    def kill() -> None:
        if time.perf_counter() - begin > seconds:
            service.process.kill()

    connector = aiohttp.TCPConnector(limit=256)
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        tasks = []
        for place, sent in enumerate(traffic.rows()):
            if service.process.poll() is not None:
                break
            traffic.sent[sent["payment_id"]] = sent
            asked = _ask(session, service.port, sent, traffic, kill)
            tasks.append(asyncio.create_task(asked))
            due = begin + (place + 1) / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await asyncio.gather(*tasks)


async def _repeat(service: Service, traffic: Traffic, ids: list[str]) -> None:
    """Send rows again, as a client does that got no answer or lost it."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16)) as session:
        for identity in ids:
            await _ask(session, service.port, traffic.sent[identity], traffic)


def kill_rounds(
    bundle: Path, store: Path, rounds: int, rate: float, longest: float, options: tuple[str, ...]
) -> dict[str, Any]:
    """Kill a service under load again and again on one store.

    Args:
        bundle: Folder of the bundle.
        store: Database of the service.
        rounds: How often it is killed.
        rate: Rows a second.
        longest: Most seconds until a kill; the least is a quarter of it.
        options: More options of the service, e.g. its durability.

    Returns:
        ``acknowledged`` and, which are to be 0, ``missing``, ``differing`` (in the log, but not
        as answered, or with features that do not give the score), ``duplicates`` (rows beyond
        one an id), ``changed`` (answers that a repeated request got otherwise),
        ``without_origin`` (of those asked for by id: snapshot or commit not the manifest's).
    """
    chance = random.Random(7)
    traffic = Traffic()
    cut = 0
    for _ in range(rounds):
        service = Service(bundle, store, VERSION, options)
        try:
            service.wait_ready()
            held = chance.sample(sorted(traffic.answers), min(20, len(traffic.answers)))
            asyncio.run(_repeat(service, traffic, [*sorted(traffic.unanswered), *held]))
            asyncio.run(_storm(service, traffic, rate, chance.uniform(longest / 4, longest)))
            cut += len(traffic.unanswered)
        finally:
            service.kill()
    service = Service(bundle, store, VERSION, options)
    try:
        service.wait_ready()
        asyncio.run(_repeat(service, traffic, sorted(traffic.unanswered)))
        lost_origin = _without_origin(service, chance.sample(sorted(traffic.answers), 20))
    finally:
        service.kill()
    found = compare(store, read_bundle(bundle), traffic)
    return {"cut": cut, **found, "without_origin": lost_origin}


def compare(store: Path, bundle: Bundle, traffic: Traffic) -> dict[str, int]:
    """What clients hold beside what the log holds; see ``kill_rounds``."""
    log = SqliteDecisionLog(store)
    try:
        logged = log.find(traffic.answers)
    finally:
        log.close()
    missing = traffic.answers.keys() - logged.keys()
    differing = [
        identity
        for identity, decision in logged.items()
        if not _same(decision, traffic.answers[identity], traffic.sent[identity], bundle)
    ]
    differing += _wrong_scores(list(logged.values()), bundle)
    database = sqlite3.connect(store)
    try:
        count = "SELECT count(*) - count(DISTINCT id) FROM decisions WHERE shadow = 0"
        duplicates = int(database.execute(count).fetchone()[0])
    finally:
        database.close()
    return {
        "acknowledged": len(traffic.answers),
        "adverse": sum(bool(one["reason_codes"]) for one in traffic.answers.values()),
        "missing": len(missing),
        "differing": len(set(differing)),
        "duplicates": duplicates,
        "changed": len(traffic.changed),
    }


def _same(decision: Decision, answer: dict[str, Any], sent: dict[str, Any], bundle: Bundle) -> bool:
    held = {
        "decision_id": decision.id,
        "score": decision.score,
        "action": decision.action,
        "threshold": decision.threshold,
        "reason_codes": decision.reasons,
        "model_version": decision.version,
        "model_digest": decision.bundle_digest,
    }
    return (
        {name: answer[name] for name in held} == held
        and decision.request == sent
        and tuple(decision.features) == bundle.features.names
        and decision.bundle_digest == bundle.digest
        and decision.trace_id == trace_of(decision.id)
    )


def _wrong_scores(decisions: list[Decision], bundle: Bundle) -> list[str]:
    """Ids whose logged features do not give the logged score."""
    if not decisions:
        return []
    spec = bundle.features
    rows = [
        (
            [math.nan if (v := one.features[n]) is None else float(v) for n in spec.number_names],
            [str(one.features[n]) for n in spec.categories],
        )
        for one in decisions
    ]
    scores, _ = Scorer(bundle).score(rows)
    logged = np.array([one.score for one in decisions])
    return [decisions[i].id for i in np.flatnonzero(np.abs(scores - logged) > 1e-6)]


def _without_origin(service: Service, ids: list[str]) -> int:
    manifest = read_bundle(service.bundle).manifest
    wanted = (manifest.snapshot.digest, manifest.commit)
    answers = [service.call("GET", f"/v1/decisions/{one}")[1] for one in ids]
    return sum((one.get("snapshot"), one.get("commit")) != wanted for one in answers)
