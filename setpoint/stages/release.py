"""Walk a release: make production what the plan says, judge each step on real traffic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import numpy as np
import pyarrow as pa

from setpoint.adapters.mlflow_registry import CHALLENGER, CHAMPION
from setpoint.adapters.scoring_metrics import ServiceCounts, read_counts
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import (
    Finding,
    Outcome,
    Verdict,
    check_value,
    not_measured,
    proportion_bounds,
    watch_ceiling,
)
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import PlatformError
from setpoint.ports import DecisionQuery, TrafficPlan
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


def begin(workspace: Workspace, version: str) -> Rollout:
    """Start the release of a version, or find the one that a killed run left."""
    known = workspace.state.release(version)
    if known is not None and not known.ended:
        return known
    plan = workspace.project.release
    rollout = Rollout(
        challenger=version,
        champion=workspace.registry.version_of(CHAMPION),
        steps=plan.steps,
        shadowing=plan.shadow_requests > 0,
    )
    workspace.state.save_release(rollout)
    workspace.registry.point(CHALLENGER, version)
    _record(workspace, rollout, "release_started", {})
    return rollout


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
        seed_online_store(workspace)
    for version in serving:
        runtime.start(version, workspace.bundle(version))
    running = runtime.endpoints()
    weights = {v: w for v, w in rollout.weights().items() if v in serving}
    shadow = rollout.challenger if rollout.stage == Stage.SHADOW else None
    plan = TrafficPlan(f"{rollout.challenger}-{uuid4().hex[:8]}", weights, serving[0], shadow)
    workspace.state.remember(f"plan:{plan.id}", json.dumps(weights))
    workspace.router.apply(plan, {v: running[v] for v in serving})
    counts = {v: read_counts(running[v]) for v in serving}
    return Step(rollout, workspace.clock.now(), counts)


def planned(workspace: Workspace, plan: str) -> set[str]:
    """Versions that may answer under a traffic plan; empty for one that never was."""
    return set(json.loads(workspace.state.recall(f"plan:{plan}") or "{}"))


def _serving(rollout: Rollout) -> list[str]:
    """Versions that must run now, the one that takes over from a failing one first."""
    if rollout.stage == Stage.PROMOTED:
        return [rollout.challenger]
    if rollout.stage == Stage.ROLLED_BACK:
        return [rollout.champion] if rollout.champion else []
    return [v for v in (rollout.champion, rollout.challenger) if v is not None]


def seed_online_store(workspace: Workspace) -> None:
    """Give the online store the past that its windows reach back to; once."""
    import sqlite3
    from contextlib import closing

    from setpoint.adapters.sqlite_online import SqliteOnlineStore
    from setpoint.stages.assemble import history

    if workspace.state.recall("online_seeded"):
        return
    spec = workspace.project.feature_spec()
    known = history(workspace)
    with closing(sqlite3.connect(workspace.live_store, isolation_level=None)) as db:
        SqliteOnlineStore(db, spec).seed(known.events, known.labels)
    workspace.state.remember("online_seeded", known.now.isoformat())


def judge_step(workspace: Workspace, step: Step) -> Verdict:
    """Judge the present step on the traffic since it began.

    Raises:
        StateError: The clock of a replay was never set.
    """
    rollout, plan = step.rollout, workspace.project.release
    if rollout.champion is None and rollout.stage == Stage.PENDING:
        return Verdict((_ready(workspace, rollout.challenger),))
    shadow = rollout.stage == Stage.SHADOW
    needed = plan.shadow_requests if shadow else plan.step_requests
    served = workspace.decisions.read(
        DecisionQuery(start=step.since, version=rollout.challenger, shadow=shadow)
    )
    if rollout.stage == Stage.PENDING:
        return Verdict((_ready(workspace, rollout.challenger),))
    n = served.num_rows
    found = [_enough(n, needed)]
    try:
        endpoints = workspace.runtime.endpoints()
        now = {v: read_counts(endpoints[v]) - step.counts[v] for v in step.counts}
    except (PlatformError, KeyError) as err:
        return Verdict((*found, not_measured("service", f"{rollout.challenger}: {err}")))
    found.append(_errors(workspace, now[rollout.challenger]))
    champion = now.get(rollout.champion or "")
    found.append(_latency(workspace, now[rollout.challenger], champion))
    found += _decisions(workspace, rollout.challenger, served)
    return Verdict(tuple(found))


def _enough(n: int, needed: int) -> Finding:
    outcome = Outcome.PASSED if n >= needed else Outcome.INCONCLUSIVE
    return Finding("requests", outcome, n, needed, "floor", n, None, f"{n} of {needed} requests")


def _ready(workspace: Workspace, version: str) -> Finding:
    endpoint = workspace.runtime.endpoints().get(version)
    if endpoint is None:
        return not_measured("service", f"{version} is not running")
    return Finding("service", Outcome.PASSED, None, None, "", 1, None, f"{version} is ready")


def _errors(workspace: Workspace, counts: ServiceCounts) -> Finding:
    plan = workspace.project.release
    return watch_ceiling(
        "failed_answers", counts.failed, counts.requests, plan.max_error_share, plan.error_rate, 1
    )


def _latency(
    workspace: Workspace, challenger: ServiceCounts, champion: ServiceCounts | None
) -> Finding:
    """Share of slow answers: a breach needs proof, and proof that the champion is faster."""
    plan = workspace.project.release
    found = watch_ceiling(
        "slow_answers",
        challenger.slow,
        challenger.requests,
        plan.max_slow_share,
        plan.error_rate,
        1,
    )
    if found.outcome != Outcome.FAILED or champion is None or champion.requests == 0:
        return found
    _, high = proportion_bounds(champion.slow, champion.requests, plan.error_rate)
    low, _ = proportion_bounds(challenger.slow, challenger.requests, plan.error_rate)
    if low > high:
        return found
    reason = (
        f"{challenger.slow} of {challenger.requests} slower than 50 ms, the "
        f"champion {champion.slow} of {champion.requests} in the same period: not the challenger's"
    )
    return Finding("slow_answers", Outcome.PASSED, found.value, 0.01, "ceiling",
                   challenger.requests, plan.error_rate, reason, found.interval)  # fmt: skip


def _decisions(workspace: Workspace, version: str, served: pa.Table) -> list[Finding]:
    plan = workspace.project.release
    n = served.num_rows
    if n == 0:
        return [not_measured("alert_rate", "no decisions yet", outcome=Outcome.INCONCLUSIVE)]
    score = served["score"].to_numpy()
    unsound = int(np.sum(~np.isfinite(score) | (score < 0) | (score > 1)))
    sound = check_value("unsound_scores", float(unsound), 0.0, "ceiling", sample=n)
    expected = float(read_bundle(workspace.bundle(version)).profile["alert_rate"])
    limit = min(1.0, max(expected, 0.01) * plan.max_alert_ratio)
    adverse = workspace.project.actions.positive
    alerts = sum(action == adverse for action in served["action"].to_pylist())
    return [sound, watch_ceiling("alert_rate", alerts, n, limit, plan.error_rate, 1)]


def settle(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Write how a release ended: alias, ledger; stop the version that lost.

    Raises:
        PlatformError: The losing version does not stop.
    """
    promoted = rollout.stage == Stage.PROMOTED
    if promoted:
        workspace.registry.point(CHAMPION, rollout.challenger)
    workspace.registry.point(CHALLENGER, None)
    workspace.state.save_release(rollout)
    kind = "promoted" if promoted else "rolled_back"
    _record(workspace, rollout, kind, verdict.to_dict())
    loser = rollout.champion if promoted else rollout.challenger
    if loser is not None:
        workspace.runtime.stop(loser)


def record_step(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Write a step and the evidence that led to it."""
    _record(workspace, rollout, "release_step", verdict.to_dict())


def _record(workspace: Workspace, rollout: Rollout, kind: str, evidence: dict[str, object]) -> None:
    workspace.state.record(
        workspace.clock.now(),
        kind,
        f"{workspace.project.name}/{rollout.challenger}",
        {
            "stage": rollout.label,
            "champion": rollout.champion,
            "reason": rollout.reason,
            "runtime": workspace.runtime.kind,
            "evidence": evidence,
        },
    )
