"""Performance without labels: right where scores are calibrated, silent where they are not."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.estimation import (
    MIN_CHUNKS,
    Estimates,
    calibration,
    estimate,
    estimate_parts,
    judge_estimate,
    limits,
)
from setpoint.domain.metrics import Cell, CostArrays, CostMatrix, precision, recall, roc_auc
from setpoint.domain.outcome import Finding, Outcome, Verdict
from setpoint.errors import DataError

ROUNDS = 2000


def scores(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.beta(0.6, 3.0, rows)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=20, max_size=60))
def test_the_expected_area_is_that_of_all_pairs_weighted_by_their_chance(p: list[float]) -> None:
    x = np.array(p)
    estimated = estimate(x, x > 0.4).roc_auc
    weight = np.outer(x, 1 - x)
    wins = (x[:, None] > x[None, :]) + 0.5 * (x[:, None] == x[None, :])
    if min(x.sum(), (1 - x).sum()) < 5:
        assert math.isnan(estimated)
    else:
        exact = float((weight * wins).sum() / (x.sum() * (1 - x).sum()))
        assert estimated == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("cuts", [[], [0], [1, 2, 900]])
def test_a_window_in_parts_has_the_estimates_of_the_whole(cuts: list[int]) -> None:
    rng = np.random.default_rng(2)
    p = scores(rng, 1_000)
    costs = CostMatrix(false_negative=Cell(column="amount", times=1.0)).arrays(
        {"amount": rng.lognormal(3, 1, len(p))}, len(p)
    )
    parts = [(p[i], p[i] > 0.3, costs.take(i)) for i in np.split(np.arange(len(p)), cuts)]
    whole = estimate(p, p > 0.3, costs)
    assert asdict(estimate_parts(parts)) == pytest.approx(asdict(whole), rel=1e-12)


def test_of_calibrated_scores_every_metric_is_met_on_average() -> None:
    rng = np.random.default_rng(5)
    misses: dict[str, list[float]] = {"roc_auc": [], "recall": [], "precision": [], "cost": []}
    for _ in range(60):
        p = scores(rng, 10_000)
        y = (rng.random(len(p)) < p).astype(int)
        acted = p > 0.3
        amount = rng.lognormal(3, 1, len(p))
        matrix = CostMatrix(
            false_negative=Cell(column="amount", times=1.0), false_positive=Cell(5.0)
        )
        costs = matrix.arrays({"amount": amount}, len(p))
        found = estimate(p, acted, costs)
        misses["roc_auc"].append(found.roc_auc - roc_auc(y, p))
        misses["recall"].append(found.recall - recall(y, acted))
        misses["precision"].append(found.precision - precision(y, acted))
        realized = float(matrix.of(y, acted, {"amount": amount}).sum())
        misses["cost"].append(found.cost / realized - 1)
    for name, errors in misses.items():  # right on average: within three standard errors of 0
        assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors)), name
    assert np.mean(np.abs(misses["recall"])) < 0.02
    assert np.mean(np.abs(misses["roc_auc"])) < 0.005


def test_the_next_chunk_leaves_the_limits_as_often_as_stated() -> None:
    rng = np.random.default_rng(7)
    left = 0
    for _ in range(ROUNDS):
        values = rng.normal(0.9, 0.004, 11)
        low, high = limits(list(values[:10]), 0.05)
        left += not low <= values[10] <= high
    assert 0.036 < left / ROUNDS < 0.065


def test_calibrated_scores_fail_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(11)
    failed = 0
    for _ in range(ROUNDS):
        p = scores(rng, 400)
        y = (rng.random(400) < p).astype(int)
        failed += calibration(p, y, 0.05).outcome == Outcome.FAILED
    assert failed / ROUNDS < 0.065


@pytest.mark.parametrize("change", ["prior", "flipped", "overconfident"])
def test_scores_that_no_longer_mean_what_they_say_are_found(change: str) -> None:
    rng = np.random.default_rng(13)
    found = 0
    for _ in range(100):
        p = scores(rng, 2_000)
        truth = {
            "prior": np.minimum(1, 1.5 * p),
            "flipped": np.where(p > 0.2, 1 - p, p),
            "overconfident": 0.5 * p + 0.5 * p.mean(),
        }[change]
        y = (rng.random(len(p)) < truth).astype(int)
        found += calibration(p, y, 0.01).outcome == Outcome.FAILED
    assert found >= 99


def test_under_concept_drift_an_estimate_that_looks_well_proves_nothing() -> None:
    rng = np.random.default_rng(17)
    chunks = [estimate(p, p > 0.3).roc_auc for p in (scores(rng, 5_000) for _ in range(10))]
    p = scores(rng, 5_000)
    y = (rng.random(len(p)) < 1 - p).astype(int)
    value, inside = estimate(p, p > 0.3).roc_auc, limits(chunks, 0.002)
    assert inside[0] <= value <= inside[1]  # blind, and says that all is well
    finding = judge_estimate("roc_auc", value, len(p), inside, 0.002, calibration(p, y))
    assert finding.outcome == Outcome.INCONCLUSIVE
    assert "labels must decide" in finding.reason


TRUSTED = Verdict((Finding("c", Outcome.PASSED, 0.1, 1.0, "ceiling", 9, 0.01, "held"),))


@pytest.mark.parametrize(
    ("value", "trust", "outcome"),
    [
        (0.95, TRUSTED, Outcome.PASSED),
        (0.89, TRUSTED, Outcome.FAILED),
        (0.99, TRUSTED, Outcome.PASSED),
        (0.89, None, Outcome.INCONCLUSIVE),
        (math.nan, TRUSTED, Outcome.ERROR),
    ],
)
def test_only_a_trusted_loss_fails_and_only_a_trusted_value_passes(
    value: float, trust: Verdict | None, outcome: Outcome
) -> None:
    finding = judge_estimate("roc_auc", value, 100, (0.9, 0.97), 0.01, trust)
    assert finding.outcome == outcome
    if outcome in (Outcome.PASSED, Outcome.FAILED):
        assert (finding.setpoint, finding.sample, finding.error_rate) == (0.9, 100, 0.005)


def test_of_what_should_be_low_the_high_side_is_the_loss() -> None:
    finding = judge_estimate("cost", 12.0, 9, (5.0, 10.0), 0.01, TRUSTED, higher_is_better=False)
    assert (finding.outcome, finding.direction) == (Outcome.FAILED, "ceiling")


def test_an_empty_window_and_one_row_have_no_estimate() -> None:
    none = estimate([], [])
    assert (none.sample, none.positives) == (0, 0.0)
    assert all(math.isnan(x) for x in (none.roc_auc, none.recall, none.precision, none.cost))
    one = estimate([0.3], [True])
    assert isinstance(one, Estimates) and math.isnan(one.roc_auc)
    assert calibration([0.3], [1]).outcome == Outcome.INCONCLUSIVE
    assert calibration([], []).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("score", [[math.nan] * 3, [0.5, 1.2, 0.1], [-0.1, 0.2, 0.3], [[0.1] * 3]])
def test_what_is_no_probability_is_an_error(score: object) -> None:
    with pytest.raises(DataError, match="calibrated probabilities"):
        estimate(score, [True] * 3)


@pytest.mark.parametrize("label", [[0, 1], [0, 1, 2], [0, 1, math.nan]])
def test_labels_that_are_none_are_an_error(label: list[float]) -> None:
    with pytest.raises(DataError, match="0 or 1"):
        calibration([0.1, 0.2, 0.3], label)


def test_actions_of_other_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="one action for each score"):
        estimate([0.1, 0.2], [True])


@pytest.mark.parametrize("values", [[0.9] * (MIN_CHUNKS - 1), [0.9] * 9 + [math.nan]])
def test_limits_need_chunks_that_have_an_estimate(values: list[float]) -> None:
    with pytest.raises(DataError, match="reference chunks"):
        limits(values, 0.01)


def test_cost_counts_each_row_by_its_chance() -> None:
    ones = np.ones(2)
    costs = CostArrays(10 * ones, 2 * ones, 1 * ones, 0 * ones)
    assert estimate([0.5, 0.1], [True, False], costs).cost == pytest.approx(
        0.5 * 1 + 0.5 * 2 + 0.1 * 10
    )
