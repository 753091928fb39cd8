"""The fairness gate on every protected column."""

from __future__ import annotations

from setpoint.adapters.fairlearn_groups import group_rates
from setpoint.domain.findings import Finding
from setpoint.domain.gates.fairness import fairness_gate
from setpoint.stages.gates.case import Case


def fairness_findings(case: Case) -> list[Finding]:
    """The declared ratio between the groups of each protected column."""
    project, rows, judged = case.workspace.project, case.rows, case.judged
    rule = project.gates.fairness
    return [
        fairness_gate(
            column,
            group_rates(judged.label, judged.acted, rows.columns[column], rule.metric),
            floor=rule.floor,
            min_group=rule.min_group,
        )
        for column in project.data.protected
    ]
