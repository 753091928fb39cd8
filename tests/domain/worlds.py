"""Small worlds that several test files look at, each generated once a process."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from setpoint.domain.world import DEMO, Drift, DriftName, DriftShape, World, WorldConfig, generate

SMALL = replace(DEMO, days=60)
START = 30.5
DAY = np.timedelta64(1, "D")
# A tenth of the handbook's world in each direction: the same rates from a tenth of the rows.
TENTH = WorldConfig(
    customers=500,
    terminals=1000,
    days=90,
    radius=16,
    compromised_terminals_per_day=0.2,
    compromised_customers_per_day=0.3,
)


@cache
def world(name: DriftName = "none", shape: DriftShape = "sudden", column: str = "channel") -> World:
    """A world of 60 days with a drift that starts on day ``START``."""
    drift = Drift(name, START, shape=shape, span_days=10, column=column)
    return generate(replace(SMALL, drift=drift))


def days_of(world: World) -> np.ndarray:
    """Event time of each row, days since the start."""
    start = np.datetime64(world.config.start.replace(tzinfo=None), "us")
    return (world.time - start) / DAY


def after(world: World) -> np.ndarray:
    """Which rows come after the start of a drift."""
    return days_of(world) >= START


def values(world: World, column: str) -> np.ndarray:
    """A column of the events as Python values."""
    return np.array(world.events[column].to_pylist(), dtype=object)
