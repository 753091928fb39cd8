"""The attack on trees: within its bounds, within its budget, and as strong as it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.attack import MOST_POINTS, Reach, evade, jitter, tree_cuts
from setpoint.domain.training import Floats, Parameters, Rows, fit_pipeline, raw_scores
from tests.domain.test_training import make_rows

ROWS = make_rows(400)
PIPELINE = fit_pipeline(ROWS, Parameters(max_iter=8, min_samples_leaf=5))
CUTS = tree_cuts(PIPELINE, 2)
FEW = ROWS.take(np.arange(40))


def score(rows: Rows) -> Floats:
    return raw_scores(PIPELINE, rows)


def reach(at: int, relative: float = 0.0, absolute: float = 0.0, whole: bool = False) -> Reach:
    return Reach(f"n{at}", at, relative, absolute, whole)


@given(relative=st.floats(0, 0.5), absolute=st.floats(0, 2), seed=st.integers(0, 9))
def test_nothing_is_moved_further_than_its_bound(
    relative: float, absolute: float, seed: int
) -> None:
    movable = [replace(reach(0, relative, absolute), low=-1.0, high=1.0)]
    was = FEW.numbers[:, 0].astype(np.float64)
    most = np.maximum(relative * np.abs(was), absolute) + 1e-6
    by_chance = jitter(FEW, movable, np.random.default_rng(seed)).numbers
    attacked = evade(score, FEW, movable, 1, CUTS)[0].numbers
    for moved in (by_chance, attacked):
        assert (np.abs(moved[:, 0] - was) <= most).all()
        inside = np.abs(moved[:, 0]) <= 1
        assert (inside | (np.abs(moved[:, 0]) <= np.abs(was))).all()
        assert (moved[:, 1] == FEW.numbers[:, 1]).all()


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_no_more_inputs_are_changed_than_the_budget_allows(budget: int) -> None:
    movable = [reach(0, absolute=1.0), reach(1, absolute=1.0), Reach("c0", 0, values=("a", "b"))]
    moved, _ = evade(score, FEW, movable, budget, CUTS)
    changed = (moved.numbers != FEW.numbers).sum(axis=1)
    changed += (moved.categories != FEW.categories).sum(axis=1)
    assert changed.max() == min(budget, 3)


def test_with_one_input_the_attack_finds_the_lowest_score_that_there_is() -> None:
    movable = [reach(0, absolute=0.2)]
    low, high = movable[0].around(FEW.numbers[:, 0])
    points = [((CUTS[0] >= a) & (CUTS[0] <= b)).sum() for a, b in zip(low, high, strict=True)]
    assert 0 < max(points) < MOST_POINTS  # so every split within reach is tried
    _, found = evade(score, FEW, movable, 1, CUTS)
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        one = FEW.take(np.full(2001, i))
        numbers = one.numbers.copy()
        numbers[:, 0] = np.linspace(a, b, 2001).astype(np.float32)
        assert found[i] <= score(replace(one, numbers=numbers)).min() + 1e-12


def test_the_attack_never_raises_a_score_and_reports_the_scores_of_what_it_made() -> None:
    movable = [reach(0, absolute=0.5), reach(1, relative=0.5), Reach("c0", 0, values=("b", "c"))]
    moved, found = evade(score, FEW, movable, 2, CUTS)
    assert (found <= score(FEW)).all()
    assert np.array_equal(found, score(moved))


def test_whole_numbers_stay_whole() -> None:
    whole = replace(FEW, numbers=np.rint(FEW.numbers * 10).astype(np.float32))
    movable = [reach(0, absolute=2.4, whole=True)]
    for moved in (
        jitter(whole, movable, np.random.default_rng(0)),
        evade(score, whole, movable, 1, CUTS)[0],
    ):
        assert (moved.numbers[:, 0] == np.rint(moved.numbers[:, 0])).all()
        assert np.abs(moved.numbers[:, 0] - whole.numbers[:, 0]).max() <= 2


def test_a_missing_value_stays_missing() -> None:
    numbers = FEW.numbers.copy()
    numbers[::3, 0] = np.nan
    gaps = replace(FEW, numbers=numbers)
    movable = [reach(0, absolute=1.0)]
    assert np.isnan(jitter(gaps, movable, np.random.default_rng(0)).numbers[::3, 0]).all()
    assert np.isnan(evade(score, gaps, movable, 1, CUTS)[0].numbers[::3, 0]).all()
