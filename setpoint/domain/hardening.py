"""Adversarial training: positives as an attacker would disguise them train, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from setpoint.domain.attack import Reach, evade, tree_cuts
from setpoint.domain.metrics import CostMatrix, best_threshold
from setpoint.domain.training import Rows, TrainedModel, finish, fit_pipeline, joined

ROUNDS = 3
"""Times that the model is attacked and trained again; each round's disguises stay for the next."""


def harden(
    model: TrainedModel,
    rows: Rows,
    tune: Rows,
    costs: CostMatrix,
    reaches: Sequence[Reach],
    *,
    budget: int,
    share: float,
) -> TrainedModel:
    """Train again with disguised positives beside those that they are made of.

    Each round attacks the newest model and keeps what it finds (adversarial boosting, Kantchelian
    et al. 2016): splits move away from one disguise, so that the next round finds another. The
    threshold is chosen as if so many positives were disguised; calibration is on plain rows alone.

    Args:
        model: Trained on ``rows`` alone.
        rows: What trains.
        tune: What calibrates and sets the threshold.
        costs: Of decisions.
        reaches: What a client can change.
        budget: Inputs that the attacker changes in a row.
        share: Weight of all disguises of a positive against the positive itself, 0 to 1.

    Returns:
        The newest model; ``model`` itself where there is nothing to change or ``share`` is 0.
    """
    if not reaches or share <= 0:
        return model
    positives, everything = rows.take(rows.label == 1), rows
    plain = np.ones(len(positives)) if positives.weight is None else positives.weight
    for _ in range(ROUNDS):
        made = _disguised(model, positives, reaches, budget)
        everything = joined(everything, replace(made, weight=plain * share / ROUNDS))
        model = finish(fit_pipeline(everything, model.parameters), model.parameters, tune, costs)
    caught = np.flatnonzero(tune.label == 1)
    chosen = caught[np.linspace(0, len(caught) - 1, round(share * len(caught))).astype(np.intp)]
    attacked = joined(tune, _disguised(model, tune.take(chosen), reaches, budget))
    scores = model.scores(attacked)
    threshold = best_threshold(scores, attacked.label, attacked.priced(costs))
    return replace(model, threshold=threshold)


def _disguised(model: TrainedModel, rows: Rows, reaches: Sequence[Reach], budget: int) -> Rows:
    cuts = tree_cuts(model.pipeline, rows.numbers.shape[1])
    return evade(model.scores, rows, reaches, budget, cuts)[0]
