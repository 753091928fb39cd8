"""Customers, terminals and honest payments; every draw has its own seeded stream."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from setpoint.domain.world.config import WorldConfig
from setpoint.errors import ProjectFileError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

DAY_SECONDS = 86_400
AGE_BANDS = ("18-29", "30-39", "40-49", "50-64", "65+")
SEXES = ("f", "m")
REGIONS = ("north", "east", "south", "west")
CHANNELS = ("chip", "contactless", "online", "international")
CHIP, CONTACTLESS, ONLINE, INTERNATIONAL = range(4)
CONTACTLESS_LIMIT = 50.0


def stream(config: WorldConfig, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose, so that drawing more for one never shifts another."""
    return np.random.default_rng([config.seed, zlib.crc32(purpose.encode())])


@dataclass(frozen=True)
class People:
    """Customers; all arrays have one entry per customer.

    Attributes:
        mean_amount: Euros, U(5, 100).
        daily_rate: Mean payments a day.
        age, sex, region: Codes into ``AGE_BANDS``, ``SEXES``, ``REGIONS``.
        reach_start, reach_count: Their part of ``reach``.
        reach: Terminals within the radius, all customers one after another.
    """

    mean_amount: Floats
    daily_rate: Floats
    age: Codes
    sex: Codes
    region: Codes
    reach_start: Ints
    reach_count: Ints
    reach: Ints


@dataclass(frozen=True)
class Rows:
    """Payments in time order; all arrays have one entry per payment.

    Attributes:
        second: Whole seconds since the world's start.
        customer, terminal: Numbers from 0.
        age: Code into ``AGE_BANDS``.
        honest_amount: Euros, before fraud changed it.
        amount: Euros.
        channel: Code into ``CHANNELS``.
        fraud: 0 or 1.
        scenario: 0 none, 1 large amount, 2 terminal, 3 customer, 4 hit and run, 5 unnoticed.
    """

    second: Ints
    customer: Ints
    terminal: Ints
    age: Codes
    honest_amount: Floats
    amount: Floats
    channel: Codes
    fraud: Codes
    scenario: Codes

    @property
    def day(self) -> Ints:
        """Whole days since the world's start."""
        return self.second // DAY_SECONDS


def _reach(config: WorldConfig, homes: Floats, terminals: Floats) -> tuple[Ints, Ints]:
    """Which terminals each customer can use: counts, and numbers one after another."""
    counts, members = [], []
    for begin in range(0, len(homes), 256):  # in parts, or the distances fill the memory
        part = homes[begin : begin + 256]
        squared = (part[:, :1] - terminals[:, 0]) ** 2 + (part[:, 1:] - terminals[:, 1]) ** 2
        near = squared < config.radius**2
        counts.append(near.sum(axis=1))
        members.append(np.nonzero(near)[1])
    return np.concatenate(counts), np.concatenate(members)


def _age_codes(config: WorldConfig, spending: Floats) -> Codes:
    # Drawn given the spending, so that spending keeps its distribution: older spend a bit more.
    even = np.array([0.22, 0.22, 0.20, 0.20, 0.16])
    tilt = np.array([-0.06, -0.02, 0.02, 0.04, 0.02])
    shares = even + tilt * (2 * spending[:, None] - 1)
    draw = stream(config, "age").random(len(spending))
    codes = (draw[:, None] > np.cumsum(shares, axis=1)).sum(axis=1)
    bounded: Codes = np.minimum(codes, len(AGE_BANDS) - 1).astype(np.int8)
    return bounded


def draw_people(config: WorldConfig) -> People:
    """Draw customers and the terminals in their reach.

    Raises:
        ProjectFileError: No customer reaches any terminal.
    """
    homes = stream(config, "homes").uniform(0, 100, (config.customers, 2))
    terminals = stream(config, "terminals").uniform(0, 100, (config.terminals, 2))
    counts, reach = _reach(config, homes, terminals)
    if not counts.any():
        raise ProjectFileError(
            f"no customer has a terminal within radius {config.radius:g}",
            where="world.radius",
            fix="raise radius or terminals",
        )
    spending = stream(config, "spending").random(config.customers)
    sex_draw = stream(config, "sex").random(config.customers)
    regions = stream(config, "region").choice(4, config.customers, p=[0.35, 0.25, 0.25, 0.15])
    return People(
        mean_amount=5 + 95 * spending,
        daily_rate=config.max_daily_rate * stream(config, "rates").random(config.customers),
        age=_age_codes(config, spending),
        sex=(sex_draw > 0.55 - 0.06 * spending).astype(np.int8),
        region=regions.astype(np.int8),
        reach_start=np.cumsum(counts) - counts,
        reach_count=counts,
        reach=reach,
    )


def channel_codes(amount: Floats, draw: Floats) -> Codes:
    """Channel of each payment: by amount only, so that it tells nothing more about fraud.

    Contactless ends at 50 euros and gets rarer towards it.

    Args:
        amount: Euros.
        draw: U(0, 1), one per payment.
    """
    near = np.clip((amount - 25) / 25, 0, 1)
    contactless = np.where(amount < CONTACTLESS_LIMIT, 0.45 - 0.25 * near, 0.0)
    codes = np.full(len(amount), CHIP, dtype=np.int8)
    codes[draw < 0.20 + contactless] = CONTACTLESS
    codes[draw < 0.20] = ONLINE
    codes[draw < 0.02] = INTERNATIONAL
    return codes


def cents(amount: Floats) -> Floats:
    """Round to cents, at least one."""
    rounded: Floats = np.maximum(np.round(amount, 2), 0.01)
    return rounded


def _draw_amounts(config: WorldConfig, mean: Floats) -> Floats:
    amount = mean + mean / 2 * stream(config, "amounts").standard_normal(len(mean))
    redrawn = 2 * mean * stream(config, "redrawn").random(len(mean))
    return cents(np.where(amount < 0, redrawn, amount))


def draw_payments(config: WorldConfig, people: People) -> Rows:
    """Draw all payments of a world without fraud, in time order."""
    rate = np.where(people.reach_count > 0, people.daily_rate, 0.0)
    # Day by day in every stream: a longer world begins with the shorter one.
    counts = stream(config, "counts").poisson(rate, (config.days, config.customers)).ravel()
    customer = np.repeat(np.tile(np.arange(config.customers), config.days), counts)
    day = np.repeat(np.repeat(np.arange(config.days), config.customers), counts)
    second = (43_200 + 20_000 * stream(config, "times").standard_normal(len(day))).astype(np.int64)
    amount = _draw_amounts(config, people.mean_amount[customer])
    choice = stream(config, "choices").random(len(day)) * people.reach_count[customer]
    terminal = people.reach[people.reach_start[customer] + choice.astype(np.int64)]
    kept = np.flatnonzero((second > 0) & (second < DAY_SECONDS))
    time = day[kept] * DAY_SECONDS + second[kept]
    inner = np.argsort(time, kind="stable")
    order = kept[inner]
    blank = np.zeros(len(order), dtype=np.int8)
    return Rows(
        second=time[inner],
        customer=customer[order],
        terminal=terminal[order],
        age=people.age[customer[order]],
        honest_amount=amount[order],
        amount=amount[order],
        channel=blank,
        fraud=blank,
        scenario=blank,
    )
