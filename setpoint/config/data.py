"""The data of a project: where they are, what their columns mean, and what is predicted."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from setpoint.config.fields import (
    Addresses,
    Duration,
    Fault,
    LabelValue,
    Name,
    Number,
    Section,
    Share,
    SomeAddresses,
    refuse,
)
from setpoint.domain.schema import ColumnKind


class Column(Section):
    """What one column of the data must look like."""

    type: ColumnKind = Field(description="number, integer, category, id, time or boolean")
    source: str | None = Field(
        None, description="Column of the files it is read from, if it has another name there."
    )
    min: Number | None = Field(None, description="Smallest value allowed, inclusive.")
    max: Number | None = Field(None, description="Largest value allowed, inclusive.")
    values: tuple[str, ...] = Field((), description="Allowed categories; none listed: any.")
    nullable: bool = Field(False, description="Whether null is allowed.")
    max_null_share: Share = Field(1.0, description="Largest share of nulls in a batch.")
    personal: bool = Field(False, description="Names a person; masked in messages and reports.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        faults = []
        if self.min is not None and self.max is not None and self.min > self.max:
            faults.append(Fault(("min",), self.min, f"min is above max {self.max:g}"))
        if self.type not in ("number", "integer"):
            rule = f"only a number or integer column has bounds; this one is of type {self.type}"
            bounds = {"min": self.min, "max": self.max}
            faults += [Fault((n,), v, rule) for n, v in bounds.items() if v is not None]
        if self.values and self.type != "category":
            rule = f"only a category column lists values; this one is of type {self.type}"
            faults.append(Fault(("values",), list(self.values), rule))
        refuse("Column", faults)
        return self


class Data(Section):
    """Where the data are and what their columns mean."""

    events: SomeAddresses = Field(
        description="Folder, file or s3:// address of the events, or several."
    )
    labels: Addresses = Field((), description="The same for labels that come separately.")
    ignore: tuple[str, ...] = Field((), description="Columns in the files that are left out.")
    snapshots: str | None = Field(
        None, description="Folder or s3:// address of the snapshots; none: in the state folder."
    )
    event_id: str = Field(description="Column that identifies a row.")
    event_time: str = Field(description="Column of the event time.")
    time_zone: str | None = Field(
        None,
        description="IANA name of the zone of times in files that carry none, e.g. UTC; "
        "none: such times are refused.",
    )
    entities: dict[Name, str] = Field(
        default_factory=dict,
        description="Entity name to its column; traffic is sticky by the first.",
    )
    protected: tuple[str, ...] = Field((), description="Columns of protected groups.")
    source: str | None = Field(
        None, description="Column that says who delivered a row; none: the batch that it came in."
    )
    columns: dict[str, Column] = Field(description="Every column of the events.")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        try:
            return name if name is None else ZoneInfo(name).key
        except (ValueError, OSError, LookupError) as err:
            raise ValueError("not an IANA time zone such as UTC or Europe/Berlin") from err


class Target(Section):
    """What is predicted, and when the truth is known."""

    column: str = Field(description="Label column, in the events or in the labels.")
    positive: LabelValue = Field(
        "1", description="Value that counts as positive; true and 1 mean the same as their text."
    )
    delay: Duration = Field(timedelta(0), description="Age from which labels are complete.")
    unlabelled: Literal["negative", "drop"] = Field(
        "drop", description="What a row older than the delay without a label counts as."
    )
