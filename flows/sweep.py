"""Find incidents that a lost event or a killed run has left behind."""

from __future__ import annotations

from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound

from setpoint.domain.findings import Verdict
from setpoint.domain.incidents import Status
from setpoint.stages import respond as stage
from setpoint.workspace import open_workspace
from tasks import releasing, watching


@flow(name="sweep", persist_result=False)
def sweep() -> State[None]:
    """Open again what a dead run had taken up, then tell of everything that waits."""
    workspace = open_workspace()
    for incident in workspace.state.incidents(only_open=True):
        if incident.status == Status.RESPONDING and _is_dead(incident.taken_by):
            for rollout in workspace.state.unfinished_releases():
                back = rollout.roll_back(f"its run {incident.taken_by} died")
                releasing.settle(workspace, back, Verdict())
            stage.failed(workspace, incident, f"run {incident.taken_by} died")
    waiting = stage.waiting(workspace, workspace.clock.now())
    for incident in waiting:
        watching.emit(workspace, incident)
    return State(type=StateType.COMPLETED, message=f"{len(waiting)} incidents wait")


def _is_dead(run: str) -> bool:
    """Whether a flow run has ended, or never was."""
    with get_client(sync_client=True) as client:
        try:
            found = client.read_flow_run(UUID(run))
        except ObjectNotFound:
            return True
    return found.state is not None and found.state.is_final()
