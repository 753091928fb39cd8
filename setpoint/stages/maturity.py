"""What training leaves for the watch to hold labels against: ages of labels, cost, misses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.arrivals import integers
from setpoint.domain.bundle import Bundle
from setpoint.domain.estimation import estimate
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.gates.judged import Judged
from setpoint.domain.loss import Reference
from setpoint.domain.maturity import LabelAges, label_ages, weighted_costs
from setpoint.domain.training import Rows
from setpoint.ports import DecisionQuery
from setpoint.stages.assemble import History
from setpoint.workspace import Workspace

CHUNKS = 10
"""Pieces of the judged rows whose estimates show how far estimates vary by themselves."""
ESTIMATED = ("roc_auc", "recall", "precision")


def known_ages(bundle: Bundle) -> LabelAges | None:
    """Share of the positives known by age, as training saw it; ``None`` if it could not tell.

    Nor is it needed where the version explores: what the lot finds stands for the rest.
    """
    kept = bundle.profile.get("label_ages")
    return LabelAges.from_dict(kept) if kept and not bundle.decision.exploration else None


def reference(workspace: Workspace, known: History, rows: Rows, judged: Judged) -> dict[str, Any]:
    """``estimates``, ``cost``, ``misses`` and ``label_ages`` of a bundle's profile.

    Args:
        workspace: The project.
        known: What was known when the model was trained.
        rows: The rows that judged it.
        judged: The same as it decides them.
    """
    positive = known.labels.filter(pc.equal(known.labels["label"], 1))
    seen = _looked_at(workspace, positive[workspace.project.data.event_id].combine_chunks())
    ages = _ages(workspace, known, seen)
    cost = judged.cost
    if ages is not None:
        age = known.now.timestamp() - rows.time / MICROSECONDS
        looked_at = pc.is_in(pa.array(rows.ids.tolist(), pa.string()), value_set=seen)
        weight = ages.weights(age, judged.label, looked_at.to_numpy(zero_copy_only=False))
        costs = workspace.project.costs.matrix().arrays(rows.columns, len(rows))
        cost = weighted_costs(costs, judged.label, judged.acted, weight)
    return {
        "estimates": _estimates(workspace, rows, judged),
        "cost": Reference.of(cost).to_dict(),
        "misses": {
            "missed": int(((judged.label == 1) & ~judged.acted).sum()),
            "rows": len(rows),
        },
        "label_ages": None if ages is None else ages.to_dict(),
    }


def _estimates(workspace: Workspace, rows: Rows, judged: Judged) -> dict[str, Any]:
    """Label-free estimates of the same rows in pieces of time, to hold a window's against."""
    costs = workspace.project.costs.matrix().arrays(rows.columns, len(rows))
    pieces = np.array_split(np.argsort(rows.time, kind="stable"), CHUNKS)
    found = [estimate(judged.score[p], judged.acted[p], costs.take(p)) for p in pieces]
    return {
        "rows": len(rows) // CHUNKS,
        **{name: [_plain(getattr(one, name)) for one in found] for name in ESTIMATED},
        "cost_per_decision": [_plain(one.cost / one.sample) for one in found],
    }


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _looked_at(workspace: Workspace, ids: pa.Array) -> pa.Array:
    """Those of the ids whose decision was looked at for its adverse action."""
    adverse = workspace.project.actions.positive
    query = DecisionQuery(columns=("id", "action"), request=(), features=())
    found = []
    for part in workspace.decisions.batches(query):
        asked = pc.is_in(part["id"], value_set=ids)
        acted = pc.and_(pc.equal(part["action"], adverse), asked)
        found.append(part.filter(acted)["id"].combine_chunks())
    return pa.concat_arrays([one.cast(pa.string()) for one in found])


def _ages(workspace: Workspace, known: History, seen: pa.Array) -> LabelAges | None:
    """From positives that nobody looked at; ``None`` where nothing has to be weighted so."""
    project = workspace.project
    if project.target.unlabelled != "negative" or project.exploration.share:
        return None
    labels, data = known.labels, project.data
    positive = pc.and_(
        pc.equal(labels["label"], 1), pc.invert(pc.is_in(labels[data.event_id], value_set=seen))
    )
    labels = labels.filter(positive)
    place = pc.index_in(
        labels[data.event_id], value_set=known.events[data.event_id].combine_chunks()
    )
    labels, place = labels.filter(pc.is_valid(place)), place.filter(pc.is_valid(place))
    event = integers(known.events[data.event_time].take(place))
    delay = (integers(labels["known_at"]) - event) / MICROSECONDS
    age = known.now.timestamp() - event / MICROSECONDS
    sound = (delay >= 0) & (delay <= age)  # a label dated before its event says nothing of delays
    return label_ages(delay[sound], age[sound])
