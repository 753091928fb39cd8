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
    "other_gates": {
        "overfit, well within": {"stated": 0.05, "passed": 1.0},
        "overfit, exactly at": {"stated": 0.05, "passed": 0.055},
        "overfit, beyond": {"stated": 0.05, "passed": 0.0},
    },
    "slices": {"equal": {"stated": 0.01, "failed": 0.0}},
}


def test_chance_alone_is_no_error() -> None:
    assert over_stated(FINE) == []


@pytest.mark.parametrize(
    ("part", "key", "field", "told"),
    [
        ("false_promotion_worst", None, None, "promotion"),
        ("exactly_at_the_setpoint", "recall", None, "setpoint recall"),
        ("other_gates", "overfit, exactly at", "passed", "overfit, exactly at"),
        ("other_gates", "overfit, beyond", "passed", "overfit, beyond"),
        ("slices", "equal", "failed", "slices, equal"),
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
