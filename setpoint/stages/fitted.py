"""A model of given parameters from the rows of a split: what a rebuild makes again."""

from __future__ import annotations

from dataclasses import replace

from setpoint.config import Project
from setpoint.domain.hardening import harden
from setpoint.domain.split import Split
from setpoint.domain.training import Parameters, TrainedModel, finish, fit_pipeline
from setpoint.errors import TrainingError
from setpoint.stages.groups import fair_for_groups
from setpoint.stages.reach import reaches


def fitted(project: Project, split: Split, parameters: Parameters) -> TrainedModel:
    """Fit, calibrate, choose the threshold, with all that the project file adds.

    Raises:
        TrainingError: The threshold is to be fair, and none is.
    """
    costs = project.costs.matrix()
    model = finish(fit_pipeline(split.fit, parameters), parameters, split.tune, costs)
    model = hardened(project, model, split)
    return fairly_decided(project, model, split) if parameters.fair else model


def hardened(project: Project, model: TrainedModel, split: Split) -> TrainedModel:
    """The model trained again with disguised positives, where the project file says so."""
    return harden(
        model,
        split.fit,
        split.tune,
        project.costs.matrix(),
        reaches(project, split.fit),
        budget=project.gates.robustness.budget,
        share=project.train.adversarial,
    )


def fairly_decided(project: Project, model: TrainedModel, split: Split) -> TrainedModel:
    """The same scores, acted on from the cheapest threshold at which the declared ratios hold.

    Costs are those of the rows as they are, none of them disguised.

    Raises:
        TrainingError: There is no such threshold; says which ratio holds at how many.
    """
    found = fair_for_groups(project, model, split)
    if found.threshold is None:
        told = ", ".join(f"{name} at {n}" for name, n in found.held.items())
        raise TrainingError(
            f"no threshold is expected to pass the fairness gate: of {found.tried} on "
            f"{len(split.tune)} rows that tune, {told} is proven to hold "
            f"{project.gates.fairness.floor:g}, and all of it together at none",
            where="gates.fairness",
            fix="train on other inputs or more rows, or declare the metric and floor that is meant",
        )
    parameters = replace(model.parameters, fair=True)
    return replace(model, threshold=found.threshold, parameters=parameters)


def mitigation(project: Project, parameters: Parameters) -> str:
    """What was done for the groups, in words; empty where nothing was."""
    rule, told = project.gates.fairness, []
    if parameters.balance:
        told.append(f"reweighed by {', '.join(parameters.balance)}")
    if parameters.fair:
        told.append(f"threshold at which {', '.join(rule.metric)} holds {rule.floor:g}")
    return "; ".join(told)
