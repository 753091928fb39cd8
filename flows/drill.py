"""Rehearse a roll-back on the real traffic."""

from __future__ import annotations

from prefect import flow, runtime
from prefect.client.schemas.objects import State, StateType

from flows.release import walk_on
from setpoint.domain.findings import Outcome
from setpoint.errors import ReleaseError
from setpoint.stages import access, release
from setpoint.stages import drill as stage
from setpoint.workspace import open_workspace
from tasks import show


@flow(name="drill", persist_result=False)
def drill() -> State[None]:
    """Let a former version in at the smallest share, fail it under traffic, and have it out again.

    Ends *Skipped* where no version served before or something else is under way, *NotShown* where
    the version did not start, had nothing to answer, or left too late.
    """
    workspace = open_workspace()
    access.check_service(workspace, "release", "drill")
    try:
        version = stage.former(workspace)
    except ReleaseError as err:
        return State(type=StateType.COMPLETED, name="Skipped", message=err.what)
    stage.forget(workspace, version)
    begun = release.begin_drill(workspace, version, str(runtime.flow_run.id))
    verdict = stage.conclude(workspace, walk_on(workspace, begun))
    show.verdict("drill", verdict, f"roll-back rehearsed with {version}")
    told = f"{version}: {verdict.summary()}"
    if verdict.outcome == Outcome.PASSED:
        return State(type=StateType.COMPLETED, name="Rehearsed", message=told)
    return State(type=StateType.FAILED, name="NotShown", message=told)
