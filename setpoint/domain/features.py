"""What a feature is: one declaration that two executions follow.

The batch execution (``setpoint.adapters.duckdb_features``) runs over snapshots, the online one
(``setpoint.adapters.sqlite_online``) at request time. Both must give the numbers defined here.

Definitions. Every event ``e`` has an event time ``e.t`` (UTC, microseconds since the epoch) and
an arrival number ``e.a``, unique and growing in the order in which events became known. A label
becomes known at its own arrival number. A feature of ``e`` sees exactly the events with
``x.a <= e.a`` (so a late event changes nothing that was served before it came) and the labels
whose arrival number is less than ``e.a``. Among those, with the same entity value as ``e``:

* window ``w``: events with ``e.t - w < x.t <= e.t``, the event itself included.
  ``count``: how many; ``mean``: mean of the column over those whose value is not null, NaN if
  there is none; ``sum``, ``max`` likewise (``sum`` of none is 0).
* delayed risk ``w`` with delay ``d``: ``NB`` = events with ``e.t - d - w < x.t <= e.t - d``;
  ``RISK`` = those of them whose label is known and positive / NB, 0 where NB = 0. Leaving out
  the delay leaks the label.
* calendar, in UTC: ``hour`` 0 to 23, ``weekday`` 0 (Monday) to 6, ``weekend`` 1 if weekday >= 5,
  ``night`` 1 if hour <= 6.

A null entity value belongs to no entity: its windows hold the event alone, its risk is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Aggregate = Literal["count", "mean", "sum", "max"]
CalendarPart = Literal["hour", "weekday", "weekend", "night"]

MICROSECONDS = 1_000_000


def duration_label(seconds: int) -> str:
    """Short name of a duration: ``7d``, ``12h``, ``90s``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


@dataclass(frozen=True)
class WindowFeature:
    """An aggregate over an entity's recent events.

    Attributes:
        entity: Name of the entity, a key of ``FeatureSpec.entities``.
        compute: The aggregate.
        over_seconds: Length of the window, seconds, > 0.
        column: The numeric column; empty for ``count``.
    """

    entity: str
    compute: Aggregate
    over_seconds: int
    column: str = ""

    @property
    def name(self) -> str:
        """Feature name, e.g. ``customer_amount_mean_7d`` or ``customer_count_1d``."""
        middle = f"{self.column}_" if self.column else ""
        return f"{self.entity}_{middle}{self.compute}_{duration_label(self.over_seconds)}"


@dataclass(frozen=True)
class DelayedRisk:
    """Count and share of positives of an entity in a window that ended ``delay`` ago.

    Attributes:
        entity: Name of the entity.
        over_seconds: Length of the window, seconds, > 0.
        delay_seconds: Gap between the window's end and the event, seconds, >= 0.
    """

    entity: str
    over_seconds: int
    delay_seconds: int

    @property
    def names(self) -> tuple[str, str]:
        """``(count name, risk name)``, e.g. ``terminal_nb_7d``, ``terminal_risk_7d``."""
        label = duration_label(self.over_seconds)
        return f"{self.entity}_nb_{label}", f"{self.entity}_risk_{label}"


@dataclass(frozen=True)
class FeatureSpec:
    """All inputs of a model, in the order in which the model takes them.

    Attributes:
        event_id: Column that identifies an event.
        event_time: Column of the event time.
        entities: Entity name to column, e.g. ``{"customer": "customer_id"}``.
        numbers: Numeric columns passed on as they are (null becomes NaN).
        categories: Text columns passed on as they are (null becomes ``""``).
        calendar: Parts of the event time.
        windows: Aggregates over entities.
        risks: Delayed risks of entities.
    """

    event_id: str
    event_time: str
    entities: dict[str, str]
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    calendar: tuple[CalendarPart, ...] = ()
    windows: tuple[WindowFeature, ...] = ()
    risks: tuple[DelayedRisk, ...] = ()

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the numeric model inputs, in model order."""
        risk_names = tuple(name for risk in self.risks for name in risk.names)
        return (*self.numbers, *self.calendar, *(w.name for w in self.windows), *risk_names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all model inputs: numbers first, then categories."""
        return (*self.number_names, *self.categories)

    def sources(self, name: str) -> frozenset[str]:
        """Columns that an input is made of, the entity's own and the event time's included."""
        if name in (*self.numbers, *self.categories):
            return frozenset({name})
        if name in self.calendar:
            return frozenset({self.event_time})
        for window in self.windows:
            if window.name == name:
                return frozenset({self.entities[window.entity], window.column} - {""})
        for risk in self.risks:
            if name in risk.names:
                return frozenset({self.entities[risk.entity]})
        raise KeyError(name)

    @property
    def longest_seconds(self) -> int:
        """How far back the online store must remember, seconds."""
        spans = [w.over_seconds for w in self.windows]
        spans += [r.over_seconds + r.delay_seconds for r in self.risks]
        return max(spans, default=0)
