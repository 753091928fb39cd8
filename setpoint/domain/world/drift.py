"""How the world changes. Rows before the start of a drift are never touched."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from setpoint.domain.world.base import (
    CONTACTLESS,
    CONTACTLESS_LIMIT,
    DAY_SECONDS,
    INTERNATIONAL,
    ONLINE,
    Floats,
    Mask,
    People,
    Rows,
    cents,
    channel_codes,
    stream,
)
from setpoint.domain.world.config import Drift, WorldConfig, steady_fraud_rate
from setpoint.domain.world.fraud import (
    CUSTOMER,
    HIT_AND_RUN,
    TERMINAL,
    UNNOTICED,
    Attack,
    compromised,
    customer_attack,
    stolen_amounts,
    terminal_attack,
    third_of,
)

SURGE_SHARE = 0.15
"""Share of honest payments that become large international transfers."""
LEAVING_SHARE = 0.6
"""Share of the customers of 50 and older that are replaced."""
HIT_SHARE, HIT_DAYS = 0.03, 3
"""Share of the terminals newly hit each day under the new concept, and for how many days."""
NEW_TO_OLD_RATE = 1.2
"""Fraud rate under the new concept over the steady rate before it."""

UNNOTICED_SHARE, UNNOTICED_AMOUNTS = 0.03, (5.0, 9.0)
"""Share of payments that become frauds too small to be noticed, and their amounts, euros."""


def intensity(config: WorldConfig, drift: Drift, second: np.ndarray) -> Floats:
    """How far a drift is in force at each time, 0 before its start, 1 in full.

    Args:
        config: The world (its seed decides which days of a gradual drift switch).
        drift: The drift.
        second: Seconds since the world's start.
    """
    since = np.asarray(second, dtype=np.float64) / DAY_SECONDS - drift.start_day
    ramp = np.clip(since / drift.span_days, 0.0, 1.0)
    if drift.shape == "sudden":
        ramp = np.ones_like(since)
    elif drift.shape == "recurring":
        ramp = (since % drift.span_days < drift.span_days / 2).astype(np.float64)
    elif drift.shape == "gradual":
        day = np.maximum(since, 0).astype(np.int64)
        draw = stream(config, "gradual days").random(int(day.max(initial=0)) + 1)
        ramp = (draw[day] < (day + 1) / drift.span_days).astype(np.float64)
    return np.where(since >= 0, ramp, 0.0)


def affected(config: WorldConfig, rows: Rows, share: float, purpose: str) -> Mask:
    """Draw the rows that a drift takes hold of: ``share`` of them at full intensity."""
    if config.drift is None:
        return np.zeros(len(rows.second), dtype=np.bool_)
    chance = np.minimum(share * intensity(config, config.drift, rows.second), 1.0)
    return stream(config, purpose).random(len(rows.second)) < chance


def _channels(config: WorldConfig, amount: Floats) -> np.ndarray:
    # The same draws as in the base world, so that rows with the same amount keep their channel.
    return channel_codes(amount, stream(config, "channels").random(len(amount)))


def _covariate(config: WorldConfig, people: People, rows: Rows, drift: Drift) -> Rows:
    surge = affected(config, rows, SURGE_SHARE * drift.strength, "surge") & (rows.fraud == 0)
    # Below the limit of S1: what is fraud does not change, only what is usual.
    low, high = 0.5 * config.amount_limit, 0.99 * config.amount_limit
    large = cents(stream(config, "surge amounts").uniform(low, high, len(surge)))
    return replace(
        rows,
        amount=np.where(surge, large, rows.amount),
        channel=np.where(surge, INTERNATIONAL, rows.channel).astype(np.int8),
    )


def _prior(config: WorldConfig, people: People, rows: Rows, drift: Drift) -> Rows:
    start = int(drift.start_day)
    second = terminal_attack(config, "prior S2", drift.strength)
    third = customer_attack(config, people, "prior S3", drift.strength)
    # Begun before the start and in force from it, or a doubled rate would take a month to come.
    terminals = compromised(config, second, start + 1 - config.terminal_days)
    customers = compromised(config, third, start + 1 - config.customer_days)
    reached = affected(config, rows, 1.0, "prior rows") & (rows.fraud == 0)
    draw = stream(config, "prior thirds").random(len(reached))
    stolen = third_of(rows, customers, draw) & reached
    taken = (terminals[rows.day, rows.terminal] > 0) & reached & ~stolen
    scenario = np.where(stolen, CUSTOMER, np.where(taken, TERMINAL, rows.scenario))
    amount = np.where(stolen, stolen_amounts(config, rows), rows.amount)
    return replace(
        rows,
        amount=amount,
        channel=_channels(config, amount),
        scenario=scenario.astype(np.int8),
        fraud=(scenario > 0).astype(np.int8),
    )


def _end_old_fraud(config: WorldConfig, rows: Rows, drift: Drift) -> Rows:
    """The old frauds end at once: attackers leave what they held, large amounts are honest."""
    ended = affected(config, rows, drift.strength, "old fraud") & (rows.fraud == 1)
    amount = np.where(ended, rows.honest_amount, rows.amount)
    return replace(
        rows,
        amount=amount,
        channel=_channels(config, amount),
        fraud=np.where(ended, 0, rows.fraud).astype(np.int8),
        scenario=np.where(ended, 0, rows.scenario).astype(np.int8),
    )


def hit_share(config: WorldConfig) -> float:
    """Share of a hit terminal's payments that are fraud under the new concept, 0 to 1.

    Chosen so that the fraud rate is ``NEW_TO_OLD_RATE`` times the steady one of the old world.
    """
    in_force = 1 - (1 - HIT_SHARE) ** HIT_DAYS
    return min(1.0, NEW_TO_OLD_RATE * steady_fraud_rate(config) / in_force)


def _concept(config: WorldConfig, people: People, rows: Rows, drift: Drift) -> Rows:
    rows = _end_old_fraud(config, rows, drift)
    daily = max(1.0, HIT_SHARE * config.terminals)
    attack = Attack("hit and run", config.terminals, daily, HIT_DAYS)
    active = compromised(config, attack, int(drift.start_day) + 1 - HIT_DAYS)
    hit = affected(config, rows, hit_share(config) * drift.strength, "hits")
    hit &= (active[rows.day, rows.terminal] > 0) & (rows.fraud == 0)
    low, high = CONTACTLESS_LIMIT - 6, CONTACTLESS_LIMIT - 0.01
    small = cents(stream(config, "hit amounts").uniform(low, high, len(hit)))
    return replace(
        rows,
        amount=np.where(hit, small, rows.amount),
        channel=np.where(hit, CONTACTLESS, rows.channel).astype(np.int8),
        fraud=np.where(hit, 1, rows.fraud).astype(np.int8),
        scenario=np.where(hit, HIT_AND_RUN, rows.scenario).astype(np.int8),
    )


def _demographic(config: WorldConfig, people: People, rows: Rows, drift: Drift) -> Rows:
    # New customers rather than new ages: nobody grows younger.
    draw = stream(config, "leaving").random(config.customers)[rows.customer]
    chance = LEAVING_SHARE * drift.strength * intensity(config, drift, rows.second)
    replaced = (rows.age >= 3) & (draw < chance)
    return replace(
        rows,
        customer=np.where(replaced, rows.customer + config.customers, rows.customer),
        age=np.where(replaced, 0, rows.age).astype(np.int8),
    )


def _blind_spot(config: WorldConfig, people: People, rows: Rows, drift: Drift) -> Rows:
    hit = affected(config, rows, UNNOTICED_SHARE * drift.strength, "unnoticed") & (rows.fraud == 0)
    small = cents(stream(config, "unnoticed amounts").uniform(*UNNOTICED_AMOUNTS, len(hit)))
    return replace(
        rows,
        amount=np.where(hit, small, rows.amount),
        channel=np.where(hit, ONLINE, rows.channel).astype(np.int8),
        fraud=np.where(hit, 1, rows.fraud).astype(np.int8),
        scenario=np.where(hit, UNNOTICED, rows.scenario).astype(np.int8),
    )


_CHANGES: dict[str, Callable[[WorldConfig, People, Rows, Drift], Rows]] = {
    "covariate": _covariate,
    "prior": _prior,
    "concept": _concept,
    "demographic": _demographic,
    "blind_spot": _blind_spot,
}


def apply_drift(config: WorldConfig, people: People, rows: Rows) -> Rows:
    """Change what happens in the world; schema faults happen later, in reporting."""
    drift = config.drift
    if drift is None or math.ceil(drift.start_day) > config.days:
        return rows
    change = _CHANGES.get(drift.name)
    return rows if change is None else change(config, people, rows, drift)
