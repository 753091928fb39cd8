"""Champion and challenger on the same rows: unseen losses, ranking, and the price of looking."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.findings import Outcome, check_mean_difference
from setpoint.domain.gates.champion import champion_gate, rows_needed
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.ranking import auc_difference, auc_parts, ranking_gate
from setpoint.domain.gates.unseen import pessimistic_saving
from setpoint.domain.holdout import Holdout, spent_rate
from setpoint.domain.ledger import Entry
from setpoint.domain.metrics import CostArrays, roc_auc
from setpoint.errors import DataError

Flags = npt.NDArray[np.bool_]


def _decided(label: npt.NDArray[np.int8], amount: npt.NDArray[np.float64], acted: Flags) -> Judged:
    """A review costs 5, a missed positive its amount."""
    five = np.full(len(label), 5.0)
    priced = CostArrays(amount, five, five, np.zeros(len(label)))
    cost = np.where(acted, 5.0, np.where(label == 1, amount, 0.0))
    return Judged(label, np.where(acted, 0.9, 0.1), acted, cost, None, priced)


def _fewer_reviews(rng: np.random.Generator, rows: int) -> tuple[Judged, Judged]:
    """A challenger that saves reviews and misses more, in truth exactly as dear."""
    label = (rng.random(rows) < 0.02).astype(np.int8)
    amount = rng.lognormal(4.0, 1.2, rows)
    draw = rng.random(rows)
    champion = np.where(label == 1, draw < 0.6, draw < 0.02)
    saved = 0.98 * 0.016 * 5
    misses = saved / (0.02 * (math.exp(4 + 0.72) - 5))
    challenger = np.where(label == 1, draw < 0.6 - misses, draw < 0.004)
    return _decided(label, amount, challenger), _decided(label, amount, champion)


def test_unseen_losses_do_not_let_an_equal_challenger_pass() -> None:
    rng = np.random.default_rng(11)
    pairs = [_fewer_reviews(rng, 2000) for _ in range(300)]
    bounds_alone = [check_mean_difference("cost", b.cost - a.cost).passed for a, b in pairs]
    passed = [champion_gate(a, b, error_rate=0.01, min_sample=200).passed for a, b in pairs]
    # What the differences alone would let pass is what the priced rows are asked for.
    assert np.mean(bounds_alone) > 0.1
    assert np.mean(passed) <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 300)


def test_a_challenger_refused_for_unseen_losses_is_told_why() -> None:
    rng = np.random.default_rng(11)
    found = [champion_gate(*_fewer_reviews(rng, 2000), error_rate=0.01, min_sample=200)
             for _ in range(30)]  # fmt: skip
    [one, *_] = [f for f in found if "no longer acted on" in f.reason]
    assert one.outcome == Outcome.INCONCLUSIVE
    assert one.interval is not None and one.interval[0] <= 0 < one.interval[1]


def test_a_challenger_that_finds_more_passes_as_without_unseen_losses() -> None:
    rng = np.random.default_rng(12)
    label = (rng.random(20_000) < 0.02).astype(np.int8)
    amount = rng.lognormal(4.0, 1.0, 20_000)
    draw = rng.random(20_000)
    champion = _decided(label, amount, np.where(label == 1, draw < 0.4, draw < 0.02))
    better = _decided(label, amount, np.where(label == 1, draw < 0.9, draw < 0.02))
    assert champion_gate(better, champion, error_rate=0.01, min_sample=200).passed


def test_two_that_act_alike_save_exactly_nothing() -> None:
    one, _ = _fewer_reviews(np.random.default_rng(1), 500)
    assert pessimistic_saving(one, one, 0.01) == 0.0


def test_rows_without_prices_have_no_pessimistic_bound() -> None:
    one, other = _fewer_reviews(np.random.default_rng(1), 500)
    assert pessimistic_saving(one, replace(other, priced=None), 0.01) == -math.inf


def test_an_inconclusive_saving_says_how_many_rows_would_prove_it() -> None:
    saved = np.tile([10.0, -8.0], 200)
    one = Judged(np.tile(np.array([0, 1], np.int8), 200), saved, saved > 0, -saved)
    none = replace(one, cost=np.zeros(400))
    found = champion_gate(one, none, error_rate=0.01, min_sample=200)
    assert found.outcome == Outcome.INCONCLUSIVE
    # (2.326 + 0.842)² · 9² of spread over 1 of mean.
    assert found.reason.endswith("; about 820 rows would prove the saving seen")
    back = champion_gate(none, one, error_rate=0.01, min_sample=200)
    assert back.outcome == Outcome.INCONCLUSIVE and "no saving is seen" in back.reason


def test_the_rows_asked_for_prove_the_saving_as_often_as_said() -> None:
    rng = np.random.default_rng(5)
    rows = rows_needed(rng.normal(0.1, 1.0, 200_000), 0.01)
    assert rows is not None
    proven = [
        check_mean_difference("c", rng.normal(0.1, 1.0, rows), error_rate=0.01).passed
        for _ in range(600)
    ]
    assert np.mean(proven) == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 600) + 0.02)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_the_area_by_parts_is_the_area(rows: list[tuple[bool, int]]) -> None:
    label = np.array([a for a, _ in rows], np.int8)
    score = np.array([b / 6 for _, b in rows])
    if not 0 < label.sum() < len(label):
        with pytest.raises(DataError):
            auc_parts(label, score)
        return
    area, under, above = auc_parts(label, score)
    assert area == pytest.approx(roc_auc(label, score))
    assert float(above.mean()) == pytest.approx(area)
    assert len(under) == int(label.sum())


def _scored(rng: np.random.Generator, strength: tuple[float, float]) -> tuple[Judged, Judged]:
    label = np.repeat(np.array([1, 0], np.int8), [60, 540])
    shared = rng.normal(size=600)
    pair = []
    for s in strength:
        score = s * label + 0.8 * shared + 0.6 * rng.normal(size=600)
        pair.append(Judged(label, score, score > 1, np.zeros(600)))
    return pair[0], pair[1]


def test_the_spread_of_a_difference_of_areas_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(6)
    seen = [auc_difference(*_scored(rng, (1.0, 1.0))) for _ in range(400)]
    claimed = float(np.mean([spread for _, spread in seen]))
    assert claimed == pytest.approx(float(np.std([value for value, _ in seen])), rel=0.12)


def test_a_challenger_fails_on_proof_that_it_ranks_worse_and_on_nothing_else() -> None:
    rng = np.random.default_rng(7)
    worse, better = _scored(rng, (0.2, 1.6))
    rule = {"max_loss": 0.01, "error_rate": 0.01}
    assert ranking_gate(worse, better, **rule).outcome == Outcome.FAILED
    assert ranking_gate(better, worse, **rule).outcome == Outcome.PASSED
    assert ranking_gate(better, better, **rule).value == 0.0
    few = worse.take(np.arange(600) >= 55)
    assert ranking_gate(few, few, **rule).outcome == Outcome.INCONCLUSIVE


def test_equal_rankers_are_called_worse_no_oftener_than_the_error_rate() -> None:
    rng = np.random.default_rng(8)
    failed = [
        ranking_gate(*_scored(rng, (1.0, 1.0)), max_loss=0.0, error_rate=0.05).outcome == "failed"
        for _ in range(800)
    ]
    assert 0 < np.mean(failed) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)


@given(st.floats(0.0001, 0.2), st.integers(1, 300))
def test_what_is_spent_on_the_same_rows_adds_up_to_the_error_rate_at_most(
    rate: float, candidates: int
) -> None:
    spent = [spent_rate(rate, k) for k in range(1, candidates + 1)]
    assert sum(spent) <= rate
    assert spent == sorted(spent, reverse=True)


def test_a_candidate_counts_until_most_rows_are_fresh() -> None:
    time = np.arange(1000)
    holdout = Holdout({"v1": (0, int(time.max()))})
    assert holdout.judged_before("v2", time, 0.5) == 1
    assert holdout.judged_before("v1", time, 0.5) == 0
    assert holdout.judged_before("v2", np.arange(400, 1600), 0.5) == 0
    assert holdout.judged_before("v2", np.arange(400, 1400), 0.5) == 1


def test_a_history_that_grows_by_a_quarter_each_time_pays_for_three_earlier_candidates() -> None:
    seen: dict[str, tuple[int, int]] = {}
    rows, counted = 1000.0, []
    for k in range(8):
        time = np.arange(round(rows))
        counted.append(Holdout(seen).judged_before(f"v{k}", time, 0.5))
        seen[f"v{k}"], rows = (0, int(time.max())), rows * 1.25
    assert counted == [0, 1, 2, 3, 3, 3, 3, 3]


def test_what_is_spent_is_what_the_ledger_tells() -> None:
    looks = [("v1", 0, 4), ("v2", 0, 8), ("v1", 0, 9)]
    entries = [Entry(i, "", "", "", {"version": v, "first": a, "last": b}, "", "")
               for i, (v, a, b) in enumerate(looks, start=1)]  # fmt: skip
    assert Holdout.told(entries) == Holdout({"v1": (0, 9), "v2": (0, 8)})
    assert Holdout.told([]) == Holdout({})
    for evidence in ({"version": "v3"}, {"version": "v3", "first": "x", "last": 1}):
        altered = Entry(4, "", "", "", evidence, "", "")
        with pytest.raises(DataError, match="entry 4 does not say which rows"):
            Holdout.told([*entries, altered])
