"""What is played, and the world's history that is there before it begins."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from setpoint.domain.world import DEMO, Drift, World, generate
from setpoint.errors import StateError
from setpoint.platform import down
from setpoint.stages.worldfiles import PROJECT, labels_table, write_batch
from setpoint.workspace import Workspace, open_workspace

MARK = ".demo"
"""Says that a folder is a demo's, to be emptied by the next one."""


WARM = "12s"
"""How long the demo's old version stands by after all traffic was switched at once."""


@dataclass(frozen=True)
class Script:
    """What is played, and when. Days are event time.

    Attributes:
        seed: Of the world.
        drift: Name of the drift, ``none`` for a world that stays as it is.
        strategy: How challengers are released, as in the project file.
        history: Days of history that train the first champion.
        drift_after: Days of streaming before the drift.
        after: Days of streaming after the healed champion took over.
        drill_after: Days after that until a roll-back is rehearsed.
        patience: Days after that until the rehearsal is not waited for any more.
        longest: Days of streaming after which the demo gives up.
        quiet: Days streamed where nothing drifts.
        seconds_a_day: Wall time of an event day.
        seconds_a_day_healed: The same once the healed champion serves, until its labels have come.
    """

    seed: int = 0
    drift: str = "concept"
    strategy: str = "canary"
    history: int = 60
    drift_after: int = 5
    after: int = 22
    drill_after: int = 2
    patience: int = 30
    longest: int = 75
    quiet: int = 30
    seconds_a_day: float = 3.6
    seconds_a_day_healed: float = 2.0


def event_time(world: World, day: float) -> datetime:
    """Event time at ``day`` days, a fraction included, from the start of the world."""
    return world.config.start + timedelta(days=day)


def instant(world: World, day: float) -> np.datetime64:
    """The same as NumPy has it, without the zone."""
    return np.datetime64(event_time(world, day).replace(tzinfo=None), "us")


def prepare(script: Script, root: Path) -> tuple[Workspace, World]:
    """Write the project and its history into an empty state folder.

    Raises:
        StateError: The folder holds something that no demo has put there.
    """
    if root.exists() and not (root / MARK).exists() and any(root.iterdir()):
        raise StateError(
            "the folder is not empty and no demo's: nothing in it is deleted",
            where=str(root),
            fix="name an empty or a new folder with --root",
        )
    down(root)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / MARK).touch()
    drift_day = float(script.history + script.drift_after)
    drift = Drift(script.drift, drift_day) if script.drift != "none" else None  # type: ignore[arg-type]
    days = script.history + script.longest
    world = generate(replace(DEMO, seed=script.seed, days=days, drift=drift))
    project_file = root / "setpoint.yaml"
    text = PROJECT.read_text("utf-8").replace("seed: 0", f"seed: {script.seed}")
    text = text.replace("strategy: canary", f"strategy: {script.strategy}")
    # It ends days after the heal, before a training that follows would be through.
    text = text.replace("respond: {", "respond: {follow_ups: 0, ")
    if script.strategy in ("blue_green", "shadow"):
        text = text.replace("warm: 0s ", f"warm: {WARM} ")
    if script.drift == "blind_spot":
        text += "\nexploration: {share: 0.05}   # without it nobody would ever know\n"
    project_file.write_text(text, "utf-8")
    workspace = open_workspace(project_file, root)
    _deliver_history(world, script, root)
    return workspace, world


def _deliver_history(world: World, script: Script, root: Path) -> None:
    end = world.day_slice(script.history).start
    known = world.label_times(np.arange(end), np.zeros(end, dtype=bool))
    now = instant(world, script.history)
    step = 15
    for first in range(0, script.history, step):
        start = world.day_slice(first).start
        stop = min(world.day_slice(min(first + step, script.history)).start, end)
        write_batch(
            root / "data" / "events", f"{first:04d}", world.events.slice(start, stop - start)
        )
    rows = np.flatnonzero(~np.isnat(known) & (known <= now))
    write_batch(root / "data" / "labels", "000000", labels_table(world, rows, known[rows]))
