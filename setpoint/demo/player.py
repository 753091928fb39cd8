"""Plays the bank: payments to the gateway, labels to the service, both to the landing folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from setpoint.adapters.gateway_client import GatewayClient
from setpoint.adapters.prefect_api import PrefectApi
from setpoint.demo.observer import Observer, Say
from setpoint.demo.script import Script, event_time, instant
from setpoint.demo.summary import Played
from setpoint.domain.world import World
from setpoint.stages.worldfiles import labels_table, write_batch
from setpoint.workspace import StreamClock, Workspace

TICK = 0.125
"""Event days a tick."""
INGEST_EVERY = 6
"""Event days from one ingest to the next, as a schedule would have it."""
DRILL_AGAIN = 4
"""Event days after which a drill that did not come about is asked for again."""


class Player:
    """Plays a world's traffic and labels against the gateway."""

    def __init__(self, workspace: Workspace, world: World, script: Script, say: Say) -> None:
        self.workspace, self.world, self.script = workspace, world, script
        n = len(world)
        self.played = Played(
            np.full(n, "", dtype=object), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        )
        self._known = np.full(n, np.datetime64("NaT", "us"))
        history = world.day_slice(script.history).start
        self._known[:history] = world.label_times(np.arange(history), np.zeros(history, dtype=bool))
        self._told = np.zeros(n, dtype=bool)
        self._told[:history] = self._known[:history] <= instant(world, script.history)
        self._undelivered = np.empty(0, dtype=np.int64)
        self._watch = Observer(workspace, script, self.played, say)

    def play(self) -> Played:
        """Stream until healed and some days more, or until it is too late."""
        asyncio.run(self._play())
        return self.played

    async def _play(self) -> None:
        client = GatewayClient(
            f"http://127.0.0.1:{self.workspace.ports.gateway}", concurrency=16, id_column="tx_id"
        )
        clock = StreamClock(self.workspace.state)
        async with client:
            for day, rows in self._ticks():
                began = time.monotonic()
                await self._send(client, rows)
                clock.advance(event_time(self.world, day))
                await self._tell(client, day)
                self._watch.look(day)
                self._rehearse(day)
                self._take_in(day)
                if self._over(day):
                    return
                spare = self._seconds_a_day() * TICK - (time.monotonic() - began)
                await asyncio.sleep(max(0.0, spare))

    def _ticks(self) -> Iterator[tuple[float, np.ndarray[Any, np.dtype[np.int64]]]]:
        time_of = self.world.time
        day = float(self.script.history)
        while day < self.world.config.days:
            edges = [instant(self.world, d) for d in (day, day + TICK)]
            first, last = np.searchsorted(time_of, edges)
            day += TICK
            yield day, np.arange(first, last)

    async def _send(self, client: GatewayClient, rows: Any) -> None:
        if not len(rows):
            return
        first = int(rows[0])
        table = self.world.events.slice(first, len(rows)).to_pylist()
        for row in table:
            row["time"] = row["time"].isoformat()
        answers = await client.send(table, "customer_id")
        allowed = self._watch.allowed
        for i, answer in zip(rows.tolist(), answers, strict=True):
            self.played.sent += 1
            if answer.status != 200 or answer.body is None:
                self.played.lost += 1
                continue
            self.played.answered[i] = True
            self.played.version[i] = answer.body["model_version"]
            self.played.reviewed[i] = answer.body["action"] == "review"
            if answer.body["model_version"] not in allowed(answer.plan):
                self.played.wrong_version += 1
        self._known[rows] = self.world.label_times(rows, self.played.reviewed[rows])

    async def _tell(self, client: GatewayClient, day: float) -> None:
        """Labels that became known, to the service at once; daily feeds to the landing folder."""
        now = instant(self.world, day)
        rows = np.flatnonzero(~np.isnat(self._known) & (self._known <= now) & ~self._told)
        self._told[rows] = True
        if len(rows):
            table = labels_table(self.world, rows, self._known[rows])
            await client.labels(
                [
                    {"id": row["tx_id"], "label": int(row["fraud"]), "known_at": row["known_at"]}
                    for row in table.to_pylist()
                ]
            )
            self._undelivered = np.concatenate([self._undelivered, rows])
        if day == round(day):
            self._deliver(round(day))

    def _deliver(self, day: int) -> None:
        root = self.workspace.root / "data"
        part = self.world.day_slice(day - 1)
        events = self.world.events.slice(part.start, part.stop - part.start)
        write_batch(root / "events", f"{day:04d}", events)
        rows = self._undelivered
        if len(rows):
            table = labels_table(self.world, rows, self._known[rows])
            write_batch(root / "labels", f"{day:06d}", table)
        self._undelivered = rows[:0]

    def _take_in(self, day: float) -> None:
        """Have the events of the healed champion ingested: without them no window of it is computed
        again, and none of its decisions can be.
        """
        healed = self.played.days.get("healed")
        since = 0.0 if healed is None else day - healed
        if since and since % INGEST_EVERY == 0:
            PrefectApi(self.workspace.ports.prefect).run("ingest/ingest", {})

    def _seconds_a_day(self) -> float:
        healed = "healed" in self.played.days
        return self.script.seconds_a_day_healed if healed else self.script.seconds_a_day

    def _rehearse(self, day: float) -> None:
        """Have a roll-back from the healed champion rehearsed; again, if it was not possible."""
        healed = self.played.days.get("healed")
        if healed is None or "drilled" in self.played.days:
            return
        since = day - healed
        if (
            since >= self.script.drill_after
            and (since - self.script.drill_after) % DRILL_AGAIN == 0
        ):
            PrefectApi(self.workspace.ports.prefect).run("drill/drill", {})

    def _over(self, day: float) -> bool:
        streamed = day - self.script.history
        if self.script.drift == "none":
            return streamed >= self.script.quiet
        healed = self.played.days.get("healed")
        if self.played.marks.get("needs_person") is not None:
            return True
        if healed is None or day < healed + self.script.after:
            return False
        return "drilled" in self.played.days or day >= healed + self.script.patience
