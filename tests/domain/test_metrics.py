import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from setpoint.domain.metrics import (
    Cell,
    Confusion,
    CostMatrix,
    alert_rate,
    average_precision,
    best_threshold,
    confusion,
    precision,
    recall,
    roc_auc,
)
from setpoint.errors import DataError

COSTS = CostMatrix(
    false_negative=Cell(column="amount"), false_positive=Cell(fixed=5.0), true_positive=Cell(2.0)
)


def rows(n=400, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    if levels:
        score = np.round(score * levels) / levels
    label = (rng.random(n) < score**2).astype(np.int8)
    return label, score, {"amount": rng.lognormal(3, 1, n)}


@pytest.mark.parametrize("levels", [None, 7, 1])
def test_ranking_figures_equal_scikit_learn_with_and_without_ties(levels):
    label, score, _ = rows(levels=levels)
    assert roc_auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert average_precision(label, score) == pytest.approx(
        average_precision_score(label, score), abs=1e-12
    )


def test_rates_count_what_their_names_say():
    label = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    acted = np.array([1, 1, 0, 1, 0, 0, 0, 0], dtype=bool)
    assert confusion(label, acted) == Confusion(tp=2, fp=1, fn=1, tn=4)
    assert recall(label, acted) == pytest.approx(2 / 3)
    assert precision(label, acted) == pytest.approx(2 / 3)
    assert alert_rate(acted) == pytest.approx(3 / 8)
    assert confusion(label, acted).false_positive_rate == pytest.approx(1 / 5)


def test_a_rate_without_a_denominator_is_nan():
    nothing = np.array([], dtype=np.int8)
    assert math.isnan(recall(np.zeros(3), np.ones(3, dtype=bool)))
    assert math.isnan(precision(np.ones(3), np.zeros(3, dtype=bool)))
    assert math.isnan(alert_rate(nothing))
    assert math.isnan(roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])))
    assert math.isnan(average_precision(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_confusions_add_up_across_windows():
    label, score, _ = rows()
    acted = score > 0.5
    parts = confusion(label[:150], acted[:150]) + confusion(label[150:], acted[150:])
    assert parts == confusion(label, acted)


def test_cost_of_each_row_follows_truth_and_action():
    label = np.array([1, 1, 0, 0])
    acted = np.array([True, False, True, False])
    cost = COSTS.of(label, acted, {"amount": np.array([10.0, 20.0, 30.0, 40.0])})
    assert cost.tolist() == [2.0, 20.0, 5.0, 0.0]
    assert COSTS.columns == ("amount",)


@pytest.mark.parametrize("levels", [None, 20, 3])
@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_is_as_cheap_as_trying_every_cut(levels, seed):
    label, score, columns = rows(120, seed, levels)

    def total(threshold):
        return COSTS.of(label, score >= threshold, columns).sum()

    chosen = best_threshold(score, label, COSTS.arrays(columns, len(label)))
    assert 0 <= chosen <= 1
    assert total(chosen) == pytest.approx(min(total(t) for t in (*score, 0.0, 1.0)), abs=1e-9)


def test_best_threshold_can_act_on_nobody_and_on_everybody():
    score, label = np.array([0.2, 0.9]), np.array([0, 0])
    cheap = CostMatrix(false_positive=Cell(1.0)).arrays({}, 2)
    assert 0.9 < best_threshold(score, label, cheap) <= 1
    dear = CostMatrix(false_negative=Cell(1.0)).arrays({}, 2)
    assert best_threshold(score, np.array([1, 1]), dear) == 0.0


def test_best_threshold_of_equal_costs_acts_on_the_fewest():
    free = CostMatrix().arrays({}, 3)
    assert best_threshold(np.array([0.1, 0.5, 0.6]), np.array([0, 1, 0]), free) > 0.6


def test_best_threshold_keeps_a_distance_from_the_scores():
    score, label = np.array([0.2, 0.8]), np.array([0, 1])
    costs = CostMatrix(Cell(1.0), Cell(1.0)).arrays({}, 2)
    assert best_threshold(score, label, costs) == pytest.approx(0.5)


def test_best_threshold_never_leaves_zero_to_one_when_a_score_is_one():
    costs = CostMatrix(false_positive=Cell(1.0)).arrays({}, 2)
    chosen = best_threshold(np.array([1.0, 0.4]), np.array([0, 0]), costs)
    assert 0.4 < chosen <= 1


def test_a_cost_column_that_is_missing_or_has_gaps_is_named():
    with pytest.raises(DataError, match="'amount' is not among"):
        COSTS.arrays({}, 3)
    with pytest.raises(DataError, match="row 1"):
        COSTS.arrays({"amount": np.array([1.0, np.nan])}, 2)
    with pytest.raises(DataError, match="2 values for 3 rows"):
        COSTS.arrays({"amount": np.array([1.0, 2.0])}, 3)


def test_unknown_labels_and_scores_are_refused():
    with pytest.raises(DataError, match="row 1"):
        confusion(np.array([0.0, np.nan]), np.array([True, False]))
    with pytest.raises(DataError, match="NaN"):
        roc_auc(np.array([0, 1]), np.array([0.1, np.nan]))
    with pytest.raises(DataError, match="0 scores"):
        best_threshold(np.array([]), np.array([]), COSTS.arrays({"amount": np.array([])}, 0))
