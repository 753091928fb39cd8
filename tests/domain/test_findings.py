import json
import math
import pickle

import numpy as np
import pytest
from scipy.stats import binom

from setpoint.domain.findings import (
    Finding,
    Outcome,
    Verdict,
    check_ceiling,
    check_floor,
    check_mean_difference,
    check_value,
    mean_bounds,
    not_measured,
    proportion_bounds,
    watch_ceiling,
    watch_floor,
)
from setpoint.errors import DataError


def finding(outcome, value=0.5):
    return Finding("recall", outcome, value, 0.8, "floor", 100, 0.05, "because")


def test_a_verdict_is_its_worst_finding():
    order = [Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PASSED]
    for i, worst in enumerate(order):
        verdict = Verdict(tuple(finding(o) for o in reversed(order[i:])))
        assert verdict.outcome == worst
        assert verdict.passed == (worst == Outcome.PASSED)


def test_a_verdict_over_nothing_is_inconclusive():
    assert Verdict(()).outcome == Outcome.INCONCLUSIVE
    assert Verdict(()).summary() == "inconclusive: nothing was checked"


def test_summary_is_one_line_that_names_what_did_not_pass():
    failed = Finding("recall", Outcome.FAILED, 0.5, 0.8, "floor", 9, 0.05, "too\nlow", slice="EU")
    text = Verdict((finding(Outcome.PASSED), failed)).summary()
    assert text == "failed: 1 of 2 passed; recall[EU]: too low"


def test_table_shows_the_worst_first():
    rows = Verdict((finding(Outcome.PASSED), not_measured("latency", "no service"))).table()
    assert [row["outcome"] for row in rows] == ["error", "passed"]
    assert rows[1]["setpoint"] == "≥ 0.8"
    assert rows[0]["value"] == ""


@pytest.mark.parametrize("value", [None, 0.25, math.nan, math.inf])
def test_findings_survive_json_and_processes(value):
    one = Finding("x", Outcome.FAILED, value, None, "", 3, None, "r", (0.1, math.inf), "s")
    assert Finding.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False))) == one
    assert pickle.loads(pickle.dumps(one)) == one
    verdict = Verdict((one,))
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict(), allow_nan=False))) == verdict


def test_nan_never_passes():
    with pytest.raises(DataError, match="NaN"):
        finding(Outcome.PASSED, math.nan)
    assert finding(Outcome.FAILED, math.nan).value is None
    assert check_value("latency", math.nan, 5, "ceiling", sample=9).outcome == Outcome.ERROR
    with pytest.raises(DataError, match="not measured"):
        not_measured("x", "r", outcome=Outcome.PASSED)


def test_a_damaged_stored_finding_is_refused_by_name():
    stored = finding(Outcome.PASSED).to_dict()
    with pytest.raises(DataError, match=r"recall.*'sample'"):
        Finding.from_dict({k: v for k, v in stored.items() if k != "sample"})
    with pytest.raises(DataError, match="fine"):
        Finding.from_dict(stored | {"outcome": "fine"})
    with pytest.raises(DataError, match="sideways"):
        Finding.from_dict(stored | {"direction": "sideways"})


def test_plain_values_hold_their_setpoint_when_they_reach_it():
    assert check_value("p99", 5.0, 5.0, "ceiling", sample=10).passed
    assert check_value("p99", 5.1, 5.0, "ceiling", sample=10).outcome == Outcome.FAILED
    assert check_value("share", 0.5, 0.5, "floor", sample=10).passed
    thin = check_value("p99", 1.0, 5.0, "ceiling", sample=3, min_sample=10)
    assert thin.outcome == Outcome.INCONCLUSIVE


def test_bounds_of_a_proportion_are_clopper_pearson():
    low, high = proportion_bounds(8, 10, 0.025)
    assert (low, high) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))
    assert proportion_bounds(0, 10, 0.05) == (0.0, pytest.approx(0.2589, abs=1e-4))
    assert proportion_bounds(10, 10, 0.05) == (pytest.approx(0.7411, abs=1e-4), 1.0)
    assert proportion_bounds(0, 0, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("hits", "gate", "watch"),
    [
        (950, Outcome.PASSED, Outcome.PASSED),
        (905, Outcome.INCONCLUSIVE, Outcome.PASSED),
        (895, Outcome.INCONCLUSIVE, Outcome.PASSED),
        (850, Outcome.FAILED, Outcome.FAILED),
    ],
)
def test_a_gate_needs_proof_to_open_and_a_watch_needs_proof_to_alarm(hits, gate, watch):
    assert check_floor("recall", hits, 1_000, 0.9).outcome == gate
    assert watch_floor("recall", hits, 1_000, 0.9).outcome == watch
    assert check_ceiling("alerts", 1_000 - hits, 1_000, 0.1).outcome == gate
    assert watch_ceiling("alerts", 1_000 - hits, 1_000, 0.1).outcome == watch


@pytest.mark.parametrize("check", [check_floor, watch_floor, check_ceiling, watch_ceiling])
def test_too_few_rows_are_inconclusive_whatever_they_show(check):
    for hits, n in ((0, 0), (10, 10), (0, 10)):
        assert check("recall", hits, n, 0.5, 0.05, 30).outcome == Outcome.INCONCLUSIVE
    assert check("recall", 0, 0, 0.0, 0.05, 0).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("n", [50, 200, 1_000])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.8])
def test_proportions_at_the_setpoint_are_misjudged_no_more_often_than_stated(n, p):
    # Exact: every possible count, weighted by its probability.
    chance = binom.pmf(np.arange(n + 1), n, p)
    for check, wrong in (
        (check_floor, Outcome.PASSED),
        (watch_floor, Outcome.FAILED),
        (check_ceiling, Outcome.PASSED),
        (watch_ceiling, Outcome.FAILED),
    ):
        hits = [k for k in range(n + 1) if check("x", k, n, p, 0.05).outcome == wrong]
        assert chance[hits].sum() <= 0.05 + 1e-9


def test_impossible_counts_and_error_rates_are_refused():
    for hits, n in ((5, 4), (-1, 4)):
        with pytest.raises(DataError, match="successes"):
            check_floor("x", hits, n, 0.5)
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(DataError, match="error rate"):
            check_floor("x", 1, 2, 0.5, rate)


# Paired cost differences of two models that cost the same on average; the worst kinds there are.


def both_err(rng, n):
    """Both miss different frauds of skewed amounts, and alarm on different honest rows."""
    u = rng.random(n)
    sign = rng.choice([-1.0, 1.0], n)
    return sign * np.where(u < 0.03, 5.0, np.where(u > 0.99, rng.lognormal(4, 1, n), 0.0))


def fewer_alarms_missed_frauds(rng, n):
    """Many small gains against rare, large, skewed losses."""
    u = rng.random(n)
    loss = 50 * rng.lognormal(0, 1, n) / math.exp(0.5)
    return np.where(u < 0.06, 5.0, 0.0) - np.where(u > 1 - 0.006, loss, 0.0)


def more_alarms_caught_frauds(rng, n):
    return -fewer_alarms_missed_frauds(rng, n)


@pytest.mark.parametrize(
    ("kind", "n"),
    [
        (both_err, 3_000),
        (both_err, 10_000),
        (fewer_alarms_missed_frauds, 3_000),
        (fewer_alarms_missed_frauds, 20_000),
        (more_alarms_caught_frauds, 10_000),
    ],
)
def test_equal_challengers_pass_no_more_often_than_stated(kind, n):
    rounds, rate = 1_000, 0.01
    passed = 0
    for seed in range(rounds):
        differences = kind(np.random.default_rng((n, seed)), n)
        passed += check_mean_difference("cost", differences, error_rate=rate).passed
    assert passed / rounds <= rate + 3 * math.sqrt(rate * (1 - rate) / rounds)


def test_better_challengers_pass_and_worse_ones_fail():
    rng = np.random.default_rng(1)
    better = both_err(rng, 30_000) + np.where(rng.random(30_000) < 0.05, 30.0, 0.0)
    assert check_mean_difference("cost", better).passed
    assert check_mean_difference("cost", -better).outcome == Outcome.FAILED
    assert check_mean_difference("cost", better, margin=1_000.0).outcome == Outcome.FAILED


def test_a_challenger_with_fewer_alarms_and_no_losses_passes():
    differences = np.where(np.arange(3_000) % 40 == 0, 5.0, 0.0)
    found = check_mean_difference("cost", differences)
    assert found.passed
    assert found.value == pytest.approx(0.125)
    assert found.interval[0] < 0.125 < found.interval[1]


def test_means_that_few_rows_carry_are_inconclusive():
    one_row = np.r_[100_000.0, np.zeros(9_999)]
    assert check_mean_difference("cost", one_row).outcome == Outcome.INCONCLUSIVE
    few_losses = np.r_[np.full(600, 5.0), np.full(3, -300.0), np.zeros(9_397)]
    found = check_mean_difference("cost", few_losses)
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "losses" in found.reason


def test_identical_models_are_inconclusive_and_never_better():
    assert check_mean_difference("cost", np.zeros(1_000)).outcome == Outcome.INCONCLUSIVE


def test_a_constant_gain_is_its_own_bound():
    found = check_mean_difference("cost", np.full(1_000, 0.1))
    assert found.passed
    assert found.interval == pytest.approx((0.1, 0.1))


def test_few_rows_and_unknown_costs_never_pass():
    assert check_mean_difference("cost", np.array([])).outcome == Outcome.INCONCLUSIVE
    assert check_mean_difference("cost", np.ones(50)).outcome == Outcome.INCONCLUSIVE
    with pytest.raises(DataError, match="row 1: nan"):
        check_mean_difference("cost", np.array([1.0, np.nan]))


def test_mean_bounds_widen_against_the_skew():
    values = np.random.default_rng(0).lognormal(0, 1, 2_000)
    low, high = mean_bounds(values, 0.01)
    mean = values.mean()
    assert low < mean < high
    assert high - mean > mean - low
    assert mean_bounds(-values, 0.01) == pytest.approx((-high, -low))
