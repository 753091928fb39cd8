"""The version in service, on the rows that judge a candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from setpoint.adapters.onnx_export import onnx_scores
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.training import Calibration, Rows
from setpoint.errors import BundleError, StateError
from setpoint.stages.assemble import training_rows
from setpoint.stages.train import Training
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Beside:
    """The version in service on the rows that judge a candidate.

    Attributes:
        version: The version; ``None``: there never was one, or ``unseen`` says why it is unknown.
        judged: The rows as it decides them; ``None``: there is none, or it cannot be seen.
        unseen: Why it cannot be compared with; empty if it can, or if there is none.
    """

    version: str | None
    judged: Judged | None
    unseen: str = ""


def champion_beside(workspace: Workspace, training: Training) -> Beside:
    """The champion as it decides the rows that judge, at its own threshold."""
    try:
        version = workspace.champion()
    except StateError as err:
        return Beside(None, None, str(err))
    if version is None:
        return Beside(None, None)
    try:
        champion = read_bundle(workspace.bundle(version))
        rows = same_rows(workspace, training, champion)
    except BundleError as err:
        return Beside(version, None, f"champion {version} cannot be read: {err}")
    if rows is None:
        return Beside(version, None, "the champion cannot score the same rows")
    scores, threshold = bundle_scores(champion, rows), champion.decision.threshold
    return Beside(version, judge(rows, scores, threshold, workspace.project.costs.matrix()))


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
