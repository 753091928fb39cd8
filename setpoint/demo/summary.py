"""What happened in a run, and its figures by the world's truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from setpoint.demo.script import Script, instant
from setpoint.domain.metrics import CostMatrix
from setpoint.domain.world import World

DEARER = 1.5
"""Cost a day, over that before the drift, from which a drift has hurt."""


@dataclass
class Played:
    """What happened, row by row of the world."""

    version: np.ndarray[Any, np.dtype[np.object_]]
    reviewed: np.ndarray[Any, np.dtype[np.bool_]]
    answered: np.ndarray[Any, np.dtype[np.bool_]]
    sent: int = 0
    lost: int = 0
    wrong_version: int = 0
    retrainings: int = 0
    """Candidates that came before the gates."""
    marks: dict[str, float] = field(default_factory=dict)
    """Wall time, seconds since the start of the stream, by name."""
    days: dict[str, float] = field(default_factory=dict)
    """Event time, days since the start of the world, by name."""


def event_days(world: World) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Event time of each row, days since the world's start, [n]."""
    return np.asarray((world.time - instant(world, 0)) / np.timedelta64(1, "D"), dtype=np.float64)


def summarise(
    world: World, script: Script, played: Played, costs: CostMatrix, floor: float
) -> dict[str, Any]:
    """The figures of a run, from the world's truth.

    Args:
        world: The world.
        script: What was played.
        played: What happened.
        costs: Money by outcome.
        floor: Detection rate that the model must hold, 0 to 1.

    Returns:
        See ``setpoint demo --summary``. Hurt: under the drift, until it was answered, the detection
        rate was below ``floor`` or a day cost half as much again as before. Healed: a challenger
        was promoted for an incident opened after the drift, and more frauds are caught since than
        while the drift went unanswered. Rates are shares of frauds sent to review, costs money a
        day.
    """
    judged = {
        name: (None, None) if span is None else _judged(world, played, costs, span)
        for name, span in _spans(world, script, played).items()
    }
    during, after = judged["during"][0], judged["after"][0]
    return {
        "hurt": _hurt(judged["before"], judged["during"], floor),
        "healed": during is not None and after is not None and after > during,
        "retrainings": played.retrainings,
        **_since_drift(played, "alarm", "alarm"),
        **_since_drift(played, "healed", "heal"),
        "requests": played.sent,
        "answered": int(played.answered.sum()),
        "lost": played.lost,
        "wrong_version": played.wrong_version,
        "detection_rate": {name: rate for name, (rate, _) in judged.items()},
        "cost": {name: cost for name, (_, cost) in judged.items()},
    }


def _hurt(
    before: tuple[float | None, float | None],
    during: tuple[float | None, float | None],
    floor: float,
) -> bool:
    (_, calm), (rate, cost) = before, during
    missed = rate is not None and rate < floor
    return missed or (cost is not None and calm is not None and cost > DEARER * calm)


def _spans(world: World, script: Script, played: Played) -> dict[str, tuple[float, float] | None]:
    """Begin and end, days, of what is told apart; ``None`` for what never came."""
    drift, healed = played.days.get("drift"), played.days.get("healed")
    answered = event_days(world)[played.answered]
    end = float(answered.max()) if len(answered) else float(script.history)
    return {
        "before": (float(script.history), end if drift is None else drift),
        "during": None if drift is None else (drift, end if healed is None else healed),
        "after": None if healed is None else (healed, end),
    }


def _judged(
    world: World, played: Played, costs: CostMatrix, span: tuple[float, float]
) -> tuple[float | None, float]:
    """Share of the frauds of a span that were reviewed, and money a day."""
    day = event_days(world)
    rows = played.answered & (day >= span[0]) & (day < span[1])
    fraud, reviewed = world.fraud[rows], played.reviewed[rows]
    frauds = int((fraud == 1).sum())
    rate = round(int(reviewed[fraud == 1].sum()) / frauds, 4) if frauds else None
    money = float(costs.of(fraud, reviewed, {"amount": world.amount[rows]}).sum())
    return rate, round(money / max(span[1] - span[0], 1e-9), 2)


def _since_drift(played: Played, name: str, key: str) -> dict[str, float | None]:
    seconds = days = None
    if "drift" in played.marks and name in played.marks:
        seconds = round(played.marks[name] - played.marks["drift"], 1)
        days = round(played.days[name] - played.days["drift"], 3)
    return {f"seconds_to_{key}": seconds, f"event_time_to_{key}": days}
