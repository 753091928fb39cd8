"""Who is compromised when, and what that does to payments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from setpoint.domain.world.base import (
    Floats,
    Ints,
    Mask,
    People,
    Rows,
    cents,
    channel_codes,
    stream,
)
from setpoint.domain.world.config import WorldConfig

LARGE_AMOUNT, TERMINAL, CUSTOMER, HIT_AND_RUN, UNNOTICED = 1, 2, 3, 4, 5
OLDEST = 4
"""Code of the age band that ``groups_matter`` is about."""


@dataclass(frozen=True)
class Attack:
    """A rate of new compromises and how long each lasts.

    Attributes:
        purpose: Name of its random stream.
        population: How many can be hit.
        daily: New compromises a day; may be fractional.
        lasts: Days.
        weights: Relative chance of each member; ``None`` for equal.
    """

    purpose: str
    population: int
    daily: float
    lasts: int
    weights: Floats | None = None


def compromised(config: WorldConfig, attack: Attack, first_day: int = 0) -> Ints:
    """Number of compromises in force, by day and member.

    Args:
        config: The world.
        attack: What is done.
        first_day: Day of the first compromise; may be negative, so that the effect is in its
            steady state on day 0 or on the day a drift starts.

    Returns:
        Shape ``(days, population)``.
    """
    draws = stream(config, attack.purpose)
    active = np.zeros((config.days, attack.population), dtype=np.int64)
    shares = None if attack.weights is None else attack.weights / attack.weights.sum()
    for index in range(config.days - first_day):
        size = int(attack.daily * (index + 1)) - int(attack.daily * index)
        size = min(size, attack.population)
        hit = draws.choice(attack.population, size=size, replace=False, p=shares)
        day = first_day + index
        active[max(day, 0) : max(day + attack.lasts, 0), hit] += 1
    return active


def _customer_weights(config: WorldConfig, people: People) -> Floats | None:
    if not config.groups_matter:
        return None
    return np.where(people.age == OLDEST, 4.0, 1.0)


def terminal_attack(config: WorldConfig, purpose: str, factor: float = 1.0) -> Attack:
    """The S2 attack of this world at ``factor`` times its rate."""
    daily = config.compromised_terminals_per_day * factor
    return Attack(purpose, config.terminals, daily, config.terminal_days)


def customer_attack(
    config: WorldConfig, people: People, purpose: str, factor: float = 1.0
) -> Attack:
    """The S3 attack of this world at ``factor`` times its rate."""
    daily = config.compromised_customers_per_day * factor
    weights = _customer_weights(config, people)
    return Attack(purpose, config.customers, daily, config.customer_days, weights)


def stolen_amounts(config: WorldConfig, rows: Rows) -> Floats:
    """What a payment becomes under S3: five times as much, twice for the group that matters."""
    times = np.where(config.groups_matter & (rows.age == OLDEST), 2.0, 5.0)
    return cents(rows.honest_amount * times)


def third_of(rows: Rows, active: Ints, draw: Floats) -> Mask:
    """Payments of compromised customers that are fraud: a third for each compromise in force."""
    chance = 1 - (2 / 3) ** active[rows.day, rows.customer].astype(np.float64)
    return draw < chance


def commit_fraud(config: WorldConfig, people: People, rows: Rows) -> Rows:
    """Apply S1, S2 and S3 in this order, later ones overwriting earlier ones, then channels."""
    scenario = np.where(rows.amount > config.amount_limit, LARGE_AMOUNT, 0).astype(np.int8)
    terminals = compromised(config, terminal_attack(config, "S2"))
    scenario[terminals[rows.day, rows.terminal] > 0] = TERMINAL
    customers = compromised(config, customer_attack(config, people, "S3"))
    stolen = third_of(rows, customers, stream(config, "S3 thirds").random(len(scenario)))
    scenario[stolen] = CUSTOMER
    amount = np.where(stolen, stolen_amounts(config, rows), rows.amount)
    return replace(
        rows,
        amount=amount,
        channel=channel_codes(amount, stream(config, "channels").random(len(amount))),
        fraud=(scenario > 0).astype(np.int8),
        scenario=scenario,
    )
