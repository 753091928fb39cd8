"""A shadow is judged by what both versions said to the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.pairs import PairLimits, Pairs, compare

LIMITS = PairLimits(pairs=200, flips=0.1, difference=0.1, error_rate=0.01)


def _pairs(n: int, flips: int = 0, apart: float = 0.0, where: str = "DE") -> Pairs:
    """``flips`` of the rows of a country acted on by the challenger alone."""
    country = np.where(np.arange(n) % 2 == 0, "DE", "AT").astype(object)
    acts = np.zeros(n, dtype=bool)
    acts[np.flatnonzero(country == where)[:flips]] = True
    scores = np.linspace(0, 0.5, n)
    return Pairs(scores, scores + apart, np.zeros(n, dtype=bool), acts, {"country": country})


def _verdict(pairs: Pairs, **more: bool) -> Verdict:
    last = len(pairs) >= LIMITS.pairs
    return Verdict(tuple(compare(pairs, LIMITS, **{"last": last, **more})))


def test_versions_that_agree_pass_once_the_sample_is_in() -> None:
    assert _verdict(_pairs(200)).outcome == Outcome.PASSED
    assert _verdict(_pairs(199)).outcome == Outcome.INCONCLUSIVE
    assert _verdict(_pairs(400), last=False).outcome == Outcome.INCONCLUSIVE


def test_no_pairs_are_inconclusive() -> None:
    assert _verdict(_pairs(0)).outcome == Outcome.INCONCLUSIVE


def test_too_many_flips_fail() -> None:
    failed = {f.label for f in _verdict(_pairs(400, flips=100)) if f.outcome == Outcome.FAILED}
    assert "action_flips" in failed


def test_flips_of_one_segment_alone_fail_there() -> None:
    failed = {f.label for f in _verdict(_pairs(1000, flips=90)) if f.outcome == Outcome.FAILED}
    assert failed == {"action_flips[country=DE]"}


def test_a_segment_of_a_few_rows_is_not_judged() -> None:
    pairs = _pairs(400)
    pairs.segments["country"][:] = "DE"  # type: ignore[index]
    pairs.segments["country"][:3] = "XX"  # type: ignore[index]
    assert {f.slice for f in _verdict(pairs)} == {"", "country=DE"}


@pytest.mark.parametrize("apart", [0.3, -0.3])
def test_scores_that_lie_far_apart_fail(apart: float) -> None:
    failed = {f.name for f in _verdict(_pairs(400, apart=apart)) if f.outcome == Outcome.FAILED}
    assert failed == {"score_difference"}


def test_a_challenger_at_the_limit_is_refused_no_oftener_than_stated() -> None:
    rng = np.random.default_rng(5)
    rounds, refused, n = 1000, 0, 400
    country = np.where(np.arange(n) % 2 == 0, "DE", "AT").astype(object)
    for _ in range(rounds):
        acts, scores = rng.random(n) < LIMITS.flips, rng.random(n)
        pairs = Pairs(scores, scores, np.zeros(n, dtype=bool), acts, {"country": country})
        refused += _verdict(pairs).outcome == Outcome.FAILED
    assert refused / rounds <= LIMITS.error_rate
