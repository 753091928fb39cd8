"""All gates of the project file, and the record of their verdict."""

from __future__ import annotations

from collections.abc import Callable

from setpoint.domain.findings import Finding, Verdict
from setpoint.domain.gates.judged import judge
from setpoint.stages.gates.budget import quality_budget_findings
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.champion import champion_findings
from setpoint.stages.gates.explainability import explainability_findings
from setpoint.stages.gates.fairness import fairness_findings
from setpoint.stages.gates.performance import performance_findings
from setpoint.stages.train import Candidate, Training
from setpoint.workspace import Workspace

GATES: tuple[Callable[[Case], list[Finding]], ...] = (
    performance_findings,
    champion_findings,
    fairness_findings,
    explainability_findings,
    quality_budget_findings,
)
"""In the order in which their findings are told."""


def run_gates(
    workspace: Workspace, candidate: Candidate, training: Training, cause: str
) -> Verdict:
    """All gates of the project file, on rows that no model was trained on.

    Args:
        workspace: The project.
        candidate: What wants to serve.
        training: How it was trained, with the rows that judge it.
        cause: Why it was trained: an incident's id, or any other word.
    """
    rows, model = training.split.judge, training.model
    judged = judge(rows, model.scores(rows), model.threshold, workspace.project.costs.matrix())
    case = Case(workspace, candidate, training, judged, cause)
    return Verdict(tuple(finding for gate in GATES for finding in gate(case)))


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
