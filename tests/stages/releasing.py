"""A project with two registered versions, over in-memory traffic and processes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from setpoint.adapters.mlflow_registry import CHAMPION, GATED_AGAINST
from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.domain.windows import WindowRecord
from setpoint.stages import release, respond
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.serving.test_bundle_format import write
from tests.stages.small import PROJECT, T0, make_workspace

FIRST = plan("blue_green", shadowing=False)
HALVES = plan("canary", shadowing=False, steps=(50, 100))


def two_versions(folder: Path, text: str = PROJECT) -> tuple[Workspace, FakeRouter, FakeRuntime]:
    """``v1`` is promoted and in service, ``v2`` is registered."""
    workspace = make_workspace(folder, text)
    router, runtime = FakeRouter(), FakeRuntime()
    workspace.__dict__.update(router=router, runtime=runtime)
    for _ in range(2):
        run = workspace.registry.log_run(parameters={}, metrics={}, tags={}, files={})
        version = workspace.registry.register(run, Path("pending"), {})
        manifest = write(workspace.bundle(version), version=version, sign=workspace.sign)
        workspace.registry.tag(version, "bundle_digest", manifest.digest)
        workspace.registry.tag(version, "gates", "passed")
        workspace.registry.tag(version, GATED_AGAINST, "v1")
    first = Rollout("v1", None, FIRST, stage=Stage.PROMOTED, settled=True)
    workspace.state.save_release(first)
    workspace.registry.point(CHAMPION, "v1")
    runtime.start("v1", workspace.bundle("v1"))
    workspace.state.remember("online_seeded", "2026-01-01T00:00:00+00:00")
    return workspace, router, runtime


def left_by_a_dead_run(workspace: Workspace, stage: Stage, **more: object) -> Rollout:
    """A release of ``v2`` that its run wrote down last in ``stage`` and then was killed."""
    rollout = Rollout("v2", "v1", HALVES, stage=stage, run=DEAD, **more)  # type: ignore[arg-type]
    workspace.state.begin_release(rollout)
    return rollout


ROLLS_BACK = PROJECT + "respond: {performance: roll_back, drift: roll_back}\n"


def replaced(folder: Path, text: str = ROLLS_BACK) -> tuple[Workspace, FakeRouter, FakeRuntime]:
    """``v2`` took over from ``v1`` and is in service; a setpoint that it breaks is rolled back."""
    workspace, router, runtime = two_versions(folder, text)
    second = Rollout("v2", "v1", FIRST, stage=Stage.PROMOTED)
    workspace.state.begin_release(second)
    release.enact(workspace, second)
    release.settle(workspace, second, Verdict())
    return workspace, router, runtime


def looked(workspace: Workspace, days: float, outcome: Outcome, version: str = "v1") -> None:
    """A window of a version so many days after ``T0``; its drift is no setpoint."""
    found = Finding("ranking", outcome, 0.5, 0.6, "floor", 500, 0.001, "as measured")
    drift = Finding("psi", Outcome.FAILED, 0.5, 0.25, "ceiling", 500, 0.001, "moved", slice="x")
    workspace.state.keep_window(WindowRecord(T0 + timedelta(days=days), version, (found, drift)))


def taken_up(workspace: Workspace, run: str, cause: Cause = Cause.PERFORMANCE) -> Incident:
    """An incident of ``v2`` that a run has taken up."""
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    opened, _ = workspace.state.open_incident(
        Incident("", cause, Severity.HIGH, Status.OPEN, T0, "v2", (finding,))
    )
    taken = respond.take(workspace, opened.id, run)
    assert taken is not None
    return taken


DEAD = "00000000-0000-4000-8000-000000000000"
"""Id of a flow run that never was."""
