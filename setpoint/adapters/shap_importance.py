"""SHAP values of the boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from setpoint.domain.training import Rows


def global_importance(
    pipeline: Any, rows: Rows, names: tuple[str, ...], sample: int = 500
) -> tuple[dict[str, float], float, int]:
    """Share of the explanation that each input carries.

    Args:
        pipeline: As fitted by ``setpoint.domain.training.fit_pipeline``.
        rows: Rows to explain; an even sample of at most ``sample`` is used.
        names: Names of the inputs, numbers first.
        sample: Rows explained.

    Returns:
        Input to share, adding up to 1 (all 0 where nothing is explained); the additivity error:
        largest difference between the sum of SHAP values and the model's margin, which is the
        sanity check of the explanation itself; and the number of rows explained.
    """
    import shap

    every = max(1, -(-len(rows) // sample))
    part = rows.take(np.arange(len(rows)) % every == 0)
    matrix = np.asarray(pipeline.named_steps["encode"].transform(part.inputs()), dtype=np.float64)
    model = pipeline.named_steps["model"]
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    values = np.asarray(explainer.shap_values(matrix))
    if values.ndim == 3:
        values = values[:, :, 1]
    base = float(np.ravel(explainer.expected_value)[-1])
    margin = np.asarray(model.decision_function(matrix), dtype=np.float64)
    gap = float(np.max(np.abs(values.sum(axis=1) + base - margin))) if len(part) else float("nan")
    weight = np.abs(values).mean(axis=0)
    total = float(weight.sum())
    shares = weight / total if total > 0 else weight
    found = {name: float(share) for name, share in zip(names, shares, strict=True)}
    return found, gap, len(part)
