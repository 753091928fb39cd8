"""The data of a project: where they are, what their columns mean, and what is predicted."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from setpoint.config.fields import Addresses, Duration, LabelValue, Name, Section, Share
from setpoint.domain.schema import ColumnKind


class Column(Section):
    """What one column of the data must look like."""

    type: ColumnKind = Field(description="number, integer, category, id, time or boolean")
    source: str | None = Field(
        None, description="Column of the files it is read from, if it has another name there."
    )
    min: float | None = Field(None, description="Smallest value allowed, inclusive.")
    max: float | None = Field(None, description="Largest value allowed, inclusive.")
    values: tuple[str, ...] = Field((), description="Allowed categories; none listed: any.")
    nullable: bool = Field(False, description="Whether null is allowed.")
    max_null_share: Share = Field(1.0, description="Largest share of nulls in a batch.")
    personal: bool = Field(False, description="Names a person; masked in messages and reports.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Data(Section):
    """Where the data are and what their columns mean."""

    events: Addresses = Field(
        description="Folder, file or s3:// address of the events, or several."
    )
    labels: Addresses = Field((), description="The same for labels that come separately.")
    ignore: tuple[str, ...] = Field((), description="Columns in the files that are left out.")
    snapshots: str | None = Field(
        None, description="Folder or s3:// address of the snapshots; none: in the state folder."
    )
    event_id: str = Field(description="Column that identifies a row.")
    event_time: str = Field(description="Column of the event time.")
    entities: dict[Name, str] = Field(
        default_factory=dict,
        description="Entity name to its column; traffic is sticky by the first.",
    )
    protected: tuple[str, ...] = Field((), description="Columns of protected groups.")
    columns: dict[str, Column] = Field(description="Every column of the events.")


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
