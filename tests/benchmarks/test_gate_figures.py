"""Which simulated errors of the gates are held against the rates that they state."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from benchmarks.gates.__main__ import over_stated
from benchmarks.gates.limits import LIMITS, WHERE
from setpoint.domain.findings import Outcome

FINE: dict[str, Any] = {
    "rounds": 2_000,
    "stated_rate": 0.01,
    "setpoint_stated_rate": 0.05,
    "false_promotion_worst": 0.006,
    "exactly_at_the_setpoint": {"recall": 0.05},
    "ten_candidates_on_one_holdout": {"paid": 0.011, "unpaid": 0.1, "stated": 0.01},
    "fairness": {
        "fair, 100 a group": {"passed": 0.9, "failed": 0.0},
        "exactly_the_floor, 100 a group": {"passed": 0.04, "failed": 0.04},
        "unfair, 100 a group": {"passed": 0.0, "failed": 0.9},
    },
    "other_gates": {
        "overfit, well within": {"stated": 0.05, "passed": 1.0, "failed": 0.0},
        "overfit, exactly at": {"stated": 0.05, "passed": 0.055, "failed": 0.05},
        "overfit, beyond": {"stated": 0.05, "passed": 0.0, "failed": 1.0},
        "simpler way, exactly at": {"stated": 0.2, "passed": 0.1, "failed": 0.9},
    },
    "slices": {
        "equal": {"stated": 0.01, "passed": 1.0, "failed": 0.0},
        "costs twice as much": {"stated": 0.01, "passed": 0.03, "failed": 0.9},
    },
}


def test_chance_alone_is_no_error() -> None:
    assert over_stated(FINE) == []


@pytest.mark.parametrize(
    ("part", "key", "field", "told"),
    [
        ("false_promotion_worst", None, None, "promotion"),
        ("exactly_at_the_setpoint", "recall", None, "setpoint recall"),
        ("ten_candidates_on_one_holdout", "paid", None, "ten candidates, paid"),
        ("fairness", "unfair, 100 a group", "passed", "fairness, unfair, 100 a group"),
        ("fairness", "fair, 100 a group", "failed", "fairness, fair, 100 a group, failed"),
        ("other_gates", "overfit, exactly at", "passed", "overfit, exactly at"),
        ("other_gates", "overfit, exactly at", "failed", "overfit, exactly at, failed"),
        ("other_gates", "overfit, well within", "failed", "overfit, well within, failed"),
        ("other_gates", "overfit, beyond", "passed", "overfit, beyond"),
        ("slices", "equal", "failed", "slices, equal"),
        ("slices", "costs twice as much", "passed", "slices, costs twice as much"),
    ],
)
def test_what_passes_oftener_than_stated_is_named(
    part: str, key: str | None, field: str | None, told: str
) -> None:
    wrong = copy.deepcopy(FINE)
    if key is None:
        wrong[part] = 0.2
    elif field is None:
        wrong[part][key] = 0.2
    else:
        wrong[part][key][field] = 0.2
    assert over_stated(wrong) == [told]


@pytest.mark.parametrize("name", LIMITS)
def test_a_model_within_its_limit_never_fails_and_one_beyond_never_passes(name: str) -> None:
    rng = np.random.default_rng(1)
    for share, wrong in ((WHERE["well_within"], Outcome.FAILED), (WHERE["beyond"], Outcome.PASSED)):
        ends = [LIMITS[name](rng, share).outcome for _ in range(20)]
        assert ends.count(wrong) <= (4 if name == "simpler way" else 0)
