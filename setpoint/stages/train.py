"""Train a candidate, keep its record in MLflow, and build its bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from setpoint.adapters.mlflow_registry import CANDIDATE
from setpoint.adapters.onnx_export import check_parity, to_onnx
from setpoint.adapters.optuna_search import search
from setpoint.adapters.plots import training_plots
from setpoint.config import Project
from setpoint.domain.bundle import DecisionSpec, Knots, SnapshotRef, write_bundle
from setpoint.domain.exploration import EXPLORATION
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.metrics import average_precision, roc_auc
from setpoint.domain.multivariate import sample
from setpoint.domain.profile import build_profile
from setpoint.domain.record import (
    RECORD,
    TrainingRecord,
    exploration_digest,
    project_digest,
    split_digests,
)
from setpoint.domain.split import TUNE_POSITIVES, Split, split_rows
from setpoint.domain.training import (
    Parameters,
    Rows,
    TrainedModel,
    finish,
    fit_pipeline,
    typical_values,
)
from setpoint.domain.validation import check_label
from setpoint.errors import TrainingError
from setpoint.stages.assemble import History, history, training_rows
from setpoint.stages.broken import spans
from setpoint.stages.fitted import fitted, hardened, mitigation
from setpoint.stages.identity import PACKAGES, conditions, environment_packages
from setpoint.stages.ingest import Ingested
from setpoint.stages.maturity import reference
from setpoint.stages.poisoning import check_new_data, without
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Candidate:
    """A trained model version.

    Attributes:
        version: ``v1``, ``v2`` ...
        bundle: Folder of its bundle.
        digest: Digest of the bundle.
        run_id: MLflow run.
        snapshot: Digest of the training data.
        metrics: Measured on the rows that judge.
        until: Event time up to which data were known.
    """

    version: str
    bundle: str
    digest: str
    run_id: str
    snapshot: str
    metrics: dict[str, float]
    until: datetime


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


def measure(judged: Judged) -> dict[str, float]:
    """Metrics of judged rows, by name."""
    positive = judged.label == 1
    hits = int((judged.acted & positive).sum())
    return {
        "roc_auc": float(roc_auc(judged.label, judged.score)),
        "average_precision": float(average_precision(judged.label, judged.score)),
        "recall": hits / max(int(positive.sum()), 1),
        "precision": hits / max(int(judged.acted.sum()), 1),
        "alert_rate": float(judged.acted.mean()),
        "cost_per_decision": float(judged.cost.mean()),
        "rows_judged": float(len(judged.label)),
    }


@dataclass(frozen=True)
class Exported:
    """What is deployed of a model, before it has a version.

    Attributes:
        onnx: The model.
        score: Calibrated probability of the rows that judge, [n].
        threshold: Score from which the adverse action is taken.
        knots: The calibration map.
        parameters: What its record says of how it was made.
        seeds: Random seeds by purpose.
        metrics: Measured at the export.
    """

    onnx: bytes
    score: npt.NDArray[np.float64]
    threshold: float
    knots: Knots
    parameters: Mapping[str, Any]
    seeds: Mapping[str, int]
    metrics: Mapping[str, float]


def publish(workspace: Workspace, training: Training, snapshot: Ingested, cause: str) -> Candidate:
    """Export, check parity, record in MLflow, register, write the bundle.

    Raises:
        BundleError: The exported model does not agree with the trained one.
    """
    model, judge_rows = training.model, training.split.judge
    spec = workspace.project.feature_spec()
    onnx = to_onnx(model.pipeline, len(spec.number_names), len(spec.categories))
    parity = check_parity(onnx, model.pipeline, judge_rows)
    exported = Exported(
        onnx,
        model.scores(judge_rows),
        model.threshold,
        Knots(model.calibration.x, model.calibration.y),
        model.parameters.to_dict(),
        {"model": model.parameters.seed},
        {"onnx_parity": parity},
    )
    tags = {"cause": cause}
    if mitigated := mitigation(workspace.project, model.parameters):
        tags["mitigation"] = mitigated
    made = register(workspace, training, exported, snapshot, tags)
    workspace.registry.point(CANDIDATE, made.version)
    return made


def register(
    workspace: Workspace,
    training: Training,
    exported: Exported,
    snapshot: Ingested,
    tags: Mapping[str, str],
) -> Candidate:
    """Record in MLflow what was exported, give it a version, write the bundle.

    Args:
        workspace: The project.
        training: The rows, and what they were assembled from.
        exported: The model.
        snapshot: The data.
        tags: Of the run and the version; ``cause`` is among them.
    """
    project, costs = workspace.project, workspace.project.costs.matrix()
    judged = judge(training.split.judge, exported.score, exported.threshold, costs)
    metrics = measure(judged) | dict(exported.metrics) | {"threshold": exported.threshold}
    record = _made_from(workspace, training, snapshot)
    kept = {
        "snapshot": snapshot.digest,
        "commit": record.conditions.commit,
        "environment": record.conditions.environment,
        "data_until": training.known.now.isoformat(),
        "exploration": record.exploration,
        "record": record.digest,
        "risk_tier": project.risk_tier,
        **{name if name != "model" else "seed": str(seed) for name, seed in exported.seeds.items()},
        **tags,
    }
    run_id = _record(workspace, training, exported, record, judged, metrics, kept)
    version = workspace.registry.register(run_id, Path("pending"), kept)
    profile, decision = _reference(workspace, training, exported, judged)
    manifest = write_bundle(
        workspace.bundle(version),
        exported.onnx,
        project.feature_spec(),
        project.request_spec(),
        decision,
        profile,
        project=project.name,
        version=version,
        created_at=training.known.now,
        snapshot=SnapshotRef(
            f"{snapshot.events_version}.{snapshot.labels_version}", snapshot.digest
        ),
        commit=record.conditions.commit,
        environment_digest=record.conditions.environment,
        seeds=exported.seeds,
        parameters=exported.parameters,
        sign=workspace.sign,
    )
    workspace.registry.tag(version, "bundle", str(workspace.bundle(version)))
    workspace.registry.tag(version, "bundle_digest", manifest.digest)
    return Candidate(
        version,
        str(workspace.bundle(version)),
        manifest.digest,
        run_id,
        snapshot.digest,
        metrics,
        training.known.now,
    )


def _made_from(workspace: Workspace, training: Training, snapshot: Ingested) -> TrainingRecord:
    broken = training.known.broken
    return TrainingRecord(
        events=snapshot.events_version,
        labels=snapshot.labels_version,
        data_until=training.known.now,
        judged_since=training.since,
        broken=tuple(spans(workspace)) if broken is None else broken,
        exploration=exploration_digest(training.split),
        rows=split_digests(training.split),
        conditions=conditions(),
        project=project_digest(workspace.project_file.read_bytes()),
    )


def _record(
    workspace: Workspace,
    training: Training,
    exported: Exported,
    record: TrainingRecord,
    judged: Judged,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        plots = training_plots(judged.label, judged.score, exported.threshold, Path(folder))
        tried = Path(folder) / "search.json"
        tried.write_text(
            json.dumps([asdict(p) | {"cost": c} for p, c in training.tried], indent=1), "utf-8"
        )
        packages = Path(folder) / "packages.txt"
        packages.write_text("\n".join(environment_packages()), "utf-8")
        made_from = Path(folder) / RECORD
        made_from.write_bytes(record.to_json())
        return workspace.registry.log_run(
            parameters=dict(exported.parameters)
            | {"rows_fit": len(training.split.fit), "rows_tune": len(training.split.tune)}
            | {"adversarial": workspace.project.train.adversarial},
            metrics=metrics,
            tags=tags,
            files={
                "plots": plots,
                "search": tried,
                "project": workspace.project_file,
                "record": made_from,
                PACKAGES: packages,
            },
            name=f"{tags['cause']} {training.known.now:%Y-%m-%d %H:%M}",
        )


def _reference(
    workspace: Workspace, training: Training, exported: Exported, judged: Judged
) -> tuple[dict[str, Any], DecisionSpec]:
    """Reference profile of inputs and score, and how a score becomes an action."""
    project = workspace.project
    spec = project.feature_spec()
    recent = training.split.judge
    columns: dict[str, Any] = {
        name: recent.numbers[:, i].astype(np.float64)
        for i, name in enumerate(spec.number_names)
        if name not in spec.calendar  # a window shorter than a week drifts by the calendar alone
    }
    columns |= {name: recent.categories[:, i] for i, name in enumerate(spec.categories)}
    columns["score"] = judged.score
    profile = {
        "psi": build_profile(columns).to_dict(),
        "sample": sample(columns, project.train.seed),
        "alert_rate": float(judged.acted.mean()),
        "rows": len(recent),
    } | reference(workspace, training.known, recent, judged)
    rows = training.split.fit
    return profile, decision_spec(project, rows, exported.threshold, exported.knots)


def decision_spec(project: Project, rows: Rows, threshold: float, knots: Knots) -> DecisionSpec:
    """How a score of a model becomes an action, and typical values of the rows it was fitted on."""
    spec = project.feature_spec()
    drawn = {EXPLORATION: "drawn by lot"} if project.exploration.share else {}
    return DecisionSpec(
        threshold=threshold,
        actions=project.actions.model_dump(),
        baselines=typical_values(spec, rows),
        knots=knots,
        reasons={name: f"{name} is unusual" for name in spec.names} | drawn,
        exploration=project.exploration.share,
    )
