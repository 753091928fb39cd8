"""A finished world: what a caller may see, and beside it the truth, labels and money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.world.base import Codes, Floats, Ints
from setpoint.domain.world.config import WorldConfig
from setpoint.errors import DataError

Times = npt.NDArray[np.datetime64]
NEVER = np.timedelta64("NaT", "us")


@dataclass(frozen=True, eq=False)
class World:
    """A generated world; all arrays are read-only and have one entry per row of ``events``.

    Attributes:
        config: What it was built from.
        events: What a caller sees, in time order (see ``reporting.event_table``).
        fraud: The truth, 0 or 1.
        scenario: 0 none, 1 large amount, 2 terminal, 3 customer, 4 hit and run, 5 unnoticed.
        arrival: When the event became known, datetime64[us] in UTC, never before its time.
        amount: True amounts, euros, also where ``events`` report them wrongly.
        review_delay: From arrival to the label if the row is reviewed, timedelta64[us].
        dispute_delay: From event to the label if it is a fraud and not reviewed,
            timedelta64[us], NaT where nobody disputes it.
    """

    config: WorldConfig
    events: pa.Table
    fraud: Codes
    scenario: Codes
    arrival: Times
    amount: Floats
    review_delay: npt.NDArray[np.timedelta64]
    dispute_delay: npt.NDArray[np.timedelta64]

    def __len__(self) -> int:
        return len(self.fraud)

    @property
    def time(self) -> Times:
        """Event times, datetime64[us] in UTC."""
        times: Times = self.events["time"].cast(pa.int64()).to_numpy().view("datetime64[us]")
        return times

    def labels(self, reviewed: npt.ArrayLike | Mapping[str, bool]) -> Times:
        """When the truth about each row becomes known.

        A reviewed row gets its label within hours, fraud or not. Of the others only frauds get
        one, when the customer disputes them, and some never do: decisions select labels.

        Args:
            reviewed: One boolean per row, or by ``tx_id`` (rows not named are not reviewed).

        Returns:
            datetime64[us] in UTC, one per row, NaT for never. The same row and choice give the
            same time in every call.

        Raises:
            DataError: The length is wrong or a ``tx_id`` is unknown.
        """
        if isinstance(reviewed, Mapping):
            reviewed = self._by_id(reviewed)
        return self.label_times(np.arange(len(self)), reviewed)

    def label_times(self, rows: npt.ArrayLike, reviewed: npt.ArrayLike) -> Times:
        """``labels`` for some rows only.

        Args:
            rows: Row numbers.
            reviewed: One boolean per entry of ``rows``.

        Raises:
            DataError: The lengths differ or a row number is out of range.
        """
        numbers = self._rows(rows)
        chosen = _booleans(reviewed, len(numbers))
        disputed: Times = self.time[numbers] + self.dispute_delay[numbers]
        disputed = np.where(self.fraud[numbers] == 1, disputed, np.datetime64("NaT", "us"))
        known: Times = np.where(
            chosen, self.arrival[numbers] + self.review_delay[numbers], disputed
        )
        return known

    def day_slice(self, day: int) -> slice:
        """Rows whose event time lies in day ``day`` (from 0) of the world.

        Raises:
            DataError: The world has no such day.
        """
        if not 0 <= day < self.config.days:
            raise DataError(f"day is {day}", where="world", fix=f"use 0 to {self.config.days - 1}")
        first = np.datetime64(self.config.start.replace(tzinfo=None), "us")
        borders = first + np.array([day, day + 1], dtype="timedelta64[D]")
        begin, end = np.searchsorted(self.time, borders)
        return slice(int(begin), int(end))

    def _rows(self, rows: npt.ArrayLike) -> Ints:
        numbers: Ints = np.asarray(rows, dtype=np.int64)
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise DataError(
                f"rows run from {numbers.min()} to {numbers.max()}",
                where="rows",
                fix=f"use row numbers from 0 to {len(self) - 1}",
            )
        return numbers

    def _by_id(self, reviewed: Mapping[str, bool]) -> npt.NDArray[np.bool_]:
        ids = pa.array(list(reviewed), pa.string())
        found = pc.index_in(ids, value_set=self.events["tx_id"].combine_chunks())
        if found.null_count:
            unknown = ids.filter(pc.is_null(found))[0].as_py()
            raise DataError(
                f"tx_id {unknown!r} is not in this world",
                where="reviewed",
                fix="use values of the events' tx_id column",
            )
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[found.to_numpy()] = list(reviewed.values())
        return chosen


def _booleans(values: npt.ArrayLike, length: int) -> npt.NDArray[np.bool_]:
    chosen = np.asarray(values)
    if chosen.dtype != np.bool_ or chosen.shape != (length,):
        raise DataError(
            f"reviewed has type {chosen.dtype} and shape {chosen.shape}",
            where="reviewed",
            fix=f"give {length} booleans, one per row",
        )
    return chosen


def cost(
    world: World,
    reviewed: npt.ArrayLike,
    review_cost: float = 3.0,
    blocked_cost: float = 0.0,
    rows: slice | None = None,
) -> float:
    """What a policy costs, euros: missed frauds at their amount, reviews and blocked customers.

    Args:
        world: The world.
        reviewed: One boolean per row of ``rows``.
        review_cost: Of each review, euros.
        blocked_cost: Of each review of an honest payment, on top, euros.
        rows: Which rows to count; all if ``None``.

    Raises:
        DataError: ``reviewed`` does not fit the rows.
    """
    part = slice(None) if rows is None else rows
    fraud = world.fraud[part] == 1
    chosen = _booleans(reviewed, len(fraud))
    missed = float(world.amount[part][fraud & ~chosen].sum())
    return missed + review_cost * int(chosen.sum()) + blocked_cost * int((chosen & ~fraud).sum())


def stream_days(world: World) -> Iterator[tuple[datetime, slice, pa.Table]]:
    """The world day by day in event time: midnight (UTC, aware), row numbers, events."""
    for day in range(world.config.days):
        rows = world.day_slice(day)
        events = world.events.slice(rows.start, rows.stop - rows.start)
        yield world.config.start + timedelta(days=day), rows, events
