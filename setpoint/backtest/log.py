"""The replay's home of the decision log: rows that are all known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.ports import FIXED, Decision, DecisionCount, DecisionQuery, Label


@dataclass
class Replayed:
    """A decision log over rows that are all known beforehand.

    Attributes:
        table: One row an event in event-time order: ``id, event_time, label, label_known_at``,
            request columns, and inputs as ``f_<name>``.
        actions: The adverse action and the favourable one.
        score, threshold, acted, version: Filled in as rows are streamed, [n].
    """

    table: pa.Table
    actions: tuple[str, str]
    score: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    acted: npt.NDArray[np.bool_]
    version: npt.NDArray[np.object_]

    def read(self, query: DecisionQuery) -> pa.Table:
        """Decisions made so far that the query asks for."""
        keep = self.version != ""
        time_of = self.table["event_time"]
        if query.version is not None:
            keep &= self.version == query.version
        mask = pa.array(keep)
        if query.start is not None:
            mask = pc.and_(mask, pc.greater_equal(time_of, pa.scalar(query.start)))
        if query.end is not None:
            mask = pc.and_(mask, pc.less(time_of, pa.scalar(query.end)))
        names = ["id", "event_time", "label", "label_known_at", *query.request]
        names += [f"f_{n}" for n in query.features]
        chosen = self.table.select(list(dict.fromkeys(names))).filter(mask)
        rows = np.flatnonzero(np.asarray(mask))
        action = np.where(self.acted[rows], *self.actions)
        for name, values in (
            ("score", pa.array(self.score[rows])),
            ("threshold", pa.array(self.threshold[rows])),
            ("action", pa.array(action.tolist(), pa.string())),
            ("version", pa.array(self.version[rows].tolist(), pa.string())),
            ("propensity", pa.nulls(len(rows), pa.float64())),
            ("label_propensity", pa.nulls(len(rows), pa.float64())),
        ):
            chosen = chosen.append_column(name, values)
        left_out = set(FIXED) - {*query.columns, *query.request}
        return chosen.drop_columns([n for n in chosen.column_names if n in left_out])

    def batches(self, query: DecisionQuery, rows: int = 16_384) -> Iterator[pa.Table]:
        """The same, a slice at a time."""
        table = self.read(query)
        for begin in range(0, max(table.num_rows, 1), rows):
            yield table.slice(begin, rows)

    def summary(self, query: DecisionQuery) -> list[DecisionCount]:
        """Not used in a replay: its figures are counted from the rows."""
        raise NotImplementedError

    def forget(self, before: datetime) -> int:
        """Not used in a replay: its history is that of the project."""
        raise NotImplementedError

    def append(self, decisions: Any) -> None:
        """Not used in a replay: rows are known beforehand."""
        raise NotImplementedError

    def find(self, ids: Any) -> dict[str, Decision]:
        """Not used in a replay."""
        raise NotImplementedError

    def add_labels(self, labels: list[Label] | Any) -> list[str]:
        """Not used in a replay: labels are known beforehand, with their time."""
        raise NotImplementedError
