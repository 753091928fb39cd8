"""Does the decision log keep what was acknowledged, and what does it cost to read it?

``python -m benchmarks.decisions`` starts the real service with the durable log, sends rows at a
steady rate whether or not answers come, and ends the process with ``kill -9`` at a random moment;
after a restart every answer that a client holds is looked for in the log, field by field, and
requests are repeated. Then it fills a log and reads it for a drift check, whole, and into a
Parquet file, each in a process of its own. It writes ``benchmarks/results/decisions.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import platform
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.ports import Decision, DecisionQuery
from setpoint.serving.scorer import Scorer
from tests.serving.tiny import Service, make_bundle, row

RESULT = Path(__file__).parent / "results" / "decisions.json"
VERSION = "7"
START = datetime(2024, 5, 1, tzinfo=UTC)
NUMBERS, CATEGORIES = 18, 2
NAMES = (*(f"n{i}" for i in range(NUMBERS)), *(f"c{i}" for i in range(CATEGORIES)))


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


async def _ask(session: Any, port: int, sent: dict[str, Any], traffic: Traffic) -> None:
    import aiohttp

    identity = sent["payment_id"]
    headers = {"x-request-id": trace_of(identity)}
    url = f"http://127.0.0.1:{port}/v1/decisions"
    try:
        async with session.post(url, json=sent, headers=headers) as answer:
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
    """Send at ``rate`` rows a second, kill the service after ``seconds``, wait for all answers."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=256)
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        loop = asyncio.get_running_loop()
        begin = time.perf_counter()
        loop.call_later(seconds, service.process.kill)
        tasks = []
        for place, sent in enumerate(traffic.rows()):
            if time.perf_counter() - begin > seconds + 0.05:  # the load is on when it is killed
                break
            traffic.sent[sent["payment_id"]] = sent
            tasks.append(asyncio.create_task(_ask(session, service.port, sent, traffic)))
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


def fill(store: Path, rows: int) -> None:
    """A log of ``rows`` decisions with 20 features, a third of them with all their digits."""
    random_numbers = np.random.default_rng(5)
    log = SqliteDecisionLog(store, durability="normal")
    for begin in range(0, rows, 5000):
        size = min(5000, rows - begin)
        values = random_numbers.gamma(2.0, 30.0, (size, NUMBERS))
        values[:, 6:12] = values[:, 6:12].round(2)
        values[:, 12:] = values[:, 12:].round()
        kinds = random_numbers.integers(0, 30, (size, CATEGORIES))
        scores = random_numbers.random(size)
        log.append([_decision(begin + i, values[i], kinds[i], scores[i]) for i in range(size)])
    log.close()


def _decision(number: int, values: Any, kinds: Any, score: float) -> Decision:
    numbers: list[Any] = values.tolist()
    if number % 20 == 0:
        numbers[3] = None
    inputs = [*numbers, *(f"kind {kind}" for kind in kinds)]
    at = START + timedelta(milliseconds=100 * number)
    request = row(number, amount=numbers[6], at=at.isoformat())
    adverse = score >= 0.9
    return Decision(
        id=f"p{number}",
        event_time=at,
        request=request,
        features=dict(zip(NAMES, inputs, strict=True)),
        score=float(score),
        threshold=0.9,
        action="review" if adverse else "approve",
        reasons=["n0", "n7"] if adverse else [],
        version=VERSION,
        bundle_digest="d" * 64,
        trace_id=f"trace-{number}",
    )


def read_for_drift(store: Path) -> Callable[[], object]:
    """Count the window as the watch does and judge every column."""
    from setpoint.domain.drift import psi_findings
    from setpoint.domain.profile import build_profile
    from setpoint.stages.watch import count_window

    generator = np.random.default_rng(6)
    columns: dict[str, Any] = {n: generator.gamma(2.0, 30.0, 20_000) for n in NAMES[:NUMBERS]}
    columns |= {n: [f"kind {i % 30}" for i in range(20_000)] for n in NAMES[NUMBERS:]}
    columns["score"] = generator.random(20_000)
    profile = build_profile(columns)
    log = SqliteDecisionLog(store)
    window = DecisionQuery(start=START, version=VERSION)
    return lambda: psi_findings(profile, count_window(log, window, profile, NAMES))


def read_whole(store: Path) -> Callable[[], object]:
    """The same columns as one table, with all that ``read`` gives unless told otherwise."""
    log = SqliteDecisionLog(store)
    return lambda: log.read(DecisionQuery(start=START, version=VERSION, features=NAMES)).num_rows


def write_parquet(store: Path) -> Callable[[], object]:
    """Export whole records."""
    from setpoint.adapters.decision_export import export

    log = SqliteDecisionLog(store)
    return lambda: export(log, DecisionQuery(start=START), store.with_suffix(".parquet"))


WAYS = {"drift": read_for_drift, "whole": read_whole, "export": write_parquet}


def measure(way: str, store: Path) -> dict[str, float]:
    """CPU seconds (user and system) and memory of one way of reading, in this process."""
    run = WAYS[way](store)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    run()
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # ru_maxrss is in kibibytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "cpu_seconds": round(seconds, 2),
        "seconds": round(took, 2),
        "peak_mb": round(after.ru_maxrss * unit / 1e6, 1),
        "rise_mb": round((after.ru_maxrss - before.ru_maxrss) * unit / 1e6, 1),
    }


def apart(way: str, store: Path, repeats: int) -> dict[str, float]:
    """The measurement of least CPU time of several fresh processes."""
    command = [sys.executable, "-m", "benchmarks.decisions", "--way", way, "--store", str(store)]
    found = []
    for _ in range(repeats):
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(ended.stdout))
    return min(found, key=lambda one: float(one["cpu_seconds"]))


def run(rounds: int, rate: float, longest: float, rows: int, repeats: int) -> dict[str, Any]:
    """Everything; see ``main`` for the arguments."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = make_bundle(folder / "bundle", VERSION)
        kills = kill_rounds(bundle, folder / "live.db", rounds, rate, longest, ())
        fill(folder / "log.db", rows)
        size = (folder / "log.db").stat().st_size
        ways = {way: apart(way, folder / "log.db", repeats) for way in WAYS}
    return {
        "kill_rounds": rounds,
        **kills,
        "rate_per_second": rate,
        "read_million_cpu_seconds": ways["drift"]["cpu_seconds"],
        "read_million_peak_mb": ways["drift"]["peak_mb"],
        "rows": rows,
        "features": len(NAMES),
        "log_mb": round(size / 1e6, 1),
        "ways": ways,
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(load[0], 1),
            "python": platform.python_version(),
        },
    }


def main() -> int:
    """Measure and write the figures; 1 if anything acknowledged is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="kills")
    parser.add_argument("--rate", type=float, default=300.0, help="rows a second while killed")
    parser.add_argument("--longest", type=float, default=4.0, help="most seconds until a kill")
    parser.add_argument("--rows", type=int, default=1_000_000, help="decisions to be read")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.store)))
        return 0
    result = run(given.rounds, given.rate, given.longest, given.rows, given.repeats)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    faults = ("missing", "differing", "duplicates", "changed", "without_origin")
    return 1 if any(result[name] for name in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
