"""Is the candidate worth its complexity, true to new rows, and are its probabilities true?"""

from __future__ import annotations

from setpoint.domain.findings import Finding
from setpoint.domain.gates.baseline import MOST_ROWS, baseline_gate, evenly, simpler
from setpoint.domain.gates.calibration import calibration_gate
from setpoint.domain.gates.overfit import overfit_gate
from setpoint.stages.gates.case import Case


def baseline_findings(case: Case) -> list[Finding]:
    """The candidate beside a simpler way; nothing where the project file asks for none."""
    project = case.workspace.project
    rule = project.gates.baseline
    if rule.model == "none":
        return []
    other = simpler(case.training.split, project.costs.matrix(), rule.model)
    sample = project.gates.min_sample
    return [baseline_gate(case.judged, other, error_rate=rule.error_rate, min_sample=sample)]


def overfit_findings(case: Case) -> list[Finding]:
    """The rows that train beside those that judge."""
    gates, model = case.workspace.project.gates, case.training.model
    fitted = evenly(case.training.split.fit, MOST_ROWS)
    trained = (fitted.label, model.scores(fitted))
    judged = (case.judged.label, case.judged.score)
    limit, rate = gates.overfit.max_gap, gates.setpoint_error_rate
    return [overfit_gate(trained, judged, max_gap=limit, error_rate=rate)]


def calibration_findings(case: Case) -> list[Finding]:
    """Probabilities beside what is seen."""
    gates = case.workspace.project.gates
    limit, rate = gates.calibration.max_error, gates.setpoint_error_rate
    return [calibration_gate(case.judged, max_error=limit, error_rate=rate)]
