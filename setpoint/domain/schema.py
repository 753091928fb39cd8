"""What a row must look like: the columns that the project file declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnKind = Literal["number", "integer", "category", "id", "time", "boolean"]


@dataclass(frozen=True)
class ColumnSpec:
    """One declared column.

    Attributes:
        name: Column name.
        kind: ``number`` finite float; ``integer``; ``category`` text from ``values`` if given;
            ``id`` text or integer that identifies something; ``time`` UTC time; ``boolean``.
        min: Smallest value allowed, inclusive (numbers and integers).
        max: Largest value allowed, inclusive.
        values: Allowed values of a category, as text; empty means any.
        nullable: Whether null is allowed.
        personal: Whether it names a person; kept out of metrics and reports.
        max_null_share: Largest share of nulls in a batch, 0 to 1, where nullable.
    """

    name: str
    kind: ColumnKind
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] = ()
    nullable: bool = False
    personal: bool = False
    max_null_share: float = 1.0


@dataclass(frozen=True)
class TableSpec:
    """The columns of a table and what they are for.

    Attributes:
        columns: All declared columns; others are refused in requests and in batches.
        event_id: Column that identifies a row; unique, never null.
        event_time: Column of the event time, or of the order of rows.
        label: Column of the label where the table carries it, else empty.
    """

    columns: tuple[ColumnSpec, ...]
    event_id: str
    event_time: str
    label: str = ""

    def column(self, name: str) -> ColumnSpec:
        """The column called ``name``.

        Raises:
            KeyError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, as declared."""
        return tuple(column.name for column in self.columns)
