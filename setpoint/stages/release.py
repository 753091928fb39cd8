"""Walk a release: make production what the plan says, judge each step on real traffic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from setpoint.adapters.envoy_config import answering
from setpoint.adapters.mlflow_registry import CHALLENGER, CHAMPION, GATED_AGAINST, NOBODY
from setpoint.adapters.scoring_metrics import ServiceCounts, read_counts
from setpoint.domain.analysis import Limits, analyse
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Finding, Outcome, Verdict, not_measured
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import PlatformError, ReleaseError
from setpoint.ports import DecisionQuery, TrafficPlan
from setpoint.stages import online
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Step:
    """The start of a step: what is compared with its end.

    Attributes:
        rollout: Where the release is.
        since: Event time at which the step began.
        counts: Counters of each running version at that moment.
    """

    rollout: Rollout
    since: datetime
    counts: dict[str, ServiceCounts]


def begin(workspace: Workspace, version: str, cause: str, run: str) -> Rollout:
    """Start the release of a version, or take over the one that a killed run left.

    Args:
        workspace: The project.
        version: The challenger.
        cause: What the release answers: an incident's id, ``first``, ``manual`` ...
        run: Id of the run that walks it.

    Raises:
        ReleaseError: Another version is being released, or this one is in service already.
        StateError: It is not known what is in service.
    """
    plan = workspace.project.release
    champion = workspace.champion()
    fresh = Rollout(
        challenger=version,
        champion=champion,
        steps=plan.steps if plan.strategy == "canary" else (100,),
        shadowing=plan.shadow_requests > 0,
        cause=cause,
        run=run,
    )
    known = workspace.state.release(version)
    if champion == version and (known is None or known.settled):
        raise ReleaseError(
            f"{version} is in service already",
            where=f"release of {version}",
            fix="release another version",
        )
    rollout, new = workspace.state.begin_release(fresh)
    if new:
        _check_champion(workspace, rollout)
    if not rollout.ended:
        workspace.registry.point(CHALLENGER, version)
    if new:
        _record(workspace, rollout, "release_started", {})
    return rollout


def _check_champion(workspace: Workspace, rollout: Rollout) -> None:
    """Give a release up at once that its gates did not see coming.

    Raises:
        ReleaseError: It was gated against another champion than the one it would replace.
    """
    gated = workspace.registry.tags(rollout.challenger).get(GATED_AGAINST)
    champion = workspace.champion()
    if champion == rollout.champion and gated == (champion or NOBODY):
        return
    reason = f"its gates compared it with {gated or 'nobody known'}, in service is {champion}"
    settle(workspace, rollout.roll_back(reason), Verdict())
    raise ReleaseError(
        reason,
        where=f"release of {rollout.challenger}",
        fix="train again: 'setpoint deliver' compares with what is in service",
    )


def enact(workspace: Workspace, rollout: Rollout) -> Step:
    """Make production what the release's state says.

    The state is written first, so a killed run is resumed here: both versions running, then the
    traffic plan. Doing it again changes nothing.

    Raises:
        PlatformError: A version does not start.
        ReleaseError: The gateway does not take the plan.
    """
    workspace.state.save_release(rollout)
    runtime = workspace.runtime
    serving = _serving(rollout)
    if not serving:
        return Step(rollout, workspace.clock.now(), {})
    if rollout.champion is None:
        online.seed(workspace)
    for version in serving:
        runtime.start(version, workspace.bundle(version), workspace.registry.digest(version))
    running = runtime.endpoints()
    weights = {v: w for v, w in rollout.weights().items() if v in serving}
    shadow = rollout.challenger if rollout.stage == Stage.SHADOW else None
    plan = TrafficPlan(f"{rollout.challenger}-{uuid4().hex[:8]}", weights, serving[0], shadow)
    may_answer = sorted({version for chain in answering(plan).values() for version in chain})
    workspace.state.remember(f"plan:{plan.id}", json.dumps(may_answer))
    workspace.router.apply(plan, {v: running[v] for v in serving})
    counts = {} if rollout.ended else {v: read_counts(running[v]) for v in serving}
    return Step(rollout, workspace.clock.now(), counts)


def planned(workspace: Workspace, plan: str) -> set[str]:
    """Versions that may answer under a traffic plan, standing in for another or not.

    Empty for a plan that never was.
    """
    return set(json.loads(workspace.state.recall(f"plan:{plan}") or "[]"))


def _serving(rollout: Rollout) -> list[str]:
    """Versions that must run now, the one that takes over from a failing one first."""
    if rollout.stage == Stage.PROMOTED:
        return [rollout.challenger]
    if rollout.stage == Stage.ROLLED_BACK:
        return [rollout.champion] if rollout.champion else []
    return [v for v in (rollout.champion, rollout.challenger) if v is not None]


@dataclass
class Looks:
    """How often a step was looked at: before its requests were in, and since."""

    early: int = 0
    late: int = 0

    def count(self, *, last: bool) -> int:
        """Count a look; its number among those of its kind."""
        if last:
            self.late += 1
            return self.late
        self.early += 1
        return self.early


def judge_step(workspace: Workspace, step: Step, looks: Looks, *, held: bool = False) -> Verdict:
    """Judge the present step on the traffic since it began.

    Args:
        workspace: The project.
        step: The step as it was enacted.
        looks: How often it was looked at; counted on.
        held: Whether the step goes on whatever is found: the old version is kept warm.

    Raises:
        StateError: The clock of a replay was never set.
    """
    rollout, plan = step.rollout, workspace.project.release
    if rollout.stage == Stage.PENDING:
        return Verdict((_ready(workspace, rollout.challenger),))
    shadow = rollout.stage == Stage.SHADOW
    needed = plan.shadow_requests if shadow else plan.step_requests
    served = workspace.decisions.read(
        DecisionQuery(
            start=step.since,
            version=rollout.challenger,
            shadow=shadow,
            columns=("score", "action"),
        )
    )
    try:
        endpoints = workspace.runtime.endpoints()
        counts = {v: read_counts(endpoints[v]) for v in step.counts}
    except (PlatformError, KeyError) as err:
        return Verdict((not_measured("service", f"a version does not answer: {err}"),))
    now = {v: counts[v].since(step.counts[v]) for v in counts}
    champion = rollout.champion or ""
    adverse = workspace.project.actions.positive
    last = not held and served.num_rows >= needed
    found = analyse(
        now[rollout.challenger],
        now.get(champion),
        served["score"].to_numpy(),
        sum(action == adverse for action in served["action"].to_pylist()),
        _limits(workspace, rollout.challenger, needed),
        champion_so_far=counts[champion].total if champion in counts else None,
        look=looks.count(last=last),
        last=last,
    )
    return Verdict(tuple(found))


def _limits(workspace: Workspace, version: str, needed: int) -> Limits:
    plan = workspace.project.release
    expected = float(read_bundle(workspace.bundle(version)).profile["alert_rate"])
    alerts = min(1.0, max(expected, 0.01) * plan.max_alert_ratio)
    return Limits(needed, plan.max_error_share, plan.max_slow_share, alerts, plan.error_rate)


def _ready(workspace: Workspace, version: str) -> Finding:
    endpoint = workspace.runtime.endpoints().get(version)
    if endpoint is None:
        return not_measured("service", f"{version} is not running")
    return Finding("service", Outcome.PASSED, None, None, "", 1, None, f"{version} is ready")


def settle(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Bring everything to where a release ended: alias, processes, and last the ledger.

    Killed anywhere, it is done again from its start and changes nothing twice.

    Raises:
        PlatformError: The losing version does not stop.
    """
    promoted = rollout.stage == Stage.PROMOTED
    if promoted:
        workspace.registry.point(CHAMPION, rollout.challenger)
    workspace.registry.point(CHALLENGER, None)
    loser = rollout.champion if promoted else rollout.challenger
    if loser is not None:
        workspace.runtime.stop(loser)
    kind = "promoted" if promoted else "rolled_back"
    evidence = _evidence(workspace, rollout, verdict.to_dict())
    subject = f"{workspace.project.name}/{rollout.challenger}"
    workspace.state.settle_release(rollout, workspace.clock.now(), kind, subject, evidence)


def record_step(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Write a step and the evidence that led to it."""
    _record(workspace, rollout, "release_step", verdict.to_dict())


def _record(workspace: Workspace, rollout: Rollout, kind: str, evidence: dict[str, object]) -> None:
    workspace.state.record(
        workspace.clock.now(),
        kind,
        f"{workspace.project.name}/{rollout.challenger}",
        _evidence(workspace, rollout, evidence),
    )


def _evidence(
    workspace: Workspace, rollout: Rollout, evidence: dict[str, object]
) -> dict[str, object]:
    return {
        "stage": rollout.label,
        "champion": rollout.champion,
        "cause": rollout.cause,
        "run": rollout.run,
        "reason": rollout.reason,
        "runtime": workspace.runtime.kind,
        "evidence": evidence,
    }
