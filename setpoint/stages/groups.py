"""Between which groups the project file has decisions compared, and what holds between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from setpoint.adapters.fairlearn_groups import group_rates
from setpoint.config import Project
from setpoint.domain.fair_threshold import FairThreshold, Ratio, fair_threshold
from setpoint.domain.findings import Finding
from setpoint.domain.gates.fairness import fairness_gate
from setpoint.domain.gates.judged import Judged
from setpoint.domain.groups import crossed
from setpoint.domain.split import Split
from setpoint.domain.training import TrainedModel


def compared(project: Project) -> list[tuple[tuple[str, ...], str]]:
    """What is compared: one protected column, or the crossing of all; and by which metric."""
    protected, rule = project.data.protected, project.gates.fairness
    parts: list[tuple[str, ...]] = [(column,) for column in protected]
    if rule.intersectional and len(protected) > 1:
        parts.append(protected)
    return [(part, metric) for part in parts for metric in rule.metric]


def groups_beside(
    project: Project,
    judged: Judged,
    columns: Mapping[str, npt.NDArray[Any]],
    error_rate: float,
) -> list[Finding]:
    """One finding for each of ``compared``.

    Args:
        project: Which columns and metrics, and the floor.
        judged: Rows as they were decided, [n].
        columns: Values of each protected column, [n] each.
        error_rate: Of each finding. All must pass, so it is the chance, too, that a model that is
            unfair by one of them passes all (intersection-union test, Berger 1982).
    """
    rule = project.gates.fairness
    return [
        fairness_gate(
            "_and_".join(part),
            group_rates(judged.label, judged.acted, crossed(columns, part), metric),
            floor=rule.floor,
            min_group=rule.min_group,
            error_rate=error_rate,
            metric=metric,
            small_groups=rule.small_groups,
        )
        for part, metric in compared(project)
    ]


def candidate_error_rate(project: Project) -> float:
    """Error rate at which the groups of one candidate are judged.

    A first candidate and each mitigation of it are judged on the same rows: they share the chance
    that one of them passes which is unfair (Bonferroni).
    """
    rule = project.gates
    return rule.setpoint_error_rate / (1 + len(rule.fairness.mitigation))


def fair_for_groups(project: Project, model: TrainedModel, split: Split) -> FairThreshold:
    """The cheapest threshold at which each of ``compared`` is expected to pass its gate."""
    rule, tune = project.gates.fairness, split.tune
    ratios = [
        Ratio(
            "_and_".join(part),
            crossed(tune.columns, part),
            metric,
            rule.floor,
            rule.min_group,
            rule.small_groups,
        )
        for part, metric in compared(project)
    ]
    return fair_threshold(
        model.scores(tune),
        tune.label,
        tune.priced(project.costs.matrix()),
        ratios,
        error_rate=candidate_error_rate(project),
        judged=len(split.judge),
    )
