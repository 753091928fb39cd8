"""Release steps on real traffic."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment

from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.rollout import EXPERIMENTS, Rollout, Stage
from setpoint.errors import ReleaseError, SetpointError
from setpoint.stages import drill, release
from setpoint.stages.judging import Judge, keep_looks, looks_before
from setpoint.stages.oversight import objection
from setpoint.workspace import Workspace
from tasks import show

POLL_SECONDS = 0.5
MOST_ATTEMPTS = 3


@task(name="release step", task_run_name="{rollout.label}", cache_policy=NO_CACHE)
def take_step(workspace: Workspace, rollout: Rollout) -> tuple[Rollout, Verdict]:
    """Enact a step, watch it until it can be judged, say what comes next.

    A step that cannot be enacted or judged is rolled back; one that stays inconclusive for too
    long is too, or held, as the plan says.
    """
    try:
        return _walk_step(workspace, rollout)
    except SetpointError as err:
        get_run_logger().error("%s", err)
        return rollout.roll_back(str(err)), Verdict()


def _walk_step(workspace: Workspace, rollout: Rollout) -> tuple[Rollout, Verdict]:
    begun = release.enact(workspace, rollout)
    rollout, judge = begun.rollout, Judge(workspace, begun, looks_before(workspace, begun))
    plan = workspace.project.release
    patience = plan.step_timeout.total_seconds()
    warm_until = time.monotonic() + (plan.warm.total_seconds() if rollout.percent == 100 else 0.0)
    deadline = warm_until + patience
    before = None
    while True:
        _heed_stops(workspace, rollout)
        if rollout.drill:
            drill.fail_under_traffic(workspace, begun)
        started, at = time.monotonic(), datetime.now(UTC).isoformat()
        verdict = judge.look(held=started < warm_until)
        looks = {"looked_at": at, "looked_before": before or at}
        if verdict.outcome != Outcome.INCONCLUSIVE:
            after = rollout.advance(verdict.outcome, verdict.summary())
            break
        late = judge.overdue() if rollout.stage in EXPERIMENTS else _late(deadline, patience)
        if late:
            reason = f"{rollout.label} stayed inconclusive, {late}: {verdict.summary()}"
            after = rollout.out_of_time(reason, ask=plan.inconclusive == "ask")
            break
        if rollout.stage == Stage.BANDIT:
            after = rollout.move_share(judge.next_share(), workspace.clock.now())
            if after is not rollout:
                keep_looks(workspace, rollout, judge.looks)
                break
        before = at
        time.sleep(POLL_SECONDS)
    get_run_logger().info("%s: %s", rollout.label, verdict.summary())
    show.verdict("release-step", verdict, f"{rollout.challenger}: {rollout.label}")
    release.record_step(workspace, rollout, verdict, looks)
    return after, verdict


def _heed_stops(workspace: Workspace, rollout: Rollout) -> None:
    objected = objection(workspace, rollout.challenger)
    if objected:
        raise ReleaseError(objected, where=f"release of {rollout.challenger}")


def _late(deadline: float, patience: float) -> str:
    return f"longer than {patience:g} s" if time.monotonic() > deadline else ""


@task(name="hold release", cache_policy=NO_CACHE)
def hold(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Give the champion all traffic, and have a person asked."""
    release.hold(workspace, rollout, verdict)
    show.text(
        "release",
        f"## {rollout.challenger} waits for a person\n{rollout.reason}\n\n"
        f"`setpoint answer {rollout.challenger} --promote --note WHY`, or `--roll-back`",
    )


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
