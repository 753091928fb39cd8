"""The inputs of the model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from setpoint.config.fields import Duration, Section, WindowLength
from setpoint.domain.features import CalendarPart


class Window(Section):
    """Aggregates of a column over an entity's recent events."""

    entity: str
    column: str = ""
    compute: tuple[Literal["count", "mean", "sum", "max"], ...] = ("count",)
    over: tuple[WindowLength, ...]


class Risk(Section):
    """Share of an entity's positives in windows that ended ``delay`` ago."""

    entity: str
    over: tuple[WindowLength, ...]
    delay: Duration


class Features(Section):
    """All inputs of the model."""

    columns: tuple[str, ...] = Field((), description="Columns passed on as they are.")
    calendar: tuple[CalendarPart, ...] = ()
    windows: tuple[Window, ...] = ()
    risks: tuple[Risk, ...] = ()
