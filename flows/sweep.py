"""Find incidents and releases that a lost event or a killed run has left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State, StateType

from setpoint.domain.findings import Verdict
from setpoint.domain.rollout import Stage
from setpoint.errors import SetpointError
from setpoint.stages import (
    approval,
    online,
    oversight,
    refusals,
    release,
    retention,
    sealing,
    triggers,
)
from setpoint.stages import respond as stage
from setpoint.workspace import Workspace, open_workspace
from tasks import approving, notifying, releasing, watching
from tasks.runs import is_dead, was_killed


@flow(name="sweep", persist_result=False)
def sweep() -> State[None]:
    """Put stops in force that the traffic does not follow, have releases walked on whose run died,
    open again what a dead run had taken up, count labels again whose training was killed, tell of
    everything that waits, drop events and decisions that are kept no longer, tell the ledger what
    services refused, let incidents climb that nobody looks after, tell people of them and seal the
    ledger.

    One that fails keeps none of the others from being done; the run fails at its end.
    """
    workspace = open_workspace()
    broken = []
    for chore in _chores(workspace):
        try:
            chore()
        except SetpointError as err:
            broken.append(str(err))
    if broken:
        return State(type=StateType.FAILED, message="; ".join(broken))
    waiting = stage.waiting(workspace, workspace.clock.now())
    return State(type=StateType.COMPLETED, message=f"{len(waiting)} incidents wait")


def _chores(workspace: Workspace) -> Iterator[Callable[[], object]]:
    yield partial(oversight.enforce, workspace)
    for rollout in workspace.state.unsettled_releases():
        if not is_dead(rollout.run):
            continue
        if rollout.stage != Stage.HELD:
            yield partial(releasing.take_up, workspace, rollout)
        elif not release.is_held(workspace, rollout):
            yield partial(releasing.hold, workspace, rollout, Verdict())
    for incident in stage.taken(workspace):
        if is_dead(incident.taken_by):
            yield partial(stage.left_behind, workspace, incident)
    wall = datetime.now(UTC)
    yield partial(approval.expire, workspace, wall)
    for request in approval.approved(workspace, wall):
        yield partial(approving.start_release, workspace, request)
    now = workspace.clock.now()
    for incident in stage.waiting(workspace, now):
        yield partial(watching.emit, workspace, incident)
    yield partial(triggers.given_back, workspace, was_killed)
    yield partial(watching.tell_due, workspace, now, again=True)
    yield partial(online.forget, workspace, now)
    yield partial(retention.forget, workspace, now)
    yield partial(refusals.tell, workspace, now)
    yield partial(watching.watch_the_watchers, workspace, now, "sweep")
    # last: of what the others did, too
    yield partial(notifying.notify, workspace)
    yield partial(sealing.seal, workspace, now)
