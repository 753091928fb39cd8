"""All gates of the project file, and the record of their verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from setpoint.domain.findings import Finding, Verdict, not_measured
from setpoint.domain.gates.judged import Judged, judge
from setpoint.errors import DataError
from setpoint.stages.gates.advisories import ADVISORIES, advisories_findings
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
from setpoint.stages.gates.review import review_findings
from setpoint.stages.gates.robustness import movable_undeclared, robustness_findings
from setpoint.stages.gates.slices import slices_findings
from setpoint.stages.gates.soundness import (
    baseline_findings,
    calibration_findings,
    overfit_findings,
)
from setpoint.stages.publish import Candidate
from setpoint.stages.train import Training
from setpoint.workspace import Workspace

Gate = Callable[[Case], list[Finding]]

SCORES = "scores"
"""Finding of scores that are no numbers; there is none where all are."""

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
    advisories_findings,
    review_findings,
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
        gates: Which are asked; one that the data keep from looking is an error of its name. Only a
            replay, which releases nothing, leaves the rebuild out.
    """
    rows, model = training.split.judge, training.model
    costs = workspace.project.costs.matrix()
    try:
        judged = judge(rows, model.scores(rows), model.threshold, costs)
    except DataError as err:
        return Verdict((not_measured(SCORES, f"rows cannot be judged: {err}"),))
    case = Case(workspace, candidate, training, judged, cause, tuple(_scores(judged)))
    for gate in gates:
        case = case.after(_asked(gate, case))
    return Verdict(case.found, tuple(_undeclared(case, gates)))


def _undeclared(case: Case, gates: Sequence[Gate]) -> list[tuple[str, str]]:
    """What the gates that were asked could not judge, for nothing is declared; and why."""
    found = []
    if fairness_findings in gates and not case.workspace.project.data.protected:
        found.append(("fairness", "data.protected names no column"))
    if robustness_findings in gates:
        found += movable_undeclared(case)
    rule = case.workspace.project.gates.dependencies
    if advisories_findings in gates and rule.advisories is None:
        found.append((ADVISORIES, "gates.dependencies.advisories names no file"))
    return found


def _scores(judged: Judged) -> list[Finding]:
    """An error where a score is no number: such a row counts as left alone, and looks harmless."""
    bad = ~np.isfinite(judged.score)
    if not bad.any():
        return []
    first, count = int(np.argmax(bad)), int(bad.sum())
    told = f"{count} of {len(bad)} scores are no numbers, the first in row {first}"
    return [not_measured(SCORES, told)]


def _asked(gate: Gate, case: Case) -> list[Finding]:
    """What a gate finds; an error of its name where the data let it find nothing."""
    try:
        return gate(case)
    except DataError as err:
        name = gate.__name__.removesuffix("_findings")
        return [not_measured(name, f"the gate could not look: {err}")]


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
