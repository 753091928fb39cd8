"""The fairness gate on every protected column and on their crossing."""

from __future__ import annotations

from setpoint.domain.findings import Finding
from setpoint.stages.gates.case import Case
from setpoint.stages.groups import candidate_error_rate, groups_beside


def fairness_findings(case: Case) -> list[Finding]:
    """The declared ratios between the groups of the rows that judge."""
    project = case.workspace.project
    return groups_beside(project, case.judged, case.rows.columns, candidate_error_rate(project))
