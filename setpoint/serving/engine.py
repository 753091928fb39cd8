"""Group commit: one thread that takes what waits, and acknowledges it once it is on disk.

A batch is two transactions: its events into the online store, which gives the features; then, after
one call of the model, the decisions into the log. Only the second is synced to the disk, which
syncs the first too; then all of it is answered. Between the two the store is free: a version that
is slow or hangs keeps no other one waiting. There is no timer: a batch is what arrived while the
one before was being written. A store that fails costs its batch a 503 and nothing else.

A log elsewhere syncs nothing here, so the first transaction is synced too. It is written inside
the second one: versions that share the store write one after the other, and what then stands in
the log, also from another machine, is what is answered.
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

from setpoint.adapters.sqlite_link import transaction
from setpoint.domain.bundle import Bundle
from setpoint.errors import StateError
from setpoint.ports import Decision, DecisionLog, Label, OnlineStore
from setpoint.serving.deadlines import Deadlines
from setpoint.serving.problems import Refusal, Unavailable
from setpoint.serving.reserve import Reserve
from setpoint.serving.rows import Row, RowReader, same_event
from setpoint.serving.scorer import Scorer

LARGEST_BATCH = 64
MOST_WAITING = 4096
REQUEST_SECONDS = 5.0

Result = Any
Key = tuple[str, bool]
"""A decision: its id, and whether it is a mirrored one."""


@dataclass(frozen=True)
class Score:
    """A row to be decided, and what is logged beside it."""

    row: Row
    shadow: bool
    trace_id: str
    propensity: float | None = None
    client: str = ""


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
        connection: The store, made by ``sqlite_link.connect``; used by this engine alone.
        online: The online feature store on the same connection.
        log: The decision log, on the same connection or elsewhere.
        on_fault: Called with what broke, a store or this service, and the trace id of the
            request if it was a single one.
        seconds: How long a request may wait.
        log_elsewhere: Whether the log is not on the same connection.
        reserve: Disk space that is given up before a full disk costs anybody an answer.
    """

    def __init__(
        self,
        bundle: Bundle,
        version: str,
        connection: sqlite3.Connection,
        online: OnlineStore,
        log: DecisionLog,
        on_fault: Callable[[Exception, str], None],
        seconds: float = REQUEST_SECONDS,
        log_elsewhere: bool = False,
        reserve: Reserve | None = None,
    ) -> None:
        self.bundle = bundle
        self._deadlines = Deadlines(seconds)
        self._version = version
        self._connection = connection
        self._online = online
        self._log = log
        self._log_elsewhere = log_elsewhere
        self._reserve = reserve
        self._on_fault = on_fault
        self.scorer = Scorer(bundle)
        self._reader = RowReader(bundle.table)
        self._names = bundle.features.names
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
            if self._reserve is not None and self._reserve.give_up():
                self._settle(batch)
                return
            self._on_fault(error, "")
            # of a log elsewhere a client is not told the address
            what = "" if self._log_elsewhere else f": {getattr(error, 'what', error)}"
            results = [Unavailable(f"the store cannot be written{what}")] * len(batch)
        except Exception as error:  # one row must never stop the service: find it, answer the rest
            if len(batch) > 1:
                for job in batch:
                    self._settle([job])
                return
            self._on_fault(error, getattr(batch[0][0], "trace_id", ""))
            results = [Unavailable("the service failed on this request", status=500)]
        # one wake-up of the event loop for the whole batch
        batch[0][1].get_loop().call_soon_threadsafe(_deliver, batch, results)

    def _commit(self, works: Sequence[Work]) -> list[Result]:
        results: list[Result] = [None] * len(works)
        scores = [(i, work) for i, work in enumerate(works) if isinstance(work, Score)]
        seen = self._changes()
        known = self._log.find(work.row.id for _, work in scores if not work.shadow)
        leaders: dict[Key, Score] = {}
        for _, work in scores:
            if work.shadow or work.row.id not in known:
                leaders.setdefault((work.row.id, work.shadow), work)
        fresh = dict(zip(leaders, self._score(list(leaders.values())), strict=True))
        with transaction(self._connection):
            logged = self._record(fresh, seen)
            for index, work in scores:
                results[index] = self._answer(work, leaders, known, fresh, logged)
            for index, other in enumerate(works):
                if isinstance(other, Learn):
                    results[index] = self._log.add_labels(other.labels)
                    self._online.learn(other.labels)
                elif isinstance(other, Find):
                    results[index] = self._log.find([other.id]).get(other.id)
                elif isinstance(other, Probe):
                    self._connection.execute(
                        "INSERT INTO service_probe VALUES (1, 1)"
                        " ON CONFLICT (id) DO UPDATE SET n = n + 1"
                    )
                    if self._log_elsewhere:
                        self._log.append([])
        return results

    def _changes(self) -> int:
        """A number that changes with every write of another connection to the store."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _record(self, fresh: dict[Key, Decision], seen: int) -> dict[Key, Decision]:
        """Log new decisions; what another service decided since ``seen`` stands."""
        if not fresh:
            return fresh
        served = [identity for identity, shadow in fresh if not shadow]
        if self._log_elsewhere:  # no lock keeps another machine from being first
            self._log.append(list(fresh.values()))
            first = self._log.find(served)
        else:
            first = self._log.find(served) if self._changes() != seen else {}
            mine = [one for key, one in fresh.items() if key[1] or key[0] not in first]
            self._log.append(mine)
        return {key: own if key[1] else first.get(key[0], own) for key, own in fresh.items()}

    def _answer(
        self,
        work: Score,
        leaders: dict[Key, Score],
        known: dict[str, Decision],
        fresh: dict[Key, Decision],
        logged: dict[Key, Decision],
    ) -> Decision | Refusal:
        """A known answer, the new decision, or a conflict."""
        key = (work.row.id, work.shadow)
        decision = logged[key] if key in logged else known[work.row.id]
        # what another service decided meanwhile may have been about another row
        own = work is leaders.get(key) and decision is fresh.get(key)
        same = own or same_event(self._reader, decision.request, work.row)
        return decision if same else _conflict(work.row.id)

    def _score(self, works: list[Score]) -> list[Decision]:
        """Decide rows. While the model works nobody waits for the store, however slow it is."""
        if not works:
            return []
        with transaction(self._connection, synced=self._log_elsewhere):
            rows = self._online.serve([work.row.event for work in works])
        scores, raw = self.scorer.score(rows)
        spec = self.bundle.decision
        reasons = self.scorer.adverse(rows, scores, raw, (work.row.id for work in works))
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
                propensity=work.propensity,
                label_propensity=self.scorer.label_propensity(scores[i]),
                trace_id=work.trace_id,
                client=work.client,
            )
            for i, work in enumerate(works)
        ]

    def _features(self, row: tuple[list[float], list[str]]) -> dict[str, float | str | None]:
        values: Iterable[float | str] = (*row[0], *row[1])
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in zip(self._names, values, strict=True)
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
