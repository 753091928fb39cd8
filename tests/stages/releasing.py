"""A project with two registered versions, over in-memory traffic and processes."""

from __future__ import annotations

from pathlib import Path

from setpoint.adapters.mlflow_registry import CHAMPION, GATED_AGAINST
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.small import PROJECT, make_workspace

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
        workspace.registry.tag(version, "bundle_digest", "0" * 64)
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


DEAD = "00000000-0000-4000-8000-000000000000"
"""Id of a flow run that never was."""
