"""Find incidents and releases that a lost event or a killed run has left behind."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State, StateType

from setpoint.stages import online, retention
from setpoint.stages import respond as stage
from setpoint.workspace import open_workspace
from tasks import releasing, watching
from tasks.runs import is_dead


@flow(name="sweep", persist_result=False)
def sweep() -> State[None]:
    """Have releases walked on whose run died, open again what a dead run had taken up, tell of
    everything that waits, and drop events and decisions that are kept no longer.
    """
    workspace = open_workspace()
    for rollout in workspace.state.unsettled_releases():
        if is_dead(rollout.run):
            releasing.take_up(workspace, rollout)
    for incident in stage.taken(workspace):
        if is_dead(incident.taken_by):
            stage.left_behind(workspace, incident)
    now = workspace.clock.now()
    online.forget(workspace, now)
    retention.forget(workspace, now)
    waiting = stage.waiting(workspace, now)
    for incident in waiting:
        watching.emit(workspace, incident)
    return State(type=StateType.COMPLETED, message=f"{len(waiting)} incidents wait")
