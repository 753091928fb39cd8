"""Positives that exploration found stand for those like them: in prices, gates and training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from setpoint.domain.features import FeatureSpec
from setpoint.domain.findings import Outcome
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.gates.setpoints import Target, setpoint_finding
from setpoint.domain.training import Rows, as_rows, fit_calibration, fit_pipeline, raw_scores
from tests.domain.test_training import COSTS, QUICK, make_rows

RECALL = Target("detection", "recall", "floor", 0.5)
PRECISION = Target("hits", "precision", "floor", 0.2)


def explored(truth: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and weights where a share was reviewed and all others count as negative."""
    drawn = np.random.default_rng(seed).random(len(truth)) < share
    label = (truth & drawn).astype(np.int8)
    return label, np.where(label == 1, 1 / share, 1.0)


def rows_of(label: np.ndarray, weight: np.ndarray | None) -> Rows:
    """Rows of one kind with these labels."""
    return replace(make_rows(len(label)), label=label, weight=weight)


@pytest.mark.parametrize("acts", [True, False])
def test_the_cost_of_explored_rows_is_that_of_all_on_average(acts: bool) -> None:
    truth = np.arange(2000) % 4 == 0
    score, threshold = np.full(2000, 0.5), 0.4 if acts else 0.6
    costs = [
        judge(rows_of(*explored(truth, 0.1, seed)), score, threshold, COSTS).cost.mean()
        for seed in range(200)
    ]
    true = judge(rows_of(truth.astype(np.int8), None), score, threshold, COSTS).cost.mean()
    assert np.mean(costs) == pytest.approx(true, abs=0.03)


def test_weights_of_one_change_nothing() -> None:
    rows = make_rows(400)
    heavy = replace(rows, weight=np.ones(400))
    score = np.random.default_rng(1).random(400)
    plain, weighted = (judge(one, score, 0.5, COSTS) for one in (rows, heavy))
    assert np.array_equal(plain.cost, weighted.cost)
    for target in (RECALL, PRECISION):
        found = [
            setpoint_finding(target, one, reading="gate", error_rate=0.05, min_sample=20)
            for one in (plain, weighted)
        ]
        assert found[0] == found[1]


def judged(acted_on_heavy: bool) -> Judged:
    """90 positives found and 10 missed, 100 false alarms, and 40 that stand for 20 each."""
    counts = [90, 10, 100, 40]
    label = np.repeat(np.array([1, 1, 0, 1], dtype=np.int8), counts)
    acted = np.repeat([True, False, True, acted_on_heavy], counts)
    weight = np.repeat([1.0, 1.0, 1.0, 20.0], counts)
    return Judged(label, acted.astype(float), acted, np.zeros(240), weight)


def test_a_gate_on_recall_counts_what_explored_positives_stand_for() -> None:
    missed = setpoint_finding(RECALL, judged(False), reading="gate", error_rate=0.05, min_sample=20)
    assert missed.outcome == Outcome.FAILED
    assert missed.value == pytest.approx(90 / 900, abs=0.02)
    assert missed.sample == 900**2 // (100 + 40 * 400)  # fewer than the 140 that there are
    held = setpoint_finding(RECALL, judged(True), reading="gate", error_rate=0.05, min_sample=20)
    assert held.outcome == Outcome.PASSED and held.value == pytest.approx(890 / 900, abs=0.02)


def test_rows_that_explored_positives_stand_for_are_no_false_alarms() -> None:
    counts = [760, 40]  # taken for negatives, and 40 explored: all of them are positives
    label = np.repeat(np.array([0, 1], dtype=np.int8), counts)
    weight = np.repeat([1.0, 20.0], counts)
    every = np.ones(800, dtype=bool)
    made = Judged(label, every.astype(float), every, np.zeros(800), weight)
    found = setpoint_finding(PRECISION, made, reading="gate", error_rate=0.05, min_sample=20)
    assert found.value == 1.0 and found.outcome == Outcome.PASSED
    plain = replace(made, weight=None)
    found = setpoint_finding(PRECISION, plain, reading="gate", error_rate=0.05, min_sample=20)
    assert found.value == 0.05 and found.outcome == Outcome.FAILED


def test_a_model_and_its_calibration_learn_from_weights() -> None:
    rows = make_rows(3000)
    pattern = rows.categories[:, 0] == "c"
    label, weight = explored(pattern, 0.05, 2)
    rows = replace(rows, label=np.where(pattern, label, rows.label).astype(np.int8))
    heavy = replace(rows, weight=np.where(pattern, weight, 1.0))
    slow = replace(QUICK, max_iter=60, max_leaf_nodes=4, min_samples_leaf=300)
    plain, weighted = (raw_scores(fit_pipeline(one, slow), rows) for one in (rows, heavy))
    # All of it is positive, so its score is about a half: those taken for negatives stay.
    assert plain[pattern].mean() < 0.1
    assert 0.3 < weighted[pattern].mean() < 0.6
    flat = np.full(3000, 0.3) + 1e-6 * np.arange(3000)
    calibrated = fit_calibration(flat, heavy.label, heavy.weight)(flat)
    assert calibrated.mean() > fit_calibration(flat, rows.label)(flat).mean() + 0.1


def test_only_positives_stand_for_others_and_a_part_keeps_its_weights() -> None:
    spec = FeatureSpec("id", "at", {}, numbers=("x",))
    events = pa.table(
        {
            "id": ["a", "b", "c"],
            "at": pa.array([1, 2, 3], pa.timestamp("us", "UTC")),
            "label": pa.array([1, 0, 1], pa.int8()),
        }
    )
    features = pa.table({"x": [1.0, 2.0, 3.0]})
    rows = as_rows(spec, features, events, "id", [], {"a": 20.0, "b": 20.0})
    assert rows.weight is not None and rows.weight.tolist() == [20.0, 1.0, 1.0]
    part = rows.take(np.array([True, False, True])).weight
    assert part is not None and part.tolist() == [20.0, 1.0]
    assert as_rows(spec, features, events, "id", []).weight is None
