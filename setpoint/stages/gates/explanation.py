"""Whether the explanation of a candidate can be believed, and is still that of the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from setpoint.adapters.onnx_export import onnx_scores
from setpoint.adapters.shap_importance import shap_values
from setpoint.domain.bundle import read_bundle
from setpoint.domain.explanations import (
    Score,
    agreement,
    even_sample,
    importance,
    shuffled,
    surrogates,
)
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.explainability import agreement_gate, stability_gate
from setpoint.domain.training import Rows, fit_pipeline, raw_scores
from setpoint.errors import BundleError, StateError
from setpoint.stages.gates.beside import same_rows
from setpoint.stages.gates.case import Case

AROUND = 60
"""Rows explained by surrogates."""
BACKGROUND = 500
"""Rows from which their neighbours take other values."""
FITTED = 4000
"""Rows that a model of shuffled labels is fitted on."""
TREES = 20
"""Its trees."""
SHUFFLES = 3
"""Such models."""
STABILITY = "explanation_stability"


def second_opinion_findings(case: Case) -> list[Finding]:
    """SHAP beside local surrogates (LIME), which know nothing of trees.

    Where the two differ one of them errs, and nobody knows which: inconclusive.
    """
    project, pipeline = case.workspace.project, case.training.model.pipeline
    rows = even_sample(case.rows, AROUND)
    values, _ = shap_values(pipeline, rows)
    other = surrogates(
        lambda some: raw_scores(pipeline, some),
        rows,
        even_sample(case.rows, BACKGROUND),
        project.train.seed,
    )
    return [
        agreement_gate(
            "second_opinion",
            agreement(values, other),
            project.gates.explainability.second_opinion,
            "floor",
            error_rate=project.gates.setpoint_error_rate,
            short=Outcome.INCONCLUSIVE,
            text="SHAP and local surrogates",
        )
    ]


def shuffled_labels_findings(case: Case) -> list[Finding]:
    """An explanation that a model of shuffled labels has, too, explains nothing.

    The data randomisation test of Adebayo et al. 2018.
    """
    project, model, split = case.workspace.project, case.training.model, case.training.split
    rows, few = even_sample(case.rows, 200), even_sample(split.fit, FITTED)
    values, _ = shap_values(model.pipeline, rows)
    quick = replace(model.parameters, max_iter=TREES, half_life_days=0.0, recent_days=0.0)
    agreed = [
        agreement(values, shap_values(fit_pipeline(shuffled(few, seed), quick), rows)[0])
        for seed in range(project.train.seed, project.train.seed + SHUFFLES)
    ]
    return [
        agreement_gate(
            "shuffled_labels",
            np.mean(agreed, axis=0),
            project.gates.explainability.max_random,
            "ceiling",
            error_rate=project.gates.setpoint_error_rate,
            short=Outcome.FAILED,
            text="SHAP of the candidate and of models of shuffled labels",
        )
    ]


def stability_findings(case: Case) -> list[Finding]:
    """What drives challenger and champion, both by surrogates of the same rows and draws.

    Nothing for the first release, which has no champion.
    """
    workspace, project = case.workspace, case.workspace.project
    try:
        version = workspace.champion()
        if version is None:
            return []
        champion = read_bundle(workspace.bundle(version))
        theirs = same_rows(workspace, case.training, champion)
    except StateError as err:
        return [not_measured(STABILITY, str(err))]
    except BundleError as err:
        return [not_measured(STABILITY, f"champion {version} cannot be read: {err}")]
    if theirs is None:
        return [not_measured(STABILITY, "the champion cannot score the same rows")]
    pipeline, seed = case.training.model.pipeline, project.train.seed
    mine = _shares(
        lambda rows: raw_scores(pipeline, rows), case.rows, project.feature_spec().names, seed
    )
    other = _shares(
        lambda rows: onnx_scores(champion.model, rows), theirs, champion.features.names, seed
    )
    floor, sample = project.gates.explainability.stability, min(AROUND, len(case.rows))
    return [stability_gate(mine, other, floor=floor, sample=sample)]


def _shares(score: Score, rows: Rows, names: Sequence[str], seed: int) -> dict[str, float]:
    around, others = even_sample(rows, AROUND), even_sample(rows, BACKGROUND)
    found = importance(surrogates(score, around, others, seed))
    return dict(zip(names, found.tolist(), strict=True))
