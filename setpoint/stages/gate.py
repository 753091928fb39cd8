"""Judge a candidate before it may serve."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from setpoint.adapters.fairlearn_groups import group_rates
from setpoint.adapters.mlflow_registry import GATED_AGAINST, NOBODY
from setpoint.adapters.onnx_export import onnx_scores
from setpoint.adapters.shap_importance import global_importance
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.findings import Finding, Outcome, Verdict, not_measured
from setpoint.domain.gates import (
    Judged,
    Target,
    champion_gate,
    explainability_gate,
    fairness_gate,
    judge,
    performance_gate,
)
from setpoint.domain.slo import quality_budget, window_outcome
from setpoint.domain.training import Calibration, Rows
from setpoint.domain.windows import apart
from setpoint.errors import BundleError, StateError
from setpoint.stages.assemble import training_rows
from setpoint.stages.train import Candidate, Training
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
    project = workspace.project
    rows = training.split.judge
    model = training.model
    judged = judge(rows, model.scores(rows), model.threshold, project.costs.matrix())
    found = performance_gate(
        targets(workspace),
        judged,
        error_rate=project.gates.setpoint_error_rate,
        min_sample=project.gates.min_sample,
    )
    against = _against_champion(workspace, candidate, training, judged)
    found += [against] if against is not None else []
    found += _fairness(workspace, rows, judged)
    found += _explainability(workspace, training)
    spent = _quality_budget(workspace, cause)
    found += [spent] if spent is not None else []
    return Verdict(tuple(found))


def _quality_budget(workspace: Workspace, cause: str) -> Finding | None:
    """The freeze after too many failed windows; ``None`` where none of them could be judged.

    That is so before the first look, and after each promotion until its labels are ripe: nothing
    is known against a change then, and what the candidate is worth the other gates have to show.
    """
    rule, every = workspace.project.gates.quality_budget, workspace.project.watch.every
    newest = workspace.state.newest_window()
    if newest is None:
        return None
    # Looks are late rather than early: twice the time holds as many windows as count.
    windows = workspace.state.windows(newest.end - 2 * rule.windows * every)
    # A closer look spends no more of the budget than one at the declared pace.
    windows = apart(windows, newest.end, every)[::-1]
    healed = [i.id for i in workspace.state.incidents(only_open=True) if i.id == cause]
    finding = quality_budget(
        [window_outcome(w, workspace.project.setpoints) for w in windows],
        windows=rule.windows,
        failed=rule.failed,
        spared=f"it is to heal the open incident {cause}" if healed else "",
    )
    return None if finding.outcome == Outcome.INCONCLUSIVE else finding


def _against_champion(
    workspace: Workspace, candidate: Candidate, training: Training, judged: Judged
) -> Finding | None:
    """Paired with the champion; ``None`` for the first release, which has none."""
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
        rows = _same_rows(workspace, training, champion)
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


def _same_rows(workspace: Workspace, training: Training, champion: Bundle) -> Rows | None:
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


def _fairness(workspace: Workspace, rows: Rows, judged: Judged) -> list[Finding]:
    rule = workspace.project.gates.fairness
    return [
        fairness_gate(
            column,
            group_rates(judged.label, judged.acted, rows.columns[column], rule.metric),
            floor=rule.floor,
            min_group=rule.min_group,
        )
        for column in workspace.project.data.protected
    ]


def _explainability(workspace: Workspace, training: Training) -> list[Finding]:
    rule = workspace.project.gates.explainability
    rows = training.split.judge
    spec = workspace.project.feature_spec()
    shares, gap, explained = global_importance(training.model.pipeline, rows, spec.names)
    return explainability_gate(
        shares,
        gap,
        sample=explained,
        max_share=rule.max_share,
        forbidden=[name for name in spec.names if spec.sources(name) & set(rule.forbidden)],
        max_forbidden=rule.max_forbidden_share,
    )


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
