"""The candidate beside the version in service, on the same rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from setpoint.adapters.mlflow_registry import GATED_AGAINST, NOBODY
from setpoint.adapters.onnx_export import onnx_scores
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.findings import Finding, not_measured
from setpoint.domain.gates.champion import champion_gate
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.training import Calibration, Rows
from setpoint.errors import BundleError, StateError
from setpoint.stages.assemble import training_rows
from setpoint.stages.gates.case import Case
from setpoint.stages.train import Candidate, Training
from setpoint.workspace import Workspace


def champion_findings(case: Case) -> list[Finding]:
    """Paired with the champion; nothing for the first release, which has none."""
    found = _against_champion(case.workspace, case.candidate, case.training, case.judged)
    return [] if found is None else [found]


def _against_champion(
    workspace: Workspace, candidate: Candidate, training: Training, judged: Judged
) -> Finding | None:
    project = workspace.project
    try:
        version = workspace.champion()
    except StateError as err:
        return not_measured("saves_against_champion", str(err))
    workspace.registry.tag(candidate.version, GATED_AGAINST, version or NOBODY)
    if version is None:
        return None
    try:
        champion = read_bundle(workspace.bundle(version))
        rows = same_rows(workspace, training, champion)
    except BundleError as err:
        return not_measured("saves_against_champion", f"champion {version} cannot be read: {err}")
    if rows is None:
        return not_measured("saves_against_champion", "the champion cannot score the same rows")
    decided = judge(
        rows, bundle_scores(champion, rows), champion.decision.threshold, project.costs.matrix()
    )
    return champion_gate(
        judged,
        decided,
        error_rate=project.gates.error_rate,
        min_sample=project.gates.min_sample,
    )


def same_rows(workspace: Workspace, training: Training, champion: Bundle) -> Rows | None:
    """The rows that judge, with the champion's inputs; ``None`` where it has none of some."""
    judge_rows = training.split.judge
    if champion.features == workspace.project.feature_spec():
        return judge_rows
    rows = training_rows(workspace, training.known, champion.features)
    wanted = set(judge_rows.ids.tolist())
    same = rows.take(np.array([i in wanted for i in rows.ids.tolist()]))
    return same if same.ids.tolist() == judge_rows.ids.tolist() else None


def bundle_scores(bundle: Bundle, rows: Rows) -> npt.NDArray[np.float64]:
    """Calibrated scores of a bundle, [n]."""
    knots = Calibration(bundle.decision.knots.x, bundle.decision.knots.y)
    return knots(onnx_scores(bundle.model, rows))
