"""The main job: the card world through the whole loop, with a drift that it has to heal.

Plays the bank: sends payments to the gateway in accelerated event time, delivers events and late
labels to where the project file says the data are, and watches what the loop does about it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.adapters.gateway_client import GatewayClient
from setpoint.adapters.prefect_api import PrefectApi
from setpoint.domain.ledger import Entry
from setpoint.domain.world import DEMO, Drift, World, generate
from setpoint.errors import PlatformError
from setpoint.platform import down, up
from setpoint.report import daily_rate, write_report
from setpoint.stages.release import planned
from setpoint.stages.worldfiles import labels_table, write_batch
from setpoint.workspace import StreamClock, Workspace, open_workspace

PROJECT = Path(__file__).parent / "projects" / "cards.yaml"
REVIEW_COST, CHARGEBACK = 7.0, 60.0


@dataclass(frozen=True)
class Script:
    """What is played, and when. Days are event time.

    Attributes:
        seed: Of the world.
        drift: Name of the drift, ``none`` for a world that stays as it is.
        history: Days of history that train the first champion.
        drift_after: Days of streaming before the drift.
        after: Days of streaming after the healed champion took over.
        longest: Days of streaming after which the demo gives up.
        quiet: Days streamed where nothing drifts.
        seconds_a_day: Wall time of an event day.
    """

    seed: int = 0
    drift: str = "concept"
    history: int = 60
    drift_after: int = 5
    after: int = 6
    longest: int = 75
    quiet: int = 30
    seconds_a_day: float = 3.6


@dataclass
class Played:
    """What happened, row by row of the world."""

    version: np.ndarray[Any, np.dtype[np.object_]]
    reviewed: np.ndarray[Any, np.dtype[np.bool_]]
    answered: np.ndarray[Any, np.dtype[np.bool_]]
    sent: int = 0
    lost: int = 0
    wrong_version: int = 0
    marks: dict[str, float] = field(default_factory=dict)
    """Wall time, seconds since the start of the stream, by name."""
    days: dict[str, float] = field(default_factory=dict)
    """Event time, days since the start of the world, by name."""


Say = Callable[[str, str, float], None]
"""How progress is shown: kind of the line, text, day."""


def prepare(script: Script, root: Path) -> tuple[Workspace, World]:
    """Write the project and its history into an empty state folder."""
    down(root)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    drift_day = float(script.history + script.drift_after)
    drift = Drift(script.drift, drift_day) if script.drift != "none" else None  # type: ignore[arg-type]
    days = script.history + script.longest
    world = generate(replace(DEMO, seed=script.seed, days=days, drift=drift))
    project_file = root / "setpoint.yaml"
    text = PROJECT.read_text("utf-8")
    project_file.write_text(text.replace("seed: 0", f"seed: {script.seed}"), "utf-8")
    workspace = open_workspace(project_file, root)
    _deliver_history(world, script, root)
    return workspace, world


def _deliver_history(world: World, script: Script, root: Path) -> None:
    end = world.day_slice(script.history).start
    known = world.label_times(np.arange(end), np.zeros(end, dtype=bool))
    now = np.datetime64(_midnight(world, script.history).replace(tzinfo=None), "us")
    step = 15
    for first in range(0, script.history, step):
        start = world.day_slice(first).start
        stop = min(world.day_slice(min(first + step, script.history)).start, end)
        write_batch(
            root / "data" / "events", f"{first:04d}", world.events.slice(start, stop - start)
        )
    rows = np.flatnonzero(~np.isnat(known) & (known <= now))
    write_batch(root / "data" / "labels", "000000", labels_table(world, rows, known[rows]))


def _midnight(world: World, day: float) -> datetime:
    return world.config.start + timedelta(days=day)


class Player:
    """Plays a world's traffic and labels against the gateway."""

    def __init__(self, workspace: Workspace, world: World, script: Script, say: Say) -> None:
        self.workspace, self.world, self.script, self.say = workspace, world, script, say
        n = len(world)
        self.played = Played(
            np.full(n, "", dtype=object), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        )
        self.start = time.monotonic()
        self.healed_day: float | None = None
        self._known = np.full(n, np.datetime64("NaT", "us"))
        history = world.day_slice(script.history).start
        self._known[:history] = world.label_times(np.arange(history), np.zeros(history, dtype=bool))
        self._told = np.zeros(n, dtype=bool)
        self._told[:history] = self._known[:history] <= np.datetime64(
            _midnight(world, script.history).replace(tzinfo=None), "us"
        )
        self._undelivered = np.empty(0, dtype=np.int64)
        self._watch = Observer(self)

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
                clock.advance(_midnight(self.world, day))
                await self._tell(client, day)
                self._watch.look(day)
                if self._over(day):
                    return
                spare = self.script.seconds_a_day * TICK - (time.monotonic() - began)
                await asyncio.sleep(max(0.0, spare))

    def _ticks(self) -> Iterator[tuple[float, np.ndarray[Any, np.dtype[np.int64]]]]:
        time_of = self.world.time
        day = float(self.script.history)
        while day < self.world.config.days:
            edges = [
                np.datetime64(_midnight(self.world, d).replace(tzinfo=None), "us")
                for d in (day, day + TICK)
            ]
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
        now = np.datetime64(_midnight(self.world, day).replace(tzinfo=None), "us")
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

    def _over(self, day: float) -> bool:
        streamed = day - self.script.history
        if self.script.drift == "none":
            return streamed >= self.script.quiet
        healed = self.played.days.get("healed")
        if self.played.marks.get("needs_person") is not None:
            return True
        return healed is not None and day >= healed + self.script.after

    @property
    def elapsed(self) -> float:
        """Wall seconds since the stream began."""
        return time.monotonic() - self.start


TICK = 0.125
"""Event days a tick."""


class Observer:
    """Reads the ledger and tells what the loop did, as it does it."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._seen = len(player.workspace.state.ledger())
        self._plans: dict[str, set[str]] = {}
        self._drifted = player.script.drift == "none"

    def allowed(self, plan: str) -> set[str]:
        """Versions that may answer under a plan."""
        if plan not in self._plans:
            self._plans[plan] = planned(self._player.workspace, plan)
        return self._plans[plan]

    def look(self, day: float) -> None:
        """Tell what is new in the ledger."""
        player = self._player
        begin = player.script.history + player.script.drift_after
        if not self._drifted and day > begin:
            self._drifted = True
            self._mark("drift", day)
            player.say("drift", f"the world changes: {player.script.drift}", day)
        entries = player.workspace.state.ledger()[self._seen :]
        self._seen += len(entries)
        for entry in entries:
            self._tell(entry, day)

    def _mark(self, name: str, day: float) -> None:
        self._player.played.marks.setdefault(name, self._player.elapsed)
        self._player.played.days.setdefault(name, day)

    def _tell(self, entry: Entry, day: float) -> None:
        name, evidence = entry.kind, entry.evidence
        say = self._player.say
        if name == "incident_opened":
            worst = evidence["findings"][0]
            serious = evidence["cause"] == "performance"
            about = f"{worst['name']} {worst['slice']}".strip()
            say(
                "alarm" if serious else "watching",
                f"{entry.subject}: {about} {worst['reason']}",
                day,
            )
            if serious:
                self._mark("alarm", day)
        elif name in ("accepted", "refused"):
            verdict = evidence["verdict"]
            passed = sum(f["outcome"] == "passed" for f in verdict["findings"])
            say(name, f"{entry.subject} {name}: {passed} of {len(verdict['findings'])} findings "
                f"passed{_first_refusal(verdict)}", day)  # fmt: skip
            self._mark("retrained", day)
        elif name == "release_step":
            say("step", f"{entry.subject} {evidence['stage']} passed", day)
        elif name in ("promoted", "rolled_back"):
            say(name, f"{entry.subject} {name.replace('_', ' ')} {evidence['reason']}", day)
        elif name == "incident_resolved" and "promoted" in evidence["note"]:
            say("healed", f"{entry.subject} closed: {evidence['note']}", day)
            self._mark("healed", day)
        elif name in ("incident_needs_person", "incident_open"):
            say("waits", f"{entry.subject}: {evidence['note']}", day)
            if name == "incident_needs_person":
                self._mark("needs_person", day)


def _first_refusal(verdict: dict[str, Any]) -> str:
    bad = [f for f in verdict["findings"] if f["outcome"] != "passed"]
    return f"; {bad[0]['name']}: {bad[0]['reason']}" if bad else ""


def first_champion(workspace: Workspace, world: World, script: Script) -> None:
    """Run the deliver deployment, as a person would from the Prefect UI.

    Raises:
        PlatformError: It did not put a version into service.
    """
    StreamClock(workspace.state).advance(_midnight(world, script.history))
    api = PrefectApi(workspace.ports.prefect)
    run = api.wait(api.run("deliver/deliver", {"cause": "first"}), timeout=300)
    if run.state != "Promoted":
        raise PlatformError(
            f"the first model did not get into service: {run.state}: {run.message}",
            where=f"{api.base}/runs/flow-run/{run.id}",
            fix="look at that run, and at logs/worker.log in the state folder",
        )


def _days(world: World) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Event time of each row, days since the world's start, [n]."""
    start = np.datetime64(world.config.start.replace(tzinfo=None), "us")
    return np.asarray((world.time - start) / np.timedelta64(1, "D"), dtype=np.float64)


def summarise(world: World, script: Script, played: Played) -> dict[str, Any]:
    """The figures of a run, from the world's truth.

    Returns:
        See ``setpoint demo --summary``; rates are shares of frauds sent to review, costs money a
        day.
    """
    day = _days(world)
    drift, healed = played.days.get("drift"), played.days.get("healed")
    end = float(day[played.answered].max()) if played.answered.any() else float(script.history)
    spans = {
        "before": (float(script.history), drift if drift is not None else end),
        "during": (drift, healed if healed is not None else end) if drift is not None else None,
        "after": (healed, end) if healed is not None else None,
    }
    rate: dict[str, float | None] = {}
    cost: dict[str, float | None] = {}
    amount = world.amount
    for name, span in spans.items():
        if span is None:
            rate[name] = cost[name] = None
            continue
        rows = played.answered & (day >= span[0]) & (day < span[1])
        fraud = rows & (world.fraud == 1)
        caught = int((fraud & played.reviewed).sum())
        rate[name] = round(caught / int(fraud.sum()), 4) if fraud.any() else None
        missed = float((amount[fraud & ~played.reviewed] + CHARGEBACK).sum())
        money = missed + REVIEW_COST * int((rows & played.reviewed).sum())
        cost[name] = round(money / max(span[1] - span[0], 1e-9), 2)
    return {
        "healed": bool(healed is not None),
        "retrainings": _retrainings(played),
        **_between(played, "alarm", drift),
        **_between(played, "healed", drift),
        "requests": played.sent,
        "answered": int(played.answered.sum()),
        "lost": played.lost,
        "wrong_version": played.wrong_version,
        "detection_rate": rate,
        "cost": cost,
    }


def _retrainings(played: Played) -> int:
    return int(played.marks.get("_retrainings", 0))


def _between(played: Played, name: str, drift: float | None) -> dict[str, float | None]:
    key = "alarm" if name == "alarm" else "heal"
    known = drift is not None and name in played.marks
    return {
        f"seconds_to_{key}": round(played.marks[name] - played.marks["drift"], 1)
        if known
        else None,
        f"event_time_to_{key}": round(played.days[name] - drift, 3) if known else None,  # type: ignore[operator]
    }


def run_demo(script: Script, root: Path, say: Say) -> tuple[dict[str, Any], Workspace]:
    """The whole demo; the platform is up when this returns or raises.

    Raises:
        SetpointError: A part of the platform does not start, or there is no first champion.
    """
    say("setup", "writing the world's history", 0)
    workspace, world = prepare(script, root)
    StreamClock(workspace.state).advance(_midnight(world, script.history))
    say("setup", "starting Prefect, its worker and the gateway", 0)
    ports = up(workspace, clock="stream", mlflow=False)
    say("setup", f"Prefect UI: http://127.0.0.1:{ports.prefect}", 0)
    first_champion(workspace, world, script)
    say("promoted", "the first champion is in service", float(script.history))
    before = len(workspace.state.ledger())
    played = Player(workspace, world, script, say).play()
    verdicts = [e for e in workspace.state.ledger()[before:] if e.kind in ("accepted", "refused")]
    played.marks["_retrainings"] = len(verdicts)
    summary = summarise(world, script, played)
    day = _days(world)[played.answered]
    fraud = world.fraud[played.answered] == 1
    series = daily_rate(day, fraud, fraud & played.reviewed[played.answered])
    marks = {n: d for n, d in played.days.items() if n in ("drift", "alarm", "healed")}
    write_report(root / "report.html", summary, series, marks, workspace.state.ledger())
    (root / "summary.json").write_text(json.dumps(summary, indent=1), "utf-8")
    return summary, workspace
