"""A second candidate where fairness alone refuses the first, so that a refusal is no dead end."""

from __future__ import annotations

from dataclasses import replace

from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.incidents import Cause, cause_of
from setpoint.domain.training import finish, fit_pipeline
from setpoint.stages.gates.rebuild import REBUILD
from setpoint.stages.train import Training
from setpoint.workspace import Workspace


def offered(workspace: Workspace, training: Training, verdict: Verdict) -> bool:
    """Whether the project file has a mitigation for this refusal.

    A group is proven to be treated worse, and every other gate is open: what else keeps a
    candidate back no mitigation cures. A candidate that is one already is offered no other.
    """
    # The rebuild is not run where another gate is short.
    short = [one for one in verdict if not one.passed and one.name != REBUILD]
    return (
        workspace.project.gates.fairness.mitigation == "reweigh"
        and not training.model.parameters.balance
        and any(finding.outcome == Outcome.FAILED for finding in short)
        and all(cause_of(finding) == Cause.FAIRNESS for finding in short)
    )


def reweighed(workspace: Workspace, training: Training) -> Training:
    """The same parameters and rows, weighted so that the label does not depend on the group.

    Nothing is searched again. Calibration and threshold are those of the rows as they are, and no
    decision looks at the group.
    """
    project = workspace.project
    parameters = replace(training.model.parameters, balance=project.data.protected)
    split = training.split
    pipeline = fit_pipeline(split.fit, parameters)
    model = finish(pipeline, parameters, split.tune, project.costs.matrix())
    return replace(training, model=model)
