"""The inputs of the model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from setpoint.config.fields import Duration, Fault, Section, WindowLength, refuse
from setpoint.domain.features import CalendarPart

Lengths = Annotated[tuple[WindowLength, ...], Field(min_length=1)]


class Window(Section):
    """Aggregates of a column over an entity's recent events."""

    entity: str
    column: str = ""
    compute: Annotated[tuple[Literal["count", "mean", "sum", "max"], ...], Field(min_length=1)] = (
        "count",
    )
    over: Lengths

    @model_validator(mode="after")
    def _has_column(self) -> Self:
        need = [how for how in self.compute if how != "count"]
        if need and not self.column:
            rule = f"is required for {', '.join(need)}: name the numeric column"
            refuse("Window", [Fault(("column",), self.column, rule)])
        return self


class Risk(Section):
    """Share of an entity's positives in windows that ended ``delay`` ago."""

    entity: str
    over: Lengths
    delay: Duration


class Features(Section):
    """All inputs of the model."""

    columns: tuple[str, ...] = Field((), description="Columns passed on as they are.")
    calendar: tuple[CalendarPart, ...] = ()
    windows: tuple[Window, ...] = ()
    risks: tuple[Risk, ...] = ()
