"""Further candidates where fairness alone refuses the first, so that a refusal is no dead end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from setpoint.config import Project
from setpoint.config.gates import Mitigation
from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.incidents import Cause, cause_of
from setpoint.errors import TrainingError
from setpoint.stages.fitted import fairly_decided, fitted
from setpoint.stages.gates.rebuild import REBUILD
from setpoint.stages.publish import Candidate
from setpoint.stages.train import Training
from setpoint.workspace import Workspace

IMPOSSIBLE = "not_mitigated"
"""Kind of the ledger entry, and tag of the version, that a mitigation was not possible."""


@dataclass(frozen=True)
class Judged:
    """A candidate with how it was trained and what the gates said.

    Attributes:
        impossible: What could not be tried after it, and why; empty: nothing.
    """

    training: Training
    candidate: Candidate
    verdict: Verdict
    impossible: str = ""

    @property
    def reason(self) -> str:
        """The verdict in a sentence, and what could not be done about it."""
        summary = self.verdict.summary()
        return f"{summary}; {self.impossible}" if self.impossible else summary


def unfair_alone(verdict: Verdict) -> bool:
    """Whether a group is proven to be treated worse, and every other gate is open.

    What else keeps a candidate back no mitigation cures.
    """
    # The rebuild is not run where another gate is short.
    short = [one for one in verdict if not one.passed and one.name != REBUILD]
    return any(finding.outcome == Outcome.FAILED for finding in short) and all(
        cause_of(finding) == Cause.FAIRNESS for finding in short
    )


def until_fair(
    workspace: Workspace,
    first: Judged,
    mitigate: Callable[[Training, Mitigation], Training],
    judge: Callable[[Training], Judged],
) -> Judged:
    """Try what the project file declares, in its order, until a candidate passes.

    Each begins with the newest candidate that fairness alone refused: a threshold is moved on
    reweighed scores, unless the reweighed model is short of something else.

    Args:
        workspace: The project.
        first: The candidate that nothing was done for.
        mitigate: ``mitigated``, as the caller runs it.
        judge: Publishes a training and asks its gates.

    Returns:
        The newest candidate; ``first`` where nothing is declared, or was possible.
    """
    newest = base = first
    for way in workspace.project.gates.fairness.mitigation if unfair_alone(first.verdict) else ():
        try:
            again = mitigate(base.training, way)
        except TrainingError as err:
            _tell(workspace, base.candidate, way, err.what)
            newest = replace(newest, impossible=err.what)
            continue
        newest = judge(again)
        if newest.verdict.passed:
            break
        if unfair_alone(newest.verdict):
            base = newest
    return newest


def mitigated(project: Project, training: Training, way: Mitigation) -> Training:
    """The same parameters and rows, and a model or a threshold that does better by the groups.

    Nothing is searched again, and no decision looks at the group. ``reweigh`` weighs the rows that
    train so that the label does not depend on the group; ``threshold`` leaves the scores as they
    are.

    Raises:
        TrainingError: No threshold is expected to be fair enough.
    """
    model, split = training.model, training.split
    if way == "threshold":
        return replace(training, model=fairly_decided(project, model, split))
    parameters = replace(model.parameters, balance=project.data.protected)
    return replace(training, model=fitted(project, split, parameters))


def _tell(workspace: Workspace, candidate: Candidate, way: Mitigation, why: str) -> None:
    workspace.state.record(
        workspace.clock.now(),
        IMPOSSIBLE,
        f"{workspace.project.name}/{candidate.version}",
        {"mitigation": way, "reason": why},
    )
    workspace.registry.tag(candidate.version, IMPOSSIBLE, f"{way}: {why}")
