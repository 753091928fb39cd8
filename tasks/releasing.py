"""Release steps on real traffic."""

from __future__ import annotations

import time
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment

from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.rollout import Rollout
from setpoint.errors import SetpointError
from setpoint.stages import release
from setpoint.workspace import Workspace
from tasks import show

POLL_SECONDS = 0.5
MOST_ATTEMPTS = 3


@task(name="release step", task_run_name="{rollout.label}", cache_policy=NO_CACHE)
def take_step(workspace: Workspace, rollout: Rollout) -> tuple[Rollout, Verdict]:
    """Enact a step, watch it until it can be judged, say what comes next.

    A step that cannot be enacted or judged, or stays inconclusive until the plan's timeout, is
    rolled back.
    """
    try:
        return _walk_step(workspace, rollout)
    except SetpointError as err:
        get_run_logger().error("%s", err)
        return rollout.roll_back(str(err)), Verdict()


def _walk_step(workspace: Workspace, rollout: Rollout) -> tuple[Rollout, Verdict]:
    step = release.enact(workspace, rollout)
    plan = workspace.project.release
    patience = plan.step_timeout.total_seconds()
    warm_until = time.monotonic() + (plan.warm.total_seconds() if rollout.percent == 100 else 0.0)
    deadline = warm_until + patience
    looks = release.Looks()
    while True:
        verdict = release.judge_step(workspace, step, looks, held=time.monotonic() < warm_until)
        if verdict.outcome != Outcome.INCONCLUSIVE:
            break
        if time.monotonic() > deadline:
            reason = f"{rollout.label} stayed inconclusive for {patience:g} s: {verdict.summary()}"
            return rollout.roll_back(reason), verdict
        time.sleep(POLL_SECONDS)
    get_run_logger().info("%s: %s", rollout.label, verdict.summary())
    show.verdict("release-step", verdict, f"{rollout.challenger}: {rollout.label}")
    release.record_step(workspace, rollout, verdict)
    return rollout.advance(verdict.outcome, verdict.summary()), verdict


@task(name="settle release", cache_policy=NO_CACHE)
def settle(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Put production where the release ended, and record it."""
    release.enact(workspace, rollout)
    release.settle(workspace, rollout, verdict)
    show.text(
        "release",
        f"## {rollout.challenger}: {rollout.stage}\nbefore: {rollout.champion or 'nothing'}\n\n"
        f"{rollout.reason or 'every step passed'}",
    )


@task(name="take up release", cache_policy=NO_CACHE)
def take_up(workspace: Workspace, rollout: Rollout) -> None:
    """Have a release walked on whose run died; one that killed too many runs is rolled back."""
    if rollout.ended:
        settle(workspace, rollout, Verdict())
    elif rollout.attempts >= MOST_ATTEMPTS:
        back = rollout.roll_back(f"{rollout.attempts} runs died walking it, the last {rollout.run}")
        settle(workspace, back, Verdict())
    else:
        run: Any = run_deployment(  # called from a task that is not async, it is no coroutine
            "release/release",
            parameters={"version": rollout.challenger},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"{rollout.run}-{rollout.attempts}",
        )
        # Written down at once: a run that dies before its first step counts as an attempt too.
        workspace.state.hand_over(rollout, str(run.id))
