"""The search tries every training window it may, and takes the one that costs least."""

from __future__ import annotations

import pytest

from setpoint.adapters.optuna_search import search
from setpoint.domain.training import Parameters


def _window(parameters: Parameters) -> str:
    if parameters.recent_days:
        return "recent"
    return "weighted" if parameters.half_life_days else "all"


@pytest.mark.parametrize("best", ["all", "weighted", "recent"])
def test_the_training_window_is_the_one_that_costs_least(best: str) -> None:
    found, tried = search(
        lambda p: float(_window(p) != best),
        trials=3,
        seed=1,
        max_iter=10,
        span_days=60,
        recent_days=9.0,
    )
    assert _window(found) == best
    assert [_window(p) for p, _ in tried] == ["all", "weighted", "recent"]


def test_without_a_change_no_row_is_left_out() -> None:
    _, tried = search(lambda _: 1.0, trials=12, seed=1, max_iter=10, span_days=60)
    assert all(p.recent_days == 0 for p, _ in tried)


def test_the_same_seed_tries_the_same() -> None:
    first, again = (
        search(lambda p: p.learning_rate, trials=6, seed=4, max_iter=10, span_days=60)
        for _ in range(2)
    )
    assert first == again
