"""Build a world from its configuration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from setpoint.domain.world.base import Codes, Floats, draw_payments, draw_people, stream
from setpoint.domain.world.config import WorldConfig
from setpoint.domain.world.drift import apply_drift
from setpoint.domain.world.fraud import UNNOTICED, commit_fraud
from setpoint.domain.world.reporting import event_table, microseconds
from setpoint.domain.world.truth import NEVER, Times, World

Delays = npt.NDArray[np.timedelta64]
HOUR_MICROSECONDS = 3_600_000_000


def _hours(values: Floats) -> Delays:
    delays: Delays = (values * HOUR_MICROSECONDS).astype(np.int64).astype("timedelta64[us]")
    return delays


def _review_delay(config: WorldConfig, size: int) -> Delays:
    return _hours(stream(config, "reviews").uniform(*config.review_hours, size))


def _dispute_delay(config: WorldConfig, scenario: Codes) -> Delays:
    size = len(scenario)
    low, high = config.dispute_days
    # Beta(1, 4) by its inverse: one draw per row, whatever the numpy version does for beta.
    early = 1 - (1 - stream(config, "disputes").random(size)) ** 0.25
    delays = _hours(24 * (low + (high - low) * early))
    silent = stream(config, "never disputed").random(size) < config.never_disputed
    return np.where(silent | (scenario == UNNOTICED), NEVER, delays)


def _arrival_delay(config: WorldConfig, size: int) -> Delays:
    late = stream(config, "late").random(size) < config.late_share
    return _hours(np.where(late, config.late_hours * stream(config, "lateness").random(size), 0.0))


def generate(config: WorldConfig) -> World:
    """Build a world. The same configuration gives the same world, byte for byte.

    Rows before the start of a drift are those of the world without it.

    Raises:
        ProjectFileError: No customer reaches any terminal.
    """
    people = draw_people(config)
    rows = commit_fraud(config, people, draw_payments(config, people))
    rows = apply_drift(config, people, rows)
    size = len(rows.second)
    time: Times = microseconds(config, rows).astype("datetime64[us]")
    arrival: Times = time + _arrival_delay(config, size)
    world = World(
        config=config,
        events=event_table(config, people, rows),
        fraud=rows.fraud,
        scenario=rows.scenario,
        arrival=arrival,
        amount=rows.amount,
        review_delay=_review_delay(config, size),
        dispute_delay=_dispute_delay(config, rows.scenario),
    )
    for name in ("fraud", "scenario", "arrival", "amount", "review_delay", "dispute_delay"):
        getattr(world, name).setflags(write=False)
    return world
