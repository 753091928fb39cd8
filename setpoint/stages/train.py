"""Train a candidate: rows with complete labels, a split, a search, a calibrated model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from setpoint.adapters.optuna_search import search
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.gates.judged import judge
from setpoint.domain.split import TUNE_POSITIVES, Split, split_rows
from setpoint.domain.training import (
    Parameters,
    Rows,
    TrainedModel,
    finish,
    fit_pipeline,
)
from setpoint.domain.validation import check_label
from setpoint.errors import TrainingError
from setpoint.stages.assemble import History, history, training_rows
from setpoint.stages.fitted import fitted, hardened
from setpoint.stages.ingest import Ingested
from setpoint.stages.poisoning import check_new_data, without
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Training:
    """A fitted model with the rows it was made from; stays in one process."""

    model: TrainedModel
    split: Split
    tried: list[tuple[Parameters, float]]
    known: History
    since: datetime | None = None


def assemble(
    workspace: Workspace, now: datetime | None, snapshot: Ingested | None = None
) -> tuple[Rows, History]:
    """Rows with complete labels at ``now``, once new ones were held against trusted ones.

    Args:
        workspace: The project.
        now: The moment; none: the last event or label, but no later than the clock.
        snapshot: The data that are trained on; none: the newest. A delivery names it, or what is
            ingested meanwhile would be in the model and not in its record.

    Raises:
        TrainingError: There are none, or a source of new ones is poisoned.
        DataError: The label is constant.
        StateError: A snapshot is not signed, or was altered.
    """
    at = None if snapshot is None else (snapshot.events_version, snapshot.labels_version)
    known = history(workspace, now, at, verified=True)
    rows = without(workspace, training_rows(workspace, known))
    check_new_data(workspace, rows)
    check_label(pa.table({"label": rows.label}), "label", workspace.project.target.column)
    return rows, known


def fit(
    workspace: Workspace, rows: Rows, known: History, since: datetime | None = None
) -> Training:
    """Search parameters, fit, calibrate, choose the threshold.

    Args:
        workspace: The project.
        rows: Rows with complete labels.
        known: What they were assembled from.
        since: Judge on rows from here on; default: the project file's ``judge_recent``.

    Raises:
        TrainingError: A part of the split lacks a class, or an input has no value at all.
    """
    project = workspace.project
    costs = project.costs.matrix()
    split, start = _split(workspace, rows, since)
    _check_inputs(split.fit, project.feature_spec().number_names)
    made: dict[Parameters, TrainedModel] = {}

    def cost_of(parameters: Parameters) -> float:
        model = finish(fit_pipeline(split.fit, parameters), parameters, split.tune, costs)
        made[parameters] = model
        judged = judge(split.tune, model.scores(split.tune), model.threshold, costs)
        return float(judged.cost.mean())

    best, tried = search(
        cost_of,
        trials=project.train.trials,
        seed=project.train.seed,
        max_iter=project.train.max_iter,
        span_days=int(np.ptp(split.fit.time)) / (86_400 * MICROSECONDS),
        recent_days=_recent_days(split.fit, start),
    )
    model = hardened(project, made[best], split)
    return Training(model, split, tried, known, since)


def fit_again(
    workspace: Workspace, rows: Rows, parameters: Parameters, since: datetime | None
) -> tuple[TrainedModel, Split]:
    """The model that ``fit`` made when its search had chosen these parameters, or a mitigation.

    Raises:
        TrainingError: A part of the split lacks a class, or the threshold is to be fair and none
            is.
    """
    split, _ = _split(workspace, rows, since)
    return fitted(workspace.project, split, parameters), split


def _split(workspace: Workspace, rows: Rows, since: datetime | None) -> tuple[Split, int | None]:
    rule = workspace.project.train
    start = None if since is None else round(since.timestamp() * MICROSECONDS)
    return split_rows(rows, rule.holdout, rule.judge_recent, start), start


def _recent_days(rows: Rows, since: int | None) -> float:
    """Days since a change, if they have enough of both classes to train on alone; else 0."""
    if since is None:
        return 0.0
    recent = rows.take(rows.time >= since)
    positives = int(recent.label.sum())
    enough = TUNE_POSITIVES <= positives <= len(recent) - TUNE_POSITIVES
    if not enough or not np.isfinite(recent.numbers).any(axis=0).all():
        return 0.0
    return (int(rows.time.max()) - since) / (86_400 * MICROSECONDS)


def _check_inputs(rows: Rows, names: tuple[str, ...]) -> None:
    empty = [n for i, n in enumerate(names) if not np.isfinite(rows.numbers[:, i]).any()]
    if empty:
        raise TrainingError(
            f"no row that trains has a value of {', '.join(empty)}",
            where="features",
            fix="leave it out of features in the project file until there is data for it",
        )
