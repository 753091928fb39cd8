"""Has the window drifted in a way that no column shows alone? A classifier tells the two apart.

A classifier is trained on one half of the rows to tell window from training; on the other half the
area under its ROC curve is the chance that it tells a row of each apart, .5 where they are alike
(Lopez-Paz and Oquab 2017, arXiv 1610.06545). That half it has not seen, so the area is what the
Mann-Whitney statistic is: without drift normal around .5 with variance ``(n + m + 1) / (12 n m)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from setpoint.domain.bounds import check_error_rate
from setpoint.domain.metrics import roc_auc
from setpoint.domain.outcome import Finding, Outcome, not_measured

DOMAIN_CLASSIFIER = "domain_classifier"
"""Name of the finding."""
SAMPLE = 1_000
"""Rows of the training data that a bundle keeps."""
WINDOW = 4_000
"""Rows of a window that are looked at, at most."""
MIN_ROWS = 100
"""Of either side."""
CEILING = 0.75
"""Area under the ROC curve up to which it is no drift worth a word. Rows of one customer resemble
each other: in the simulated card world without drift it is .58 to .69 (benchmarks/healing)."""


def sample(columns: Mapping[str, Any], seed: int) -> dict[str, list[Any]]:
    """At most ``SAMPLE`` rows of the training data, as a bundle keeps them: strict JSON.

    Args:
        columns: NumPy arrays by name, [n] each; NaN is missing.
        seed: Of the choice.
    """
    n = len(next(iter(columns.values()), ()))
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:SAMPLE])
    return {
        name: [None if one != one else one for one in np.asarray(values)[rows].tolist()]
        for name, values in columns.items()
    }


def domain_classifier(
    reference: Mapping[str, Sequence[Any]],
    window: Mapping[str, Sequence[Any]],
    error_rate: float,
    ceiling: float = CEILING,
    seed: int = 0,
) -> Finding:
    """Can rows of a window be told from rows of the training data, all columns together?

    Args:
        reference: Training rows by column; text is a category, ``None`` and NaN are missing.
        window: Rows of the window, the same columns.
        error_rate: Chance that a window without drift fails, and that one just at the ceiling does.
        ceiling: Area under the ROC curve that is accepted, .5 to 1.
        seed: Of the halves and of the classifier.

    Returns:
        Failed if the lower bound of the area is above the ceiling, passed otherwise; inconclusive
        under ``MIN_ROWS`` rows of either side.
    """
    check_error_rate(error_rate)
    sizes = [len(next(iter(side.values()), ())) for side in (reference, window)]
    if min(sizes) < MIN_ROWS or not reference:
        reason = f"{sizes[1]} rows and {sizes[0]} of training, {MIN_ROWS} needed of either"
        return not_measured(DOMAIN_CLASSIFIER, reason, outcome=Outcome.INCONCLUSIVE)
    inputs, categorical = _encoded(reference, window)
    label = np.r_[np.zeros(sizes[0], dtype=np.int8), np.ones(sizes[1], dtype=np.int8)]
    order = np.random.default_rng(seed).permutation(len(label))
    fit, held = order[::2], order[1::2]
    score = _score(inputs[fit], label[fit], inputs[held], categorical, seed)
    auc = float(roc_auc(label[held], score))
    n, m = int((label[held] == 1).sum()), int((label[held] == 0).sum())
    spread = math.sqrt((n + m + 1) / (12 * n * m))
    half = float(-ndtri(error_rate)) * spread
    low, high = max(0.0, auc - half), min(1.0, auc + half)
    failed = low > ceiling
    reason = (
        f"rows are told from training's {auc:.3f} of the time, bounds {low:.3f} to {high:.3f} "
        f"against {ceiling:g}; .5 is chance"
    )
    return Finding(
        DOMAIN_CLASSIFIER,
        Outcome.FAILED if failed else Outcome.PASSED,
        auc,
        ceiling,
        "ceiling",
        sizes[1],
        error_rate,
        reason,
        (low, high),
    )


def _encoded(
    reference: Mapping[str, Sequence[Any]], window: Mapping[str, Sequence[Any]]
) -> tuple[NDArray[np.float64], list[bool]]:
    columns, categorical = [], []
    for name, before in reference.items():
        both = [*before, *window[name]]
        text = any(isinstance(value, str) for value in both)
        categorical.append(text)
        columns.append(_codes(both) if text else np.array(both, dtype=np.float64))
    return np.column_stack(columns), categorical


def _codes(values: Sequence[Any]) -> NDArray[np.float64]:
    """Categories by how often they come; from the hundredth on they are one."""
    names, at, often = np.unique(
        ["" if v is None else str(v) for v in values], return_inverse=True, return_counts=True
    )
    rank = np.empty(len(names))
    rank[np.argsort(-often, kind="stable")] = np.arange(len(names))
    return np.minimum(rank[at], 99.0)


def _score(
    fit: NDArray[np.float64],
    label: NDArray[np.int8],
    held: NDArray[np.float64],
    categorical: list[bool],
    seed: int,
) -> NDArray[np.float64]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(
        max_iter=30,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        categorical_features=categorical,
        early_stopping=False,
        random_state=seed,
    )
    # a few thousand rows: threads that wait for each other cost more than they save
    with threadpool_limits(1):
        model.fit(fit, label)
        return np.asarray(model.predict_proba(held)[:, 1], dtype=np.float64)
