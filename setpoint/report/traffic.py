"""Who answered and what it cost, counted from the decision log batch by batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from setpoint.ports import DecisionQuery
from setpoint.stages.assemble import cost_columns
from setpoint.stages.ripe import judged_decisions, with_ripe_labels
from setpoint.workspace import Workspace

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MAX_BUCKETS = 160
_BUCKETS = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24, 7 * 24))
_HOUR_MICROS = 3_600_000_000


@dataclass
class Traffic:
    """What the decisions of a time add up to; its size is that of the hours, not of the rows.

    Attributes:
        hours: Served decisions by hour (its beginning, UTC) and version.
        cost: Money by day (its beginning, UTC), of decisions whose labels are ripe.
        ripe: Decisions by day that ``cost`` rests on.
        unpriced: Ripe decisions without the columns that they are priced by.
        ripe_until: Event time up to which labels are ripe.
    """

    ripe_until: datetime
    hours: dict[datetime, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    cost: dict[datetime, float] = field(default_factory=lambda: defaultdict(float))
    ripe: Counter[datetime] = field(default_factory=Counter)
    unpriced: int = 0

    @property
    def rows(self) -> int:
        """Served decisions in all."""
        return sum(found.total() for found in self.hours.values())

    @property
    def versions(self) -> list[str]:
        """Who answered, in the order in which they first did."""
        seen = (sorted(found) for _, found in sorted(self.hours.items()))
        return list(dict.fromkeys(version for found in seen for version in found))

    def split(
        self, start: datetime, end: datetime
    ) -> tuple[timedelta, Mapping[datetime, Counter[str]]]:
        """Decisions by version in spans of time that are few enough to be drawn.

        Returns:
            How long each span is, and its counts by its beginning.
        """
        wide = next((b for b in _BUCKETS if (end - start) / b <= MAX_BUCKETS), _BUCKETS[-1])
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        found: dict[datetime, Counter[str]] = defaultdict(Counter)
        for hour in sorted(self.hours):
            found[hour - (hour - epoch) % wide] += self.hours[hour]
        return wide, found


def read_traffic(
    workspace: Workspace, start: datetime | None, end: datetime | None, now: datetime
) -> Traffic:
    """Count the served decisions of a time in one pass.

    Args:
        workspace: The project.
        start: Event time from; ``None`` for all.
        end: Event time to, exclusive; ``None`` for all.
        now: Event time of the look: what was labelled later is not known.

    Raises:
        StateError: The log cannot be read.
    """
    found = Traffic(ripe_until=now - workspace.project.label_age)
    query = DecisionQuery(start=start, end=end, request=tuple(sorted(cost_columns(workspace))))
    for table in workspace.decisions.batches(query):
        _count_versions(table, found)
        ripe = pc.less(table["event_time"], pa.scalar(found.ripe_until, table["event_time"].type))
        _add_cost(workspace, with_ripe_labels(workspace, table.filter(ripe), now), found)
    return found


def _micros(table: pa.Table) -> NDArray[np.int64]:
    times = table["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return np.asarray(times.combine_chunks(), dtype=np.int64)


def _moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _count_versions(table: pa.Table, found: Traffic) -> None:
    hour = pa.array(_micros(table) // _HOUR_MICROS)
    pairs = pa.table({"hour": hour, "version": table["version"]})
    for row in pairs.group_by(["hour", "version"]).aggregate([([], "count_all")]).to_pylist():
        found.hours[_moment(row["hour"] * _HOUR_MICROS)][row["version"]] += row["count_all"]


def _add_cost(workspace: Workspace, table: pa.Table, found: Traffic) -> None:
    if table.num_rows == 0:
        return
    cost = judged_decisions(workspace, table).cost
    priced = np.isfinite(cost)
    found.unpriced += int((~priced).sum())
    day_of = _micros(table)[priced] // (24 * _HOUR_MICROS)
    days, place = np.unique(day_of, return_inverse=True)
    sums, rows = np.bincount(place, weights=cost[priced]), np.bincount(place)
    for day, money, many in zip(days.tolist(), sums.tolist(), rows.tolist(), strict=True):
        at = _moment(day * 24 * _HOUR_MICROS)
        found.cost[at] += money
        found.ripe[at] += many
