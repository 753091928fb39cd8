"""What is said of decisions that nobody reviewed, and how often that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from setpoint.domain.outcome import Outcome
from setpoint.domain.selection import (
    EXCESS,
    Known,
    Selected,
    bands,
    blind_spot,
    label_coverage,
    missed,
    recall,
    unreviewed_positives,
    watch_recall,
)
from setpoint.errors import DataError

WINDOWS = 4000
PASSED = 4000
SHARE = 0.03
EDGES = (0.01, 0.02, 0.03, 0.3)
ALPHA = 0.05
# What a count of so many windows may exceed its expectation by: three standard deviations.
SLACK = 3 * (ALPHA * (1 - ALPHA) / WINDOWS) ** 0.5


def simulated(
    seed: int, positives: int, above: float, told: float, expected: float | None = None
) -> list[tuple[Known, int]]:
    """Windows drawn anew, and the positives that each missed.

    Args:
        seed: Of the draws.
        positives: Mean number in a window.
        above: Chance that one is caught.
        told: Chance that one that was neither caught nor explored is told.
        expected: Share of the missed that the scores promise; ``None``: of each window exactly.
    """
    rng = np.random.default_rng(seed)
    all_positives = rng.poisson(positives, WINDOWS)
    caught = rng.binomial(all_positives, above)
    under = all_positives - caught
    explored = rng.binomial(PASSED, SHARE, WINDOWS)
    found = rng.hypergeometric(under, PASSED - under, explored)
    known = rng.binomial(under - found, told)
    return [
        (Known(int(c), PASSED, int(n), int(k), int(d), (expected or 0.0) * int(m)), int(m))
        for c, n, k, d, m in zip(caught, explored, found, known, under, strict=True)
    ]


def rows(
    below: int = 4000, *, positive: float = 0.0, share: float | None = SHARE, told: float = 0.0
) -> Selected:
    """Decisions: 200 reviewed for their score, half of them positive, and ``below`` that passed."""
    rng = np.random.default_rng(3)
    n = 200 + below
    above = np.arange(n) < 200
    score = np.where(above, 0.9, rng.uniform(0, 0.05, n))
    truth = np.where(above, np.arange(n) % 2, rng.random(n) < positive)
    drawn = rng.random(n) < (share or 0.0)
    reviewed = above | drawn
    complained = (truth == 1) & (rng.random(n) < told)
    label = np.where(reviewed, truth, np.where(complained, 1, -1)).astype(np.int8)
    propensity = np.full(n, np.nan) if share is None else np.where(above, 1.0, share)
    return Selected(score, above, reviewed, label, propensity)


@pytest.mark.parametrize(("positives", "above"), [(80, 0.5), (300, 0.3), (600, 0.8)])
@pytest.mark.parametrize("told", [0.0, 0.9])
def test_bounds_of_the_recall_miss_it_no_more_often_than_stated(
    positives: int, above: float, told: float
) -> None:
    found = [recall(known, ALPHA) for known, _ in simulated(1, positives, above, told)]
    assert sum(one.high < above for one in found) / WINDOWS <= ALPHA + SLACK
    assert sum(one.low > above for one in found) / WINDOWS <= ALPHA + SLACK


def test_the_estimate_of_the_recall_is_right_on_average_where_known_labels_flatter() -> None:
    windows = simulated(2, 400, 0.4, 0.0)
    found = [recall(known, ALPHA).value or 0.0 for known, _ in windows]
    naive = [known.caught / (known.caught + known.missed_at_least) for known, _ in windows]
    assert np.mean(found) == pytest.approx(0.4, abs=0.04)
    assert np.mean(naive) > 0.9


@pytest.mark.parametrize("positives", [20, 200, 2000])
def test_bounds_of_the_missed_miss_them_no_more_often_than_stated(positives: int) -> None:
    windows = simulated(3, positives, 0.5, 0.3)
    found = [(missed(known, ALPHA), true) for known, true in windows]
    assert sum(one.high < true for one, true in found) / WINDOWS <= ALPHA + SLACK
    assert sum(one.low > true for one, true in found) / WINDOWS <= ALPHA + SLACK
    known, true = windows[0]
    left = unreviewed_positives(known, ALPHA)
    assert left.low <= true - known.found <= left.high


@pytest.mark.parametrize("positives", [100, 1000])
def test_a_blind_spot_that_is_none_is_found_no_more_often_than_stated(positives: int) -> None:
    # As many as may be: the scores promise the setpoint exactly.
    windows = simulated(4, positives, 0.5, 0.0, expected=1 / EXCESS)
    alarms = sum(_blind(known) for known, _ in windows)
    assert 0 < alarms / WINDOWS <= ALPHA + SLACK


def test_where_all_that_is_missed_becomes_known_hardly_any_window_has_a_blind_spot() -> None:
    windows = simulated(5, 400, 0.5, 1.0)
    assert sum(_blind(known) for known, _ in windows) < 0.2 * ALPHA * WINDOWS


def test_a_blind_spot_of_one_decision_in_ten_is_found_in_most_windows() -> None:
    windows = simulated(6, 800, 0.5, 0.0, expected=0.2)
    assert sum(_blind(known) for known, _ in windows) > 0.9 * WINDOWS


def _blind(known: Known) -> bool:
    """The verdict on rows with these counts."""
    n = known.caught + known.passed
    above = np.arange(n) < known.caught
    place = np.arange(n) - known.caught
    reviewed = above | (place < known.explored)
    positive = above | (place < known.found)
    positive |= (place >= known.explored) & (place < known.explored + known.told)
    label = np.where(positive, 1, np.where(reviewed, 0, -1)).astype(np.int8)
    score = np.where(above, 0.9, known.expected / known.passed)
    propensity = np.where(above, 1.0, SHARE)
    finding = blind_spot(Selected(score, above, reviewed, label, propensity), ALPHA)
    return finding.outcome == Outcome.FAILED


def test_a_recall_that_ordinary_labels_flatter_fails_by_inverse_propensity() -> None:
    blind = rows(positive=0.2)
    assert blind.known.caught / (blind.known.caught + blind.known.missed_at_least) > 0.7
    finding = watch_recall(blind, "detection", 0.3, "floor", 0.01, 20)
    assert finding.outcome == Outcome.FAILED
    assert finding.value == pytest.approx(100 / (100 + 800), abs=0.04)
    assert (finding.sample, finding.error_rate) == (100 + blind.known.found, 0.01)
    assert watch_recall(rows(), "detection", 0.3, "floor", 0.01, 20).outcome == Outcome.PASSED


def test_positives_that_are_told_break_the_floor_though_few_are_explored() -> None:
    told = rows(positive=0.2, share=0.001, told=1.0)
    finding = watch_recall(told, "detection", 0.3, "floor", 0.01, 20)
    assert finding.outcome == Outcome.FAILED


@pytest.mark.parametrize("positive", [0.0, 0.2])
def test_where_nothing_is_explored_no_audit_passes(positive: float) -> None:
    unseen = rows(positive=positive, share=None)
    assert blind_spot(unseen, 0.01).outcome == Outcome.INCONCLUSIVE
    assert watch_recall(unseen, "d", 0.3, "floor", 0.01, 20).outcome == Outcome.INCONCLUSIVE
    assert label_coverage(unseen, EDGES, 0.5).outcome == Outcome.FAILED
    labelled = Selected(
        unseen.score, unseen.above, unseen.reviewed, np.abs(unseen.label), unseen.propensity
    )
    told = Selected(
        unseen.score,
        unseen.above,
        unseen.reviewed,
        np.zeros(len(unseen), np.int8),
        unseen.propensity,
    )
    assert label_coverage(labelled, EDGES, 0.5).outcome == Outcome.FAILED  # complaints alone
    assert label_coverage(told, EDGES, 0.5).outcome == Outcome.INCONCLUSIVE


def test_coverage_passes_where_every_band_that_counts_was_explored() -> None:
    finding = label_coverage(rows(), EDGES, 0.5)
    assert (finding.outcome, finding.sample, finding.value) == (Outcome.PASSED, 4200, 0.0)
    few = label_coverage(rows(share=0.001), EDGES, 0.5)
    assert few.outcome == Outcome.FAILED and few.value == pytest.approx(4000 / 4200)


def test_bands_add_up_and_count_labels_by_how_they_came() -> None:
    made = rows(positive=0.1, told=0.5)
    found = bands(made, EDGES, 0.5)
    assert sum(band.decisions for band in found) == len(made)
    assert sum(band.reviewed for band in found) == made.reviewed.sum()
    assert sum(band.told for band in found) == made.known.told
    assert all(band.negative == 0 for band in found)
    assert found[-1].coverage == 1.0 and found[0].coverage < 0.2


def test_an_empty_window_is_inconclusive_to_every_audit() -> None:
    empty = Selected(*(np.empty(0, kind) for kind in (float, bool, bool, np.int8, float)))
    assert blind_spot(empty, 0.01).outcome == Outcome.INCONCLUSIVE
    assert label_coverage(empty, EDGES, 0.5).outcome == Outcome.INCONCLUSIVE
    assert watch_recall(empty, "d", 0.3, "floor", 0.01, 0).outcome == Outcome.INCONCLUSIVE


def test_decisions_of_two_shares_are_not_judged_together() -> None:
    made = rows()
    mixed = np.where(np.arange(len(made)) % 2, made.propensity, np.minimum(made.propensity, 0.01))
    with pytest.raises(DataError, match="explored at 2 shares"):
        Selected(made.score, made.above, made.reviewed, made.label, np.where(made.above, 1, mixed))
