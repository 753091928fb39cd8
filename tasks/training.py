"""Features, training, bundle, image."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from setpoint.adapters.plots import training_plots
from setpoint.config import Project
from setpoint.config.gates import Mitigation
from setpoint.domain.training import Rows
from setpoint.stages import fallback, fitted, package, train
from setpoint.stages import mitigate as mitigation
from setpoint.stages import publish as publishing
from setpoint.stages.assemble import History
from setpoint.stages.ingest import Ingested
from setpoint.workspace import Workspace
from tasks import show


@task(name="features", cache_policy=NO_CACHE)
def assemble(
    workspace: Workspace, now: datetime | None, snapshot: Ingested | None = None
) -> tuple[Rows, History]:
    """Features of all rows with complete labels."""
    rows, known = train.assemble(workspace, now, snapshot)
    get_run_logger().info("%d rows, %d positive", len(rows), int(rows.label.sum()))
    return rows, known


@task(name="train", cache_policy=NO_CACHE)
def fit(workspace: Workspace, rows: Rows, known: History, since: datetime | None) -> train.Training:
    """Search, fit, calibrate, choose the threshold."""
    return train.fit(workspace, rows, known, since)


@task(name="mitigate", task_run_name="{way}", cache_policy=NO_CACHE)
def mitigate(project: Project, training: train.Training, way: Mitigation) -> train.Training:
    """The same training with weighted rows, or with another threshold."""
    again = mitigation.mitigated(project, training, way)
    get_run_logger().info("%s", fitted.mitigation(project, again.model.parameters))
    return again


@task(name="record and bundle", cache_policy=NO_CACHE)
def publish(
    workspace: Workspace, training: train.Training, snapshot: Ingested, cause: str
) -> publishing.Candidate:
    """MLflow record, ONNX with parity checked, bundle."""
    made = publishing.publish(workspace, training, snapshot, cause)
    rows, model = training.split.judge, training.model
    with TemporaryDirectory() as folder:
        png = training_plots(rows.label, model.scores(rows), model.threshold, Path(folder))
        show.picture("candidate", png, f"{made.version} on rows it never saw")
    numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in made.metrics.items())
    show.text(
        "candidate-metrics",
        f"## Candidate {made.version}\nbundle `{made.digest[:16]}`, snapshot "
        f"`{made.snapshot[:16]}`, MLflow run `{made.run_id}`\n\n"
        f"| metric | value |\n|---|---|\n{numbers}",
    )
    return made


@task(name="fallback", cache_policy=NO_CACHE)
def prepare_fallback(workspace: Workspace, training: train.Training, snapshot: Ingested) -> None:
    """Register the declared rule as a version with its image, where it is not one already."""
    known = workspace.registry.versions()
    version = fallback.prepare(workspace, training, snapshot)
    if version is not None and version not in known:
        get_run_logger().info("the fallback rule is %s", version)
        package.build_image(workspace, version)


@task(name="image", cache_policy=NO_CACHE)
def build_image(workspace: Workspace, candidate: publishing.Candidate) -> package.Packaged:
    """Build and smoke-test the container image, or say why not."""
    made = package.build_image(workspace, candidate.version)
    show.text("image", f"## Image of {candidate.version}\n{made.note}")
    return made
