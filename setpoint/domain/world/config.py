"""What world to build: frozen values, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from setpoint.errors import ProjectFileError

DriftName = Literal[
    "none",
    "covariate",
    "prior",
    "concept",
    "schema_cents",
    "schema_category",
    "schema_null",
    "demographic",
    "blind_spot",
]
DriftShape = Literal["sudden", "gradual", "recurring", "incremental"]
DRIFT_NAMES: tuple[DriftName, ...] = get_args(DriftName)
DRIFT_SHAPES: tuple[DriftShape, ...] = get_args(DriftShape)
NULLABLE = ("amount", "channel", "age_band", "sex", "region")

S1_SHARE = 0.0006
"""Measured share of amounts above 220 in the base world with default spending."""


def _refuse(what: str, where: str, fix: str) -> ProjectFileError:
    return ProjectFileError(what, where=f"world.{where}", fix=fix)


def _require_whole(where: str, value: int, low: int) -> None:
    if not isinstance(value, int) or value < low:
        raise _refuse(f"{where} is {value!r}", where, f"give a whole number {low} or more")


def _require_range(where: str, value: float, low: float, high: float = math.inf) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        bound = f"{low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
        raise _refuse(f"{where} is {value!r}", where, f"give a number {bound}")


@dataclass(frozen=True)
class Drift:
    """One named change of the world, from a day on.

    Attributes:
        name: ``covariate``: a surge of large, legitimate international transfers. ``prior``: the
            fraud rate doubles. ``concept``: the old frauds end, new ones hit many terminals for a
            few days each, contactless, just below the contactless limit. ``schema_cents``:
            amounts reported in cents. ``schema_category``: channel ``contactless`` reported as
            ``tap``. ``schema_null``: ``column`` reported as null. ``demographic``: customers of
            50 and older are replaced by new ones of 18 to 29. ``blind_spot``: the old frauds go on,
            and with them come small online payments that are fraud and that nobody disputes.
            ``none``: nothing.
        start_day: Days after the world's start, may be fractional, >= 0.
        strength: Size of the effect, > 0; 1 is the effect named above.
        shape: ``sudden``: all at once. ``incremental``: the affected share grows in a straight
            line over ``span_days``. ``gradual``: whole days switch, with a probability that grows
            over ``span_days``. ``recurring``: on for the first half of each ``span_days``, off
            for the second.
        span_days: Length of the ramp or of the period, days, > 0; unused when sudden.
        column: Which column ``schema_null`` empties.
    """

    name: DriftName
    start_day: float = 0.0
    strength: float = 1.0
    shape: DriftShape = "sudden"
    span_days: float = 14.0
    column: str = "channel"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ProjectFileError: A value is not one of the allowed ones.
        """
        for field, value, allowed in (
            ("name", self.name, DRIFT_NAMES),
            ("shape", self.shape, DRIFT_SHAPES),
            ("column", self.column, NULLABLE),
        ):
            if value not in allowed:
                raise _refuse(
                    f"{field} is {value!r}", f"drift.{field}", f"use one of {', '.join(allowed)}"
                )
        _require_range("drift.start_day", self.start_day, 0)
        _require_range("drift.strength", self.strength, 1e-6)
        _require_range("drift.span_days", self.span_days, 1e-3)


@dataclass(frozen=True)
class WorldConfig:
    """What world to build; the defaults are those of the Fraud Detection Handbook.

    Attributes:
        seed: Same seed, same world. A longer world begins with the shorter one.
        customers: How many, >= 1. Those without a terminal in reach never pay.
        terminals: How many, >= 1.
        days: Length, days, >= 1.
        start: First midnight, UTC and aware.
        radius: A customer uses terminals nearer than this on the 100 by 100 map.
        max_daily_rate: Mean payments a day of a customer are drawn from U(0, this).
        compromised_terminals_per_day: All payments of such a terminal are fraud for
            ``terminal_days`` days (S2); may be fractional.
        compromised_customers_per_day: A third of the payments of such a customer are fraud, at
            five times the amount, for ``customer_days`` days (S3); may be fractional.
        terminal_days: Days, >= 1.
        customer_days: Days, >= 1.
        amount_limit: Every amount above it is fraud (S1), euros.
        never_disputed: Share of frauds that no customer disputes, 0 to 1.
        dispute_days: Earliest and latest dispute after the event, days; most come early.
        review_hours: Earliest and latest label of a reviewed payment after its arrival, hours.
        late_share: Share of events that arrive late, 0 to 1.
        late_hours: Latest arrival after the event, hours.
        groups_matter: Fraud picks customers of 65 and older four times as often and only doubles
            their amounts, so that a model finds less of theirs: something a fairness gate must
            catch. Off, no group has a part in fraud.
        drift: The change, if any.
    """

    seed: int = 0
    customers: int = 5000
    terminals: int = 10000
    days: int = 183
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    radius: float = 5.0
    max_daily_rate: float = 4.0
    compromised_terminals_per_day: float = 2.0
    compromised_customers_per_day: float = 3.0
    terminal_days: int = 28
    customer_days: int = 14
    amount_limit: float = 220.0
    never_disputed: float = 0.08
    dispute_days: tuple[float, float] = (7.0, 30.0)
    review_hours: tuple[float, float] = (1.0, 6.0)
    late_share: float = 0.01
    late_hours: float = 2.0
    groups_matter: bool = False
    drift: Drift | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ProjectFileError: A value is out of range or contradicts another one.
        """
        for name in ("customers", "terminals", "days", "terminal_days", "customer_days"):
            _require_whole(name, getattr(self, name), 1)
        _require_whole("seed", self.seed, 0)
        _require_range("late_hours", self.late_hours, 0)
        for name in ("radius", "max_daily_rate", "amount_limit"):
            _require_range(name, getattr(self, name), 1e-6)
        for name in ("never_disputed", "late_share"):
            _require_range(name, getattr(self, name), 0, 1)
        _require_range(
            "compromised_terminals_per_day", self.compromised_terminals_per_day, 0, self.terminals
        )
        _require_range(
            "compromised_customers_per_day", self.compromised_customers_per_day, 0, self.customers
        )
        for name in ("dispute_days", "review_hours"):
            low, high = getattr(self, name)
            _require_range(f"{name}[0]", low, 0)
            _require_range(f"{name}[1]", high, low)
        self._check_start()

    def _check_start(self) -> None:
        if self.start.utcoffset() != timedelta(0):
            raise _refuse(
                f"start {self.start.isoformat()} is not UTC and aware",
                "start",
                "give tzinfo=datetime.UTC",
            )
        if self.start.time() != datetime.min.time():
            raise _refuse(
                f"start {self.start.isoformat()} is not a midnight", "start", "start at 00:00 UTC"
            )


def steady_fraud_rate(config: WorldConfig) -> float:
    """Expected share of frauds after the warm-up of a world without drift, 0 to 1."""
    terminals = config.compromised_terminals_per_day * config.terminal_days / config.terminals
    customers = config.compromised_customers_per_day * config.customer_days / config.customers
    return 1 - math.exp(-terminals) + (1 - math.exp(-customers)) / 3 + S1_SHARE


DEMO = WorldConfig(
    customers=600,
    terminals=1200,
    days=90,
    max_daily_rate=2.0,
    compromised_terminals_per_day=1.0,
    compromised_customers_per_day=1.0,
)
"""A small world for demonstrations: about 570 payments a day, about 3 % fraud.

The fraud rate is higher than that of the handbook (0.84 %), so that a few weeks of a small world
hold enough frauds to train on and to judge by.
"""
