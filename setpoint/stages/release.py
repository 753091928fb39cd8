"""Walk a release: make production what the plan says, and bring it to its end.

How a step is judged is in ``judging``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from setpoint.adapters.mlflow_registry import CHALLENGER, CHAMPION, GATED_AGAINST, NOBODY
from setpoint.adapters.scoring_metrics import ServiceCounts, read_counts
from setpoint.domain.findings import Verdict
from setpoint.domain.rollout import Rollout, Stage, Step, plan
from setpoint.errors import ReleaseError
from setpoint.ports import TrafficPlan
from setpoint.stages import approval, online
from setpoint.stages.oversight import objection
from setpoint.stages.signed import check_signed
from setpoint.stages.traffic import plan_id, start, steer, stops
from setpoint.workspace import Workspace

DRILL = "drill"
"""Cause of a rehearsed roll-back."""


@dataclass(frozen=True)
class Begun:
    """The start of a step: what is compared with its end.

    Attributes:
        rollout: Where the release is.
        since: Event time at which the step began.
        counts: Counters of each running version at that moment.
    """

    rollout: Rollout
    since: datetime
    counts: dict[str, ServiceCounts]


def begin(
    workspace: Workspace,
    version: str,
    cause: str,
    run: str,
    instead_of: str | None = None,
    *,
    rule: bool = False,
) -> Rollout:
    """Start the release of a version, or take over the one that a killed run left.

    Args:
        workspace: The project.
        version: The challenger.
        cause: What the release answers: an incident's id, ``first``, ``manual`` ...
        run: Id of the run that walks it.
        instead_of: The champion that a former version or the rule takes over from; none: a new
            version, which goes through the project's plan.
        rule: Whether the version is the fallback rule.

    Raises:
        ReleaseError: Another version is being released, this one is in service already, nobody has
            approved it, or a person has stopped it.
        StateError: It is not known what is in service.
        BundleError: No trusted key signed the bundle as it lies there; nothing was begun.
    """
    policy = workspace.project.release
    steps = plan(
        policy.strategy,
        shadowing=policy.shadow_requests > 0,
        steps=policy.steps,
        share=policy.experiment.share,
    )
    champion = workspace.champion()
    fresh = Rollout(challenger=version, champion=champion, plan=steps, cause=cause, run=run)
    if instead_of is not None:
        fresh = replace(fresh, champion=instead_of, plan=(), back=True, rule=rule)
    return _take_up(workspace, fresh)


def begin_drill(workspace: Workspace, version: str, run: str) -> Rollout:
    """Start to rehearse a roll-back: a version that served before, at the smallest share.

    Args:
        workspace: The project.
        version: The former version.
        run: Id of the run that walks it.

    Raises:
        ReleaseError, StateError, BundleError: As for ``begin``.
    """
    step = Step(Stage.CANARY, min(workspace.project.release.steps))
    champion = workspace.champion()
    return _take_up(
        workspace, Rollout(version, champion, (step,), cause=DRILL, run=run, drill=True)
    )


def _take_up(workspace: Workspace, fresh: Rollout) -> Rollout:
    """Begin a release, or go on with the one of this version that is under way."""
    version = fresh.challenger
    known = workspace.state.release(version)
    if workspace.champion() == version and (known is None or known.settled):
        raise ReleaseError(
            f"{version} is in service already",
            where=f"release of {version}",
            fix="release another version",
        )
    if known is None or known.settled:
        _heed_people(workspace, version, new=not (fresh.back or fresh.drill))
    if not workspace.state.unsettled_releases():  # else one is taken over, or this one is refused
        check_signed(workspace, version)
    rollout, new = workspace.state.begin_release(fresh)
    if new:
        _check_champion(workspace, rollout)
    if not rollout.ended:
        workspace.registry.point(CHALLENGER, version)
    if new:
        walked = [step.label for step in rollout.plan]
        strategy = _special(rollout) or workspace.project.release.strategy
        _record(workspace, rollout, "release_started", {"strategy": strategy, "plan": walked})
    return rollout


def _heed_people(workspace: Workspace, version: str, *, new: bool) -> None:
    """Refuse what a person has stopped, and what is new and nobody has approved.

    Raises:
        ReleaseError: It is so.
    """
    objected = objection(workspace, version)
    if not objected and new:
        objected = approval.objection(workspace, version, datetime.now(UTC))
    if objected:
        raise ReleaseError(
            objected,
            where=f"release of {version}",
            fix="'setpoint approve' or 'setpoint resume' gives it free; then release it again",
        )


def _special(rollout: Rollout) -> str:
    """What it is, where that is no strategy of the project file."""
    if rollout.drill:
        return DRILL
    if rollout.rule:
        return "fallback"
    return "roll_back" if rollout.back else ""


def _check_champion(workspace: Workspace, rollout: Rollout) -> None:
    """Give a release up at once that its gates, or who rolls back, did not see coming.

    Raises:
        ReleaseError: It was held against another champion than the one it would replace.
    """
    tags = workspace.registry.tags(rollout.challenger)
    served = rollout.back or rollout.drill
    gated = rollout.champion if served else tags.get(GATED_AGAINST)
    champion = workspace.champion()
    if champion == rollout.champion and gated == (champion or NOBODY):
        return
    compared = "it was to replace" if served else "its gates compared it with"
    reason = f"{compared} {gated or 'nobody known'}, in service is {champion}"
    settle(workspace, rollout.roll_back(reason), Verdict())
    raise ReleaseError(
        reason,
        where=f"release of {rollout.challenger}",
        fix="train again: 'setpoint deliver' compares with what is in service",
    )


def enact(workspace: Workspace, rollout: Rollout) -> Begun:
    """Make production what the release's state says.

    The state is written first, so a killed run is resumed here: both versions running, then the
    traffic plan. Doing it again changes nothing.

    Raises:
        PlatformError: A version does not start.
        ReleaseError: The gateway does not take the plan.
    """
    rollout = rollout.began(workspace.clock.now())
    workspace.state.save_release(rollout)
    serving = _serving(rollout)
    if not serving:
        return Begun(rollout, workspace.clock.now(), {})
    if rollout.champion is None:
        online.seed(workspace)
    for version in serving:
        start(workspace, version)
    if rollout.back and rollout.walking:
        # Traffic moves once, when it is ready: the champion may not answer any more.
        return Begun(rollout, workspace.clock.now(), {})
    weights = {v: w for v, w in rollout.weights().items() if v in serving}
    shadow = rollout.challenger if rollout.stage == Stage.SHADOW else None
    traffic = TrafficPlan(
        plan_id(rollout.challenger),
        weights,
        serving[0],
        shadow,
        first_entity(rollout.challenger),
    )
    steer(workspace, traffic)
    running = workspace.runtime.endpoints()
    counts = {v: read_counts(running[v]) for v in serving} if rollout.walking else {}
    return Begun(rollout, workspace.clock.now(), counts)


def first_entity(challenger: str) -> int:
    """Where in the order of entities a challenger's share begins, percent.

    Another place for each release: nobody is always among the first who meet a new version.
    """
    return int.from_bytes(hashlib.sha256(challenger.encode()).digest()[:8]) % 100


def _serving(rollout: Rollout) -> list[str]:
    """Versions that must run now, the one that takes over from a failing one first."""
    if rollout.stage == Stage.PROMOTED:
        return [rollout.challenger]
    if rollout.stage == Stage.ROLLED_BACK:
        return [rollout.champion] if rollout.champion else []
    return [v for v in (rollout.champion, rollout.challenger) if v is not None]


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
    if loser is not None and loser not in {one.stand_in for one in stops(workspace)}:
        workspace.runtime.stop(loser)
    evidence = _evidence(workspace, rollout, verdict.to_dict())
    subject = f"{workspace.project.name}/{rollout.challenger}"
    workspace.state.settle_release(rollout, workspace.clock.now(), rollout.entry, subject, evidence)


def record_step(
    workspace: Workspace, rollout: Rollout, verdict: Verdict, looks: Mapping[str, str]
) -> None:
    """Write a step and the evidence that led to it.

    Args:
        workspace: The project.
        rollout: The step.
        verdict: What was found.
        looks: Wall time of the deciding look and of the one before.
    """
    _record(workspace, rollout, "release_step", {**verdict.to_dict(), **looks})


def hold(workspace: Workspace, rollout: Rollout, verdict: Verdict) -> None:
    """Leave a release to a person: the champion has all traffic, the challenger stands by.

    Raises:
        PlatformError, ReleaseError: As for ``enact``.
    """
    enact(workspace, rollout)
    _record(workspace, rollout, "release_held", verdict.to_dict())
    workspace.state.remember(_held(rollout), rollout.label)


def is_held(workspace: Workspace, rollout: Rollout) -> bool:
    """Whether a held release was enacted as such; a run that was killed before leaves it not."""
    return workspace.state.recall(_held(rollout)) == rollout.label


def _held(rollout: Rollout) -> str:
    return f"held:{rollout.challenger}"


def answer(workspace: Workspace, version: str, who: str, note: str, *, promote: bool) -> Rollout:
    """A person's word on a release that is held; the next sweep has it walked on.

    Args:
        workspace: The project.
        version: The challenger.
        who: The person.
        note: Why, in the person's words.
        promote: Go on with the step after the one it was held at, instead of rolling back.

    Raises:
        ReleaseError: There is no such release, or it is not held.
    """
    known = workspace.state.release(version)
    if known is None:
        raise ReleaseError(
            f"{version} was never released",
            where="release",
            fix="'setpoint status' shows what is being released",
        )
    reason = f"{who}: {note}"
    told = known.answered(promote=promote, reason=reason)
    workspace.state.remember(_held(known), "")
    word = "promote" if promote else "roll back"
    evidence = {"person": who, "answer": word, "note": note, "was": known.label}
    subject = f"{workspace.project.name}/{version}"
    workspace.state.answer_release(told, workspace.clock.now(), subject, evidence)
    return told


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
