"""All gates of the project file, and the record of their verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from setpoint.domain.findings import Finding, Verdict
from setpoint.domain.gates.judged import judge
from setpoint.stages.gates.budget import quality_budget_findings
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.champion import champion_findings
from setpoint.stages.gates.dependencies import dependencies_findings
from setpoint.stages.gates.explainability import explainability_findings, monotone_findings
from setpoint.stages.gates.explanation import (
    second_opinion_findings,
    shuffled_labels_findings,
    stability_findings,
)
from setpoint.stages.gates.fairness import fairness_findings
from setpoint.stages.gates.footprint import footprint_findings
from setpoint.stages.gates.performance import performance_findings
from setpoint.stages.gates.rebuild import rebuild_findings
from setpoint.stages.gates.robustness import robustness_findings
from setpoint.stages.gates.slices import slices_findings
from setpoint.stages.gates.soundness import (
    baseline_findings,
    calibration_findings,
    overfit_findings,
)
from setpoint.stages.train import Candidate, Training
from setpoint.workspace import Workspace

Gate = Callable[[Case], list[Finding]]

JUDGING: tuple[Gate, ...] = (
    performance_findings,
    champion_findings,
    slices_findings,
    baseline_findings,
    overfit_findings,
    calibration_findings,
    fairness_findings,
    explainability_findings,
    second_opinion_findings,
    shuffled_labels_findings,
    stability_findings,
    monotone_findings,
    robustness_findings,
    quality_budget_findings,
)
"""Those that judge by rows and windows, in the order in which their findings are told."""

GATES: tuple[Gate, ...] = (
    *JUDGING,
    footprint_findings,
    dependencies_findings,
    rebuild_findings,
)
"""All that stand before production; the last is asked only where those before it passed."""


def run_gates(
    workspace: Workspace,
    candidate: Candidate,
    training: Training,
    cause: str,
    gates: Sequence[Gate] = GATES,
) -> Verdict:
    """All gates of the project file, on rows that no model was trained on.

    Args:
        workspace: The project.
        candidate: What wants to serve.
        training: How it was trained, with the rows that judge it.
        cause: Why it was trained: an incident's id, or any other word.
        gates: Which are asked. Only a replay, which releases nothing, leaves the rebuild out.
    """
    rows, model = training.split.judge, training.model
    judged = judge(rows, model.scores(rows), model.threshold, workspace.project.costs.matrix())
    case = Case(workspace, candidate, training, judged, cause)
    for gate in gates:
        case = replace(case, found=(*case.found, *gate(case)))
    return Verdict(case.found)


def record_verdict(
    workspace: Workspace, candidate: Candidate, verdict: Verdict, cause: str
) -> None:
    """Write the verdict to the ledger and to the version's tags."""
    kind = "accepted" if verdict.passed else "refused"
    workspace.state.record(
        workspace.clock.now(),
        kind,
        f"{workspace.project.name}/{candidate.version}",
        {
            "cause": cause,
            "bundle": candidate.digest,
            "snapshot": candidate.snapshot,
            "mlflow_run": candidate.run_id,
            "verdict": verdict.to_dict(),
        },
    )
    workspace.registry.tag(candidate.version, "gates", str(verdict.outcome))
