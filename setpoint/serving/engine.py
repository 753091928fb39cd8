"""Group commit: one thread that takes what waits, and acknowledges it once it is on disk.

A batch is one transaction: features from the online store, one call of the model, the decisions
into the log, commit; then all of it is answered. There is no timer: a batch is what arrived
while the one before was being written. A store that fails costs its batch a 503 and nothing else.
"""

from __future__ import annotations

import asyncio
import math
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog, transaction
from setpoint.domain.bundle import Bundle
from setpoint.errors import StateError
from setpoint.ports import Decision, Label, OnlineStore
from setpoint.serving.deadlines import Deadlines
from setpoint.serving.problems import Refusal, Unavailable
from setpoint.serving.rows import Row, RowReader, same_event
from setpoint.serving.scorer import Scorer

LARGEST_BATCH = 64
MOST_WAITING = 4096
REQUEST_SECONDS = 5.0

Result = Any


@dataclass(frozen=True)
class Score:
    """A row to be decided."""

    row: Row
    shadow: bool
    trace_id: str


@dataclass(frozen=True)
class Learn:
    """Labels to be recorded; answered with the ids of unknown decisions."""

    labels: Sequence[Label]


@dataclass(frozen=True)
class Probe:
    """Asks whether the store can be written."""


@dataclass(frozen=True)
class Find:
    """Asks for a served decision; answered with it or ``None``."""

    id: str


Work = Score | Learn | Probe | Find
Job = tuple[Work, "asyncio.Future[Result]"]


class Engine:
    """Decides rows and records labels, durably.

    Args:
        bundle: The verified bundle.
        version: Model version as logged and answered.
        connection: The store, made by ``sqlite_decisions.connect``; used by this engine alone.
        online: The online feature store on the same connection.
        log: The decision log on the same connection.
        on_fault: Called with what broke when it was neither the client's nor the store's fault.
        seconds: How long a request may wait.
    """

    def __init__(
        self,
        bundle: Bundle,
        version: str,
        connection: sqlite3.Connection,
        online: OnlineStore,
        log: SqliteDecisionLog,
        on_fault: Callable[[Exception], None],
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.bundle = bundle
        self._deadlines = Deadlines(seconds)
        self._version = version
        self._connection = connection
        self._online = online
        self._log = log
        self._on_fault = on_fault
        self._scorer = Scorer(bundle)
        self._reader = RowReader(bundle.table)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        with transaction(connection):
            connection.execute(
                "CREATE TABLE IF NOT EXISTS service_probe (id INTEGER PRIMARY KEY, n INTEGER)"
            )

    def start(self) -> None:
        """Start the writer thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits and end the writer thread."""
        self._jobs.put(None)
        self._thread.join()

    async def submit(self, work: Work) -> Result:
        """Have ``work`` done; returns once it is durable.

        Returns:
            ``Decision`` for ``Score``, the unknown ids for ``Learn``, ``None`` for ``Probe``,
            ``Decision`` or ``None`` for ``Find``.

        Raises:
            Refusal: The id was decided before with another row (409).
            Unavailable: Too much waits, or the store failed, and nothing was recorded; or it
                took too long, and may be recorded all the same.
        """
        if self._jobs.qsize() >= MOST_WAITING:
            raise Unavailable(f"{MOST_WAITING} requests are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._jobs.put((work, future))
        self._deadlines.watch(loop, future)
        return await future

    def _run(self) -> None:
        ending = False
        while not ending:
            first = self._jobs.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < LARGEST_BATCH and not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    ending = True
                    break
                batch.append(job)
            # nobody waits for what ran out of time: it is not worth the work of those who do
            batch = [job for job in batch if not job[1].done()]
            if batch:
                self._settle(batch)

    def _settle(self, batch: list[Job]) -> None:
        try:
            results = self._commit([work for work, _ in batch])
        except (sqlite3.Error, StateError) as error:
            unavailable = Unavailable(f"the store cannot be written: {error}")
            results = [unavailable] * len(batch)
        except Exception as error:  # one row must never stop the service: find it, answer the rest
            if len(batch) > 1:
                for job in batch:
                    self._settle([job])
                return
            self._on_fault(error)
            results = [Unavailable("the service failed on this request", status=500)]
        # one wake-up of the event loop for the whole batch
        batch[0][1].get_loop().call_soon_threadsafe(_deliver, batch, results)

    def _commit(self, works: Sequence[Work]) -> list[Result]:
        results: list[Result] = [None] * len(works)
        with transaction(self._connection):
            self._decide(works, results)
            for index, work in enumerate(works):
                if isinstance(work, Learn):
                    results[index] = self._log.add_labels(work.labels)
                    self._online.learn(work.labels)
                elif isinstance(work, Find):
                    results[index] = self._log.find([work.id]).get(work.id)
                elif isinstance(work, Probe):
                    self._connection.execute(
                        "INSERT INTO service_probe VALUES (1, 1)"
                        " ON CONFLICT (id) DO UPDATE SET n = n + 1"
                    )
        return results

    def _decide(self, works: Sequence[Work], results: list[Result]) -> None:
        """Fill in the results of all ``Score`` works: known answers, conflicts, new decisions."""
        scores = [(i, work) for i, work in enumerate(works) if isinstance(work, Score)]
        known = self._log.find(work.row.id for _, work in scores if not work.shadow)
        leaders: dict[tuple[str, bool], Score] = {}
        for _, work in scores:
            if work.shadow or work.row.id not in known:
                leaders.setdefault((work.row.id, work.shadow), work)
        fresh = dict(zip(leaders, self._score(list(leaders.values())), strict=True))
        self._log.append(list(fresh.values()))
        for index, work in scores:
            key = (work.row.id, work.shadow)
            decision = fresh[key] if key in fresh else known[work.row.id]
            same = work is leaders.get(key) or same_event(self._reader, decision.request, work.row)
            results[index] = decision if same else _conflict(work.row.id)

    def _score(self, works: list[Score]) -> list[Decision]:
        if not works:
            return []
        rows = self._online.serve([work.row.event for work in works])
        scores, raw = self._scorer.score(rows)
        spec = self.bundle.decision
        adverse = [i for i, score in enumerate(scores) if score >= spec.threshold]
        reasons: dict[int, list[str]] = {}
        if adverse:
            texts = self._scorer.reasons([rows[i] for i in adverse], raw[adverse])
            reasons = dict(zip(adverse, texts, strict=True))
        if not all(map(math.isfinite, scores)):
            raise ArithmeticError("the model gave a score that is no number")
        return [
            Decision(
                id=work.row.id,
                event_time=work.row.event_time,
                request=work.row.request,
                features=self._features(rows[i]),
                score=float(scores[i]),
                threshold=spec.threshold,
                action=spec.actions["positive" if i in reasons else "negative"],
                reasons=reasons.get(i, []),
                version=self._version,
                bundle_digest=self.bundle.digest,
                shadow=work.shadow,
                trace_id=work.trace_id,
            )
            for i, work in enumerate(works)
        ]

    def _features(self, row: tuple[list[float], list[str]]) -> dict[str, float | str | None]:
        values: Iterable[float | str] = (*row[0], *row[1])
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in zip(self.bundle.features.names, values, strict=True)
        }


def _deliver(batch: list[Job], results: list[Result]) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if future.done():
            continue  # out of time, or the client went away
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _conflict(identity: str) -> Refusal:
    return Refusal(
        "conflict",
        f"{identity} was decided before with another row",
        field="id",
        fix="use a new id for a new event; repeat a request only unchanged",
        status=409,
    )
