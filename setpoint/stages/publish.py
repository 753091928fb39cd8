"""Publish a trained model: its record in MLflow, its version, its bundle."""

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

from setpoint.adapters.mlflow_registry import CANDIDATE
from setpoint.adapters.onnx_export import check_parity, to_onnx
from setpoint.adapters.plots import training_plots
from setpoint.config import Project
from setpoint.domain.bundle import DecisionSpec, Knots, Manifest, SnapshotRef, write_bundle
from setpoint.domain.exploration import EXPLORATION
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
from setpoint.domain.training import (
    Rows,
    typical_values,
)
from setpoint.stages.broken import spans
from setpoint.stages.fitted import mitigation
from setpoint.stages.identity import PACKAGES, conditions, environment_packages
from setpoint.stages.ingest import Ingested
from setpoint.stages.maturity import reference
from setpoint.stages.train import Training
from setpoint.workspace import Workspace

PLOTS = "plots"
"""Where the pictures of a version are among the artifacts of its run."""


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
    costs = workspace.project.costs.matrix()
    judged = judge(training.split.judge, exported.score, exported.threshold, costs)
    metrics = measure(judged) | dict(exported.metrics) | {"threshold": exported.threshold}
    record = _made_from(workspace, training, snapshot)
    kept = _kept(workspace, training, exported, snapshot, record) | dict(tags)
    run_id = _record(workspace, training, exported, record, judged, metrics, kept)
    version = workspace.registry.register(run_id, Path("pending"), kept)
    manifest = _bundled(workspace, version, training, exported, record, snapshot, judged)
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


def _kept(
    workspace: Workspace,
    training: Training,
    exported: Exported,
    snapshot: Ingested,
    record: TrainingRecord,
) -> dict[str, str]:
    """Tags of the run and the version that say what made it."""
    seeds = {n if n != "model" else "seed": str(seed) for n, seed in exported.seeds.items()}
    return {
        "snapshot": snapshot.digest,
        "commit": record.conditions.commit,
        "environment": record.conditions.environment,
        "data_until": training.known.now.isoformat(),
        "exploration": record.exploration,
        "record": record.digest,
        "risk_tier": workspace.project.risk_tier,
        **seeds,
    }


def _bundled(
    workspace: Workspace,
    version: str,
    training: Training,
    exported: Exported,
    record: TrainingRecord,
    snapshot: Ingested,
    judged: Judged,
) -> Manifest:
    """Write the bundle of a version."""
    project, made = workspace.project, record.conditions
    profile, decision = _reference(workspace, training, exported, judged)
    return write_bundle(
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
        commit=made.commit,
        environment_digest=made.environment,
        seeds=exported.seeds,
        parameters=exported.parameters,
        sign=workspace.sign,
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
        project=project_digest(workspace.project_bytes),
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
        declared = Path(folder) / workspace.project_file.name
        declared.write_bytes(workspace.project_bytes)
        made_from = Path(folder) / RECORD
        made_from.write_bytes(record.to_json())
        return workspace.registry.log_run(
            parameters=dict(exported.parameters)
            | {"rows_fit": len(training.split.fit), "rows_tune": len(training.split.tune)}
            | {"adversarial": workspace.project.train.adversarial},
            metrics=metrics,
            tags=tags,
            files={
                PLOTS: plots,
                "search": tried,
                "project": declared,
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
