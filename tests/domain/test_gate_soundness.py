"""Slices, simpler ways, overfit and calibration: each gate needs proof, and errs as stated."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import ndtri

from setpoint.domain.findings import Outcome
from setpoint.domain.gates.baseline import Simpler, baseline_gate, evenly, fit_logistic, simpler
from setpoint.domain.gates.calibration import (
    POWER,
    calibration_gate,
    debiased_error,
    rows_needed,
)
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.gates.overfit import overfit_gate
from setpoint.domain.gates.slices import declared_slices, found_slices, slices_gate
from setpoint.domain.metrics import Cell, CostArrays, CostMatrix
from setpoint.domain.split import Split
from setpoint.domain.training import Rows, raw_scores

COSTS = CostMatrix(Cell(5.0), Cell(1.0), Cell(1.0), Cell(0.0))


def _priced(cost: npt.NDArray[np.float64]) -> Judged:
    n = len(cost)
    return Judged(np.tile(np.array([0, 1], np.int8), n // 2), cost, cost > 1, cost)


def _pair(rng: np.random.Generator, rows: int, factor: float = 1.0) -> tuple[Judged, Judged]:
    """As dear as each other, but for ``factor`` on the first half of the rows."""
    champion, challenger = rng.lognormal(0, 0.5, (2, rows))
    challenger[: rows // 2] *= factor
    return _priced(challenger), _priced(champion)


def _halves(rows: int) -> dict[str, npt.NDArray[np.bool_]]:
    first = np.arange(rows) < rows // 2
    return {"part=a": first, "part=b": ~first}


def test_a_slice_that_costs_more_than_allowed_fails_and_is_named() -> None:
    pair = _pair(np.random.default_rng(1), 4000, 1.3)
    found = slices_gate(*pair, _halves(4000), max_worse=0.1, error_rate=0.01)
    assert (found.outcome, found.slice) == (Outcome.FAILED, "part=a")
    assert found.value == pytest.approx(0.3, abs=0.06) and found.sample == 2000
    allowed = slices_gate(*pair, _halves(4000), max_worse=0.4, error_rate=0.01)
    assert allowed.outcome == Outcome.PASSED


def test_a_slice_exactly_at_the_limit_fails_no_oftener_than_the_error_rate() -> None:
    rng = np.random.default_rng(2)
    failed = [
        slices_gate(*_pair(rng, 1200, 1.1), _halves(1200), max_worse=0.1, error_rate=0.05).outcome
        == Outcome.FAILED
        for _ in range(600)
    ]
    assert np.mean(failed) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_no_slice_and_thin_slices_do_not_pass() -> None:
    pair = _pair(np.random.default_rng(3), 400, 2.0)
    few = {"few": np.arange(400) < 10}
    for slices in ({}, few):
        found = slices_gate(*pair, slices, max_worse=0.1, error_rate=0.01)
        assert found.outcome == Outcome.INCONCLUSIVE


def test_declared_slices_too_small_to_be_judged_are_named_and_keep_the_gate_shut() -> None:
    columns = {"kind": np.array(["a"] * 3990 + ["b"] * 10, dtype=object)}
    slices, small = declared_slices(columns, 20)
    assert list(slices) == ["kind=a"] and small == {"kind=b": 10}
    pair, rule = _pair(np.random.default_rng(3), 4000), {"max_worse": 0.5, "error_rate": 0.01}
    found = slices_gate(*pair, slices, small=small, **rule)
    assert found.outcome == Outcome.INCONCLUSIVE and "kind=b (10)" in found.reason
    noted = slices_gate(*pair, slices, small=small, small_groups="note", **rule)
    assert noted.outcome == Outcome.PASSED and "kind=b (10)" in noted.reason
    none = slices_gate(*pair, {}, small=small, small_groups="note", **rule)
    assert none.outcome == Outcome.INCONCLUSIVE and "kind=b (10)" in none.reason


def test_a_slice_that_nobody_declared_is_found_and_confirmed_on_other_rows() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(8000, 3))
    worse = rng.normal(size=8000) + np.where((inputs[:, 1] > 0.5) & (inputs[:, 2] < 0), 2.0, 0.0)
    explore = rng.random(8000) < 0.5
    slices = found_slices(inputs, ["a", "b", "c"], worse, explore, 200)
    [first, *_] = slices
    assert "b > 0." in first and "c <=" in first
    assert not any((rows & explore).any() for rows in slices.values())
    champion = _priced(np.full(8000, 3.0))
    challenger = _priced(3.0 + worse)
    found = slices_gate(challenger, champion, slices, max_worse=0.1, error_rate=0.01)
    assert found.outcome == Outcome.FAILED and found.slice.startswith("b > 0.")


def test_slices_searched_in_noise_fail_no_oftener_than_the_error_rate() -> None:
    rng = np.random.default_rng(5)
    failed, rounds = 0, 200
    for _ in range(rounds):
        inputs, worse = rng.normal(size=(1200, 4)), rng.normal(size=1200)
        slices = found_slices(inputs, list("abcd"), worse, np.arange(1200) % 2 == 0, 60)
        found = slices_gate(
            _priced(9 + worse), _priced(np.full(1200, 9.0)), slices, max_worse=0.0, error_rate=0.05
        )
        failed += found.outcome == Outcome.FAILED
    assert failed / rounds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def _rows(seed: int, n: int, strength: float = 1.5, bend: float = 0.0) -> Rows:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 2)).astype(np.float32)
    numbers[::17, 1] = np.nan
    logit = strength * numbers[:, 0] - 1 + bend * (np.abs(numbers[:, 0]) - 0.8)
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    ids = np.array([str(i) for i in range(n)], dtype=object)
    kinds = rng.choice(np.array(["a", "b"], dtype=object), (n, 1))
    return Rows(ids, np.arange(n), ids, numbers, kinds, label, {})


def _split(**how: float) -> Split:
    return Split(_rows(1, 3000, **how), _rows(2, 1500, **how), _rows(3, 3000, **how))


def test_a_candidate_no_cheaper_than_a_logistic_regression_is_refused_for_it() -> None:
    split = _split()
    other = simpler(split, COSTS, "logistic")
    assert other.name == "logistic regression"
    found = baseline_gate(other.judged, other, error_rate=0.2, min_sample=200)
    assert not found.passed
    noisy = other.judged.score + np.random.default_rng(1).normal(0, 0.15, 3000)
    worse = judge(split.judge, noisy, 0.2, COSTS)
    found = baseline_gate(worse, other, error_rate=0.2, min_sample=200)
    assert found.outcome == Outcome.FAILED
    assert found.reason.startswith("logistic regression is simpler and preferred")


def test_a_candidate_that_sees_what_a_line_cannot_passes() -> None:
    split = _split(strength=0.0, bend=6.0)
    other = simpler(split, COSTS, "logistic")
    truth = 1 / (1 + np.exp(-(6.0 * (np.abs(split.judge.numbers[:, 0]) - 0.8) - 1)))
    able = judge(split.judge, truth.astype(float), 0.2, COSTS)
    assert baseline_gate(able, other, error_rate=0.2, min_sample=200).passed


def test_a_candidate_as_dear_as_the_simpler_way_passes_no_oftener_than_the_error_rate() -> None:
    rng = np.random.default_rng(12)
    passed, rounds, n = 0, 600, 1500
    for _ in range(rounds):
        # Left alone by the candidate only: 3 % of them positive, so that 97 reviews pay for 3.
        label = (rng.random(n) < 0.03).astype(np.int8)
        size = np.full(n, 1.0)
        amount = rng.lognormal(0, 1, n) * 97 / 3 / math.exp(0.5) + 1
        priced = CostArrays(amount, size, size, np.zeros(n))
        left = np.arange(n) < 300
        leaves = np.where(left, np.where(label == 1, amount, 0.0), 1.0)
        candidate = Judged(label, size, ~left, leaves, None, priced)
        always = Judged(label, size, np.ones(n, bool), size, None, priced)
        other = Simpler("act always", always)
        passed += baseline_gate(candidate, other, error_rate=0.2, min_sample=200).passed
    assert 0 < passed / rounds <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / rounds)


def test_the_cheaper_of_two_rules_is_taken() -> None:
    assert simpler(_split(), COSTS, "rule").name == "act always"
    dear = CostMatrix(Cell(5.0), Cell(9.0), Cell(1.0), Cell(0.0))
    other = simpler(_split(), dear, "rule")
    assert other.name == "act never" and not other.judged.acted.any()


def test_a_regression_takes_infinite_and_missing_numbers_and_unknown_categories() -> None:
    rows = _rows(1, 500)
    rows.numbers[3, 0] = np.inf
    rows.numbers[:, 1] = np.nan
    model = fit_logistic(rows)
    unknown = _rows(2, 50)
    unknown.categories[:] = "new"
    assert np.isfinite(raw_scores(model, unknown)).all()
    assert len(evenly(rows, 100)) == 100


def _scored(rng: np.random.Generator, n: int, strength: float) -> tuple[
    npt.NDArray[np.int8], npt.NDArray[np.float64]
]:  # fmt: skip
    label = (rng.random(n) < 0.2).astype(np.int8)
    return label, rng.normal(size=n) + strength * label


def test_a_model_that_learned_its_rows_by_heart_fails() -> None:
    rng = np.random.default_rng(6)
    rule = {"max_gap": 0.25, "error_rate": 0.01}
    heart, honest = _scored(rng, 2000, 6.0), _scored(rng, 2000, 0.3)
    assert overfit_gate(heart, honest, **rule).outcome == Outcome.FAILED
    assert overfit_gate(honest, honest, **rule).outcome == Outcome.PASSED
    few = (honest[0][:20], honest[1][:20])
    assert overfit_gate(heart, few, **rule).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("positives", [30, 120])
def test_a_gap_exactly_at_the_limit_passes_no_oftener_than_the_error_rate(positives: int) -> None:
    rng, rounds = np.random.default_rng(7), 500
    # Areas of two normal classes d apart are Phi(d / sqrt(2)): .95 and .65, .3 apart.
    own, other = (float(ndtri(area)) * math.sqrt(2) for area in (0.95, 0.65))
    found = [
        overfit_gate(
            _classes(rng, 200, own), _classes(rng, positives, other), max_gap=0.3, error_rate=0.05
        ).outcome
        for _ in range(rounds)
    ]
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)
    assert 0 < np.mean([one == Outcome.PASSED for one in found]) <= most
    assert np.mean([one == Outcome.FAILED for one in found]) <= most


def _classes(rng: np.random.Generator, positives: int, apart: float) -> tuple[
    npt.NDArray[np.int8], npt.NDArray[np.float64]
]:  # fmt: skip
    label = np.repeat(np.array([1, 0], np.int8), [positives, 4 * positives])
    return label, rng.normal(size=5 * positives) + apart * label


def test_a_gap_over_the_limit_of_few_positives_does_not_pass() -> None:
    rng = np.random.default_rng(13)
    heart, poor = _classes(rng, 200, 6.0), _classes(rng, 10, 0.3)
    for judged in (poor, _classes(rng, 40, 0.3)):
        found = overfit_gate(heart, judged, max_gap=0.45, error_rate=0.05)
        assert found.outcome == Outcome.INCONCLUSIVE


def test_a_ranking_without_a_fault_shows_no_gap() -> None:
    rng = np.random.default_rng(15)
    for apart in (6.0, 99.0):
        clear = _classes(rng, 100, apart)
        assert overfit_gate(clear, clear, max_gap=0.05, error_rate=0.05).passed


def _probabilities(rng: np.random.Generator, n: int, off: float = 0.0) -> Judged:
    chance = rng.beta(1, 4, n) * 0.8
    label = (rng.random(n) < chance).astype(np.int8)
    return Judged(label, chance + off, chance > 0.5, np.zeros(n))


def test_probabilities_that_are_off_fail_and_true_ones_pass() -> None:
    rng = np.random.default_rng(8)
    rule = {"max_error": 0.05, "error_rate": 0.01}
    found = calibration_gate(_probabilities(rng, 4000, 0.15), **rule)
    assert found.outcome == Outcome.FAILED and found.value is not None and found.value < -0.1
    assert calibration_gate(_probabilities(rng, 4000), **rule).outcome == Outcome.PASSED
    assert calibration_gate(_probabilities(rng, 20), **rule).outcome == Outcome.INCONCLUSIVE


def test_one_part_that_is_off_fails_though_all_rows_together_are_not() -> None:
    judged = _probabilities(np.random.default_rng(9), 6000)
    order = np.argsort(judged.score)
    judged.score[order[-600:]] += 0.3
    judged.score[order[:-600]] -= 0.3 / 9
    found = calibration_gate(judged, max_error=0.1, error_rate=0.01)
    assert found.outcome == Outcome.FAILED and "part 10 of 10" in found.reason


def test_probabilities_exactly_at_the_limit_pass_no_oftener_than_the_error_rate() -> None:
    rng, rounds, passed, failed = np.random.default_rng(10), 600, 0, 0
    for _ in range(rounds):
        # Off by .1 among the highest fifth alone; the others are far within.
        chance = np.repeat([0.05, 0.1, 0.15, 0.2, 0.5], 300)
        label = (rng.random(1500) < chance).astype(np.int8)
        score = chance + np.repeat([0.0, 0.0, 0.0, 0.0, 0.1], 300)
        judged = Judged(label, score, score > 0.5, np.zeros(1500))
        outcome = calibration_gate(judged, max_error=0.1, error_rate=0.1).outcome
        passed, failed = passed + (outcome == "passed"), failed + (outcome == "failed")
    most = 0.1 + 3 * math.sqrt(0.1 * 0.9 / rounds)
    assert 0 < passed / rounds <= most and failed / rounds <= most


def test_true_probabilities_of_few_rows_pass_in_fewer_parts_as_often_as_the_power_says() -> None:
    rng, rounds, needed = np.random.default_rng(14), 400, rows_needed(0.1, 0.05)
    found = []
    for _ in range(rounds):
        label = (rng.random(needed) < 0.5).astype(np.int8)
        judged = Judged(label, np.full(needed, 0.5), label == 1, np.zeros(needed))
        found.append(calibration_gate(judged, max_error=0.1, error_rate=0.05))
    assert "no parts" in found[0].reason
    assert np.mean([one.passed for one in found]) >= POWER - 3 * math.sqrt(0.09 / rounds)


def test_a_large_distance_on_few_rows_does_not_pass() -> None:
    label = np.repeat(np.array([1, 0], np.int8), [10, 10])
    judged = Judged(label, np.where(label == 1, 0.3, 0.7), label == 1, np.zeros(20))
    found = calibration_gate(judged, max_error=0.1, error_rate=0.05)
    assert found.outcome == Outcome.INCONCLUSIVE and found.interval is not None


def test_a_positive_that_stands_for_others_counts_for_them() -> None:
    label = np.tile(np.repeat(np.array([1, 0], np.int8), [1, 9]), 200)
    weight = np.where(label == 1, 3.0, 1.0)
    true = Judged(label, np.full(2000, 0.3), label == 1, np.zeros(2000), weight)
    assert calibration_gate(true, max_error=0.1, error_rate=0.01).outcome == Outcome.PASSED
    alone = Judged(label, np.full(2000, 0.3), label == 1, np.zeros(2000))
    assert calibration_gate(alone, max_error=0.1, error_rate=0.01).outcome == Outcome.FAILED


def test_the_expected_error_of_true_probabilities_is_not_what_chance_adds() -> None:
    rng = np.random.default_rng(11)
    squares = []
    for _ in range(200):
        judged = _probabilities(rng, 500)
        parts = np.array_split(np.argsort(judged.score), 10)
        squares.append(debiased_error(judged, parts))
    # With its bias an error of .05 is expected of 50 rows a part.
    assert np.mean(squares) < 0.02
