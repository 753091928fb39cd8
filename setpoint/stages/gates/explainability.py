"""What drives the decisions of a candidate."""

from __future__ import annotations

from setpoint.adapters.shap_importance import global_importance
from setpoint.domain.findings import Finding
from setpoint.domain.gates.explainability import explainability_gate
from setpoint.stages.gates.case import Case


def explainability_findings(case: Case) -> list[Finding]:
    """Importance of each input by SHAP, on rows that judge."""
    project = case.workspace.project
    rule, spec = project.gates.explainability, project.feature_spec()
    shares, gap, explained = global_importance(case.training.model.pipeline, case.rows, spec.names)
    return explainability_gate(
        shares,
        gap,
        sample=explained,
        max_share=rule.max_share,
        forbidden=[name for name in spec.names if spec.sources(name) & set(rule.forbidden)],
        max_forbidden=rule.max_forbidden_share,
    )
