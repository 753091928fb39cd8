"""Look at what is in service; open incidents and say so."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State, StateType

from setpoint.stages import respond
from setpoint.stages import watch as stage
from setpoint.workspace import open_workspace
from tasks import notifying, watching


@flow(name="watch", persist_result=False)
def watch() -> State[None]:
    """Judge the newest window if one is due, and tell of every incident nobody has taken up."""
    workspace = open_workspace()
    now = workspace.clock.now()
    message = "no window is due"
    if stage.due(workspace, now):
        window = watching.look(workspace, now)
        message = "nothing is in service"
        if window is not None:
            found = watching.open_incidents(workspace, window)
            message = ", ".join(i.id for i, _ in found) or "within its setpoints"
    watching.watch_the_watchers(workspace, now, "watch")
    for incident in respond.waiting(workspace, now):
        watching.emit(workspace, incident)
    watching.tell_due(workspace, now, again=False)
    # Its state is kept and not raised: what a channel does not take is told by the next sweep.
    notifying.notify(workspace, return_state=True)
    return State(type=StateType.COMPLETED, message=message)
