"""From new data to a version in service: ingest, train, gates, image, release."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from prefect import flow, runtime
from prefect.client.schemas.objects import State, StateType

from flows.release import walk
from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.rollout import Stage
from setpoint.stages import access, mitigate, triggers
from setpoint.stages.ingest import Ingested
from setpoint.stages.publish import Candidate
from setpoint.stages.train import Training
from setpoint.workspace import Workspace, open_workspace
from tasks import approving, data, gates, training


@dataclass(frozen=True)
class Delivery:
    """How a delivery ended: the candidate, its verdict, and where its release is.

    Attributes:
        stage: Promoted, rolled back or held, for approval too; ``None`` where no gate opened.
    """

    candidate: Candidate
    verdict: Verdict
    stage: Stage | None
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether the candidate serves now."""
        return self.stage == Stage.PROMOTED


def deliver_once(workspace: Workspace, cause: str, since: datetime | None = None) -> Delivery:
    """The pipeline, as part of whatever flow calls it; judged on rows from ``since`` on."""
    access.check_service(workspace, "train", "deliver")
    snapshot = data.take_in(workspace)
    with triggers.learning(workspace, snapshot, str(runtime.flow_run.id)):
        best = _candidate(workspace, snapshot, cause, since)
    candidate, verdict = best.candidate, best.verdict
    if verdict.outcome != Outcome.PASSED:
        return Delivery(candidate, verdict, None, best.reason)
    training.build_image(workspace, candidate)
    if approving.ask(workspace, candidate, cause) is not None:
        told = f"it waits for approval: setpoint approve {candidate.version} --note WHY"
        return Delivery(candidate, verdict, Stage.HELD, told)
    ended = walk(workspace, candidate.version, cause)
    return Delivery(candidate, verdict, ended.stage, ended.reason)


def _candidate(
    workspace: Workspace, snapshot: Ingested, cause: str, since: datetime | None
) -> mitigate.Judged:
    """Trained and judged; a fairer one where only that was missing."""
    rows, known = training.assemble(workspace, None, snapshot)
    trained = training.fit(workspace, rows, known, since)
    candidate = training.publish(workspace, trained, snapshot, cause)
    training.prepare_fallback(workspace, trained, snapshot)

    def judged(one: Training, made: Candidate) -> mitigate.Judged:
        return mitigate.Judged(one, made, gates.run_gates(workspace, made, one, cause))

    return mitigate.until_fair(
        workspace,
        judged(trained, candidate),
        partial(training.mitigate, workspace.project),
        lambda one: judged(one, training.publish(workspace, one, snapshot, cause)),
    )


@flow(name="deliver", persist_result=False)
def deliver(cause: str = "manual") -> State[None]:
    """Train on all that is known and release what is better.

    Ends *Refused* where a gate did not open or the release was rolled back, *NeedsPerson* where the
    release is held.

    Args:
        cause: Why: ``first``, ``manual``, ``schedule``, or what ``triggers.due`` names; of these
            one that has been answered meanwhile ends *Completed* with nothing done.
    """
    workspace = open_workspace()
    access.check_service(workspace, "train", "deliver")  # before a trigger is used up
    start = triggers.take(workspace, cause)
    if start is None:
        return State(type=StateType.COMPLETED, message=f"{cause}: answered meanwhile")
    done = deliver_once(workspace, cause, start.since)
    version = done.candidate.version
    if done.promoted:
        return State(type=StateType.COMPLETED, name="Promoted", message=f"{version} is in service")
    name = "NeedsPerson" if done.stage == Stage.HELD else "Refused"
    return State(type=StateType.FAILED, name=name, message=f"{version}: {done.reason}")
