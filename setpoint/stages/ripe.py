"""Decisions whose truth is known as well as it will be, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.arrivals import integers
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.gates.judged import Judged
from setpoint.domain.maturity import LabelAges, weighted_costs
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.assemble import cost_columns
from setpoint.stages.broken import inside, spans
from setpoint.workspace import Workspace


def ripe_window(
    workspace: Workspace, log: DecisionLog, version: str | None, now: datetime
) -> pa.Table:
    """Ripe decisions of the newest window that has some, with cost and protected columns."""
    project = workspace.project
    end = now - project.label_age
    wanted = tuple(sorted({*cost_columns(workspace), *project.data.protected}))
    window = DecisionQuery(
        start=end - project.watch.window, end=end, version=version, request=wanted
    )
    return ripe_decisions(workspace, log, window, now)


def ripe_decisions(
    workspace: Workspace, log: DecisionLog, query: DecisionQuery, now: datetime
) -> pa.Table:
    """Served decisions old enough for their labels, labels filled in; those without are left out.

    Args:
        workspace: The project.
        log: The decisions.
        query: Which of them; nothing younger than the age at which labels are judged is read.
        now: Event time of the look.
    """
    project = workspace.project
    ripe = now - project.label_age
    end = ripe if query.end is None else min(query.end, ripe)
    return with_ripe_labels(workspace, log.read(replace(query, end=end)), now)


def with_ripe_labels(workspace: Workspace, table: pa.Table, now: datetime) -> pa.Table:
    """Decisions as they were known at a moment, labels filled in; those without are left out.

    So are those that were made on broken data.

    Args:
        workspace: The project.
        table: Served decisions, each old enough for its label.
        now: The moment.
    """
    label = known_labels(table, now)
    if workspace.project.target.unlabelled == "negative":
        label = pc.fill_null(label, pa.scalar(0, pa.int8()))
    table = table.set_column(table.column_names.index("label"), "label", label)
    broken = inside(spans(workspace), integers(table["event_time"]))
    return table.filter(pc.and_(pc.is_valid(table["label"]), pa.array(~broken)))


def known_labels(table: pa.Table, now: datetime) -> pa.ChunkedArray:
    """Labels as told by a look: what became known only after it was not known to it."""
    late = pc.fill_null(pc.greater(table["label_known_at"], pa.scalar(now)), False)
    return pc.if_else(late, pa.scalar(None, pa.int8()), table["label"])


def acted_by_score(table: pa.Table, adverse: str) -> npt.NDArray[np.bool_]:
    """Which decisions got the adverse action for their score: not those that were drawn, [n].

    Args:
        table: Decisions with ``action`` and ``label_propensity``.
        adverse: Name of the adverse action.
    """
    drawn = pc.fill_null(pc.less(table["label_propensity"], 1.0), False)
    acted = pc.and_not(pc.equal(table["action"], adverse), drawn)
    return np.asarray(acted.to_numpy(zero_copy_only=False), dtype=bool)


def judged_decisions(
    workspace: Workspace,
    table: pa.Table,
    ages: LabelAges | None = None,
    now: datetime | None = None,
) -> Judged:
    """Decisions with labels, priced; those that exploration drew as their score would have it.

    Args:
        workspace: The project.
        table: From ``ripe_decisions``.
        ages: Share of the positives known by age, if known positives are to count for those
            that will come; needs ``now``.
        now: Event time of the look.
    """
    project = workspace.project
    label = _ints(table["label"])
    acted = acted_by_score(table, project.actions.positive)
    columns = {n: _values(table[n]) for n in cost_columns(workspace)}
    costs = project.costs.matrix()
    score = table["score"].to_numpy()
    if ages is None or now is None:
        return Judged(label, score, acted, costs.of(label, acted, columns))
    age = (now.timestamp() * MICROSECONDS - integers(table["event_time"])) / MICROSECONDS
    weight = ages.weights(age, label, acted)
    cost = weighted_costs(costs.arrays(columns, len(label)), label, acted, weight)
    return Judged(label, score, acted, cost, weight)


def _ints(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False), dtype=np.int8)


def _values(column: pa.ChunkedArray) -> Any:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(column.to_pylist(), dtype=object)
