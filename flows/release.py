"""Shadow, canary, promotion or roll-back of one version."""

from __future__ import annotations

from prefect import flow, runtime
from prefect.client.schemas.objects import State, StateType

from setpoint.domain.findings import Verdict
from setpoint.domain.rollout import Rollout, Stage
from setpoint.stages import access, approval, respond
from setpoint.stages import release as stage
from setpoint.workspace import Workspace, open_workspace
from tasks import releasing
from tasks.runs import is_dead


def walk(
    workspace: Workspace,
    version: str,
    cause: str,
    instead_of: str | None = None,
    *,
    rule: bool = False,
) -> Rollout:
    """Walk a release to its end, or to where a person is asked, from wherever it was left."""
    access.check_service(workspace, "release", "release")
    run = str(runtime.flow_run.id)
    return walk_on(workspace, stage.begin(workspace, version, cause, run, instead_of, rule=rule))


def walk_on(workspace: Workspace, rollout: Rollout) -> Rollout:
    """Walk a release that was begun."""
    verdict = Verdict()
    while rollout.walking:
        rollout, verdict = releasing.take_step(workspace, rollout)
    end = releasing.settle if rollout.ended else releasing.hold
    end(workspace, rollout, verdict)
    return rollout


def _cause(workspace: Workspace, version: str) -> str:
    """What the delivery said that waited for approval."""
    if not workspace.project.asks_people:
        return "manual"
    return approval.request_of(workspace, version).cause


@flow(name="release", persist_result=False)
def release(version: str) -> State[None]:
    """Release a version that its gates accepted, or go on with a release whose run was killed.

    Args:
        version: ``v1``, ``v2`` ...
    """
    workspace = open_workspace()
    outcome = workspace.registry.tags(version).get("gates")
    if outcome != "passed":
        reason = f"gates of {version}: {outcome or 'never run'}; only passed is released"
        return State(type=StateType.FAILED, name="Refused", message=reason)
    known = workspace.state.release(version)
    if known is not None and known.stage == Stage.HELD:
        return State(type=StateType.FAILED, name="NeedsPerson", message=known.reason)
    mine = known is not None and known.run == str(runtime.flow_run.id)
    if known is not None and not known.settled and not mine and not is_dead(known.run):
        return State(type=StateType.COMPLETED, message=f"run {known.run} is releasing {version}")
    ended = walk(workspace, version, _cause(workspace, version))
    respond.after_release(workspace, ended)
    if ended.stage == Stage.PROMOTED:
        return State(type=StateType.COMPLETED, name="Promoted", message=f"{version} is in service")
    name = "NeedsPerson" if ended.stage == Stage.HELD else "RolledBack"
    return State(type=StateType.FAILED, name=name, message=ended.reason)
