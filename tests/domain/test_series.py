"""Figures beside their own past: an unusual one is seen, chance is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.series import unusual
from setpoint.domain.windows import WindowRecord

START = datetime(2026, 1, 1, tzinfo=UTC)


def _finding(name: str, value: float | None, sample: int = 1000) -> Finding:
    outcome = Outcome.INCONCLUSIVE if value is None else Outcome.PASSED
    return Finding(name, outcome, value, None, "", sample, None, "as measured")


def _past(series: dict[str, list[float]]) -> list[WindowRecord]:
    length = len(next(iter(series.values())))
    return [
        WindowRecord(
            START + timedelta(days=7 * i),
            "v1",
            tuple(_finding(name, values[i]) for name, values in series.items()),
        )
        for i in range(length)
    ]


def test_figures_that_only_vary_are_called_unusual_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(0)
    rounds, alarms = 1000, 0
    for _ in range(rounds):
        past = _past({f"m{i}": rng.normal(5, 1, 8).tolist() for i in range(4)})
        now = [_finding(f"m{i}", float(rng.normal(5, 1))) for i in range(4)]
        alarms += any(f.outcome == Outcome.FAILED for f in unusual(now, past, 0.02))
    assert alarms / rounds <= 0.02 + 3 * np.sqrt(0.02 * 0.98 / rounds)


def test_a_jump_that_no_threshold_was_set_for_is_seen_and_named() -> None:
    past = _past({"alert_rate": [0.10, 0.11, 0.09, 0.10, 0.12, 0.1], "recall": [0.6] * 5 + [0.7]})
    found = unusual([_finding("alert_rate", 0.3), _finding("recall", 0.6)], past, 0.01)
    assert [(f.slice, f.outcome) for f in found] == [
        ("alert_rate", Outcome.FAILED),
        ("recall", Outcome.PASSED),
    ]


def test_a_small_window_may_vary_more() -> None:
    past = _past({"recall": [0.60, 0.61, 0.59, 0.60, 0.62, 0.61]})
    whole = unusual([_finding("recall", 0.68)], past, 0.01)
    small = unusual([_finding("recall", 0.68, sample=50)], past, 0.01)
    assert (whole[0].outcome, small[0].outcome) == (Outcome.FAILED, Outcome.PASSED)


def test_without_a_past_or_a_value_or_any_variation_nothing_is_said() -> None:
    short = _past({"recall": [0.6, 0.5, 0.7, 0.6]})
    still = _past({"recall": [0.6] * 9})
    assert unusual([_finding("recall", 0.1)], short, 0.01) == []
    assert unusual([_finding("recall", 0.1)], still, 0.01) == []
    assert unusual([_finding("recall", None)], _past({"recall": [0.5, 0.6] * 4}), 0.01) == []


def test_what_failed_by_itself_is_not_told_of_twice() -> None:
    past = _past({"recall": [0.60, 0.61, 0.59, 0.60, 0.62, 0.61]})
    failed = Finding("recall", Outcome.FAILED, 0.1, 0.5, "floor", 1000, 0.01, "broken")
    assert unusual([failed], past, 0.01) == []
