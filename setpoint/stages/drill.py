"""A rehearsed roll-back: a former version is let in at the smallest share, and fails.

A roll-back that was never tried is a hope. The version that one would go to is started, answers a
few requests and is stopped under them; what the release makes of it is what it would make of any
version that fails. A roll-back to it would need that it still starts and answers.
"""

from __future__ import annotations

from datetime import UTC, datetime

from setpoint.adapters.scoring_metrics import read_counts
from setpoint.domain.findings import Verdict, check_value, not_measured
from setpoint.domain.incidents import Status
from setpoint.domain.rollout import Rollout, Stage, served_before
from setpoint.errors import PlatformError, ReleaseError
from setpoint.stages.release import DRILL, Begun
from setpoint.stages.roll_back import last_good
from setpoint.workspace import Workspace

FEWEST_ANSWERS = 3
"""Requests that the former version answers before it fails."""
MOST_SECONDS = 5.0
"""From the failure until nothing is sent to it any more: what a release promises of any version."""


def former(workspace: Workspace) -> str:
    """The version to rehearse with: where a roll-back would go, else the one that served last.

    Raises:
        ReleaseError: No version served before, or an incident or a release is under way.
        StateError: It is not known what is in service.
    """
    busy = [f"a release of {one.challenger}" for one in workspace.state.unsettled_releases()]
    waiting = workspace.state.incidents(only_open=True)
    busy += [f"a response to {one.id}" for one in waiting if one.status == Status.RESPONDING]
    champion = workspace.champion()
    if busy or champion is None:
        raise _none(f"{', '.join(busy)} is under way" if busy else "nothing is in service")
    try:
        return last_good(workspace, champion)
    except ReleaseError:
        served = served_before(workspace.state.promoted_releases(), champion)
    if not served:
        raise _none(f"no version served before {champion}")
    return served[0]


def forget(workspace: Workspace, version: str) -> None:
    """Drop what a drill left that was killed."""
    for fact in (_failed_at(version), _answered(version)):
        workspace.state.remember(fact, "")


def fail_under_traffic(workspace: Workspace, begun: Begun) -> None:
    """Stop the former version once it has answered; without effect before and after."""
    version, running = begun.rollout.challenger, workspace.runtime.endpoints()
    if begun.rollout.stage != Stage.CANARY or version not in running:
        return
    try:
        done = read_counts(running[version]).since(begun.counts[version])
    except PlatformError:
        return  # it fails on its own already, which the look that follows sees
    if done.requests < FEWEST_ANSWERS:
        return
    workspace.state.remember(_failed_at(version), datetime.now(UTC).isoformat())
    workspace.state.remember(_answered(version), str(done.requests))
    workspace.runtime.stop(version)


def conclude(workspace: Workspace, rollout: Rollout) -> Verdict:
    """Say what the drill showed, in the ledger too; to be called once traffic has left it."""
    version = rollout.challenger
    failed_at = workspace.state.recall(_failed_at(version))
    if failed_at:
        spent = (datetime.now(UTC) - datetime.fromisoformat(failed_at)).total_seconds()
        answered = int(workspace.state.recall(_answered(version)) or 0)
        verdict = Verdict(
            (
                check_value("answered", answered, FEWEST_ANSWERS, "floor", sample=answered),
                check_value("seconds_to_zero", spent, MOST_SECONDS, "ceiling", sample=1),
            )
        )
    else:
        reason = f"{version} did not fail under traffic: {rollout.reason}"
        verdict = Verdict((not_measured(DRILL, reason),))
    forget(workspace, version)
    evidence = {**verdict.to_dict(), "champion": rollout.champion, "run": rollout.run}
    subject = f"{workspace.project.name}/{version}"
    workspace.state.record(workspace.clock.now(), DRILL, subject, evidence)
    return verdict


def _failed_at(version: str) -> str:
    return f"drill:{version}:failed"


def _answered(version: str) -> str:
    return f"drill:{version}:answered"


def _none(reason: str) -> ReleaseError:
    return ReleaseError(
        f"no roll-back can be rehearsed: {reason}",
        where=DRILL,
        fix="release a second version first, or wait until what is under way has ended",
    )
