"""The declared setpoints, and what a candidate shows of them."""

from __future__ import annotations

from setpoint.domain.findings import Finding
from setpoint.domain.gates.setpoints import Target, performance_gate
from setpoint.stages.gates.case import Case
from setpoint.workspace import Workspace


def targets(workspace: Workspace) -> list[Target]:
    """The declared setpoints."""
    return [
        Target(
            name,
            s.metric,
            "floor" if s.floor is not None else "ceiling",
            s.floor if s.floor is not None else float(s.ceiling or 0.0),
        )
        for name, s in workspace.project.setpoints.items()
    ]


def performance_findings(case: Case) -> list[Finding]:
    """Every declared setpoint."""
    rule = case.workspace.project.gates
    return performance_gate(
        targets(case.workspace),
        case.judged,
        error_rate=rule.setpoint_error_rate,
        min_sample=rule.min_sample,
    )
