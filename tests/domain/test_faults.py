"""Broken data are told from drift, with what would undo them; drift is not called broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from setpoint.domain.drift import count, psi_findings
from setpoint.domain.faults import FAULT, MIN_ROWS, fault_of
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.profile import Profile, build_profile
from setpoint.errors import DataError

RNG = np.random.default_rng(2)
AMOUNTS = RNG.lognormal(3.0, 1.0, 20_000)
SIGNED = RNG.normal(2.0, 1.0, 20_000)
CHANNELS = RNG.choice(["chip", "online", "contactless"], 20_000, p=[0.5, 0.3, 0.2])


def profile(values: Any) -> Profile:
    return build_profile({"c": values})


def judged(reference: Any, window: Any) -> tuple[Finding, Finding | None]:
    """Drift of a window, and the fault it is taken for."""
    made = profile(reference)
    [drift] = [f.finding for f in psi_findings(made, count(made, {"c": window}))]
    return drift, fault_of(made.columns[0], window, drift)


Change = Callable[[np.random.Generator], Any]
BROKEN: dict[str, tuple[Any, Change, str]] = {
    "cents": (AMOUNTS, lambda r: 100 * r.lognormal(3, 1, 900), "divided by 100"),
    "thousands": (AMOUNTS, lambda r: r.lognormal(3, 1, 900) / 1000, "times 1000"),
    "minutes": (AMOUNTS, lambda r: 60 * r.lognormal(3, 1, 900), "divided by 60"),
    "sign": (SIGNED, lambda r: -r.normal(2, 1, 900), "sign turned"),
    "null": (AMOUNTS, lambda r: np.full(900, np.nan), "missing in 100%"),
    "null category": (CHANNELS, lambda r: np.full(900, "", object), "missing in 100%"),
    "frozen": (AMOUNTS, lambda r: np.full(900, 17.5), "17.5 in every one"),
    "renamed": (
        CHANNELS,
        lambda r: r.choice(["chip", "online", "tap"], 900, p=[0.5, 0.3, 0.2]),
        "contactless (20% of training)",
    ),
}
DRIFTED: dict[str, tuple[Any, Change]] = {
    "inflation": (AMOUNTS, lambda r: 2.5 * r.lognormal(3, 1, 900)),
    "shifted": (SIGNED, lambda r: r.normal(3.5, 1, 900)),
    "wider": (SIGNED, lambda r: r.normal(2, 4, 900)),
    "a category more popular": (
        CHANNELS,
        lambda r: r.choice(["chip", "online", "contactless"], 900, p=[0.1, 0.3, 0.6]),
    ),
    "a new category beside the old": (
        CHANNELS,
        lambda r: r.choice(["chip", "online", "contactless", "new"], 900, p=[0.3, 0.2, 0.1, 0.4]),
    ),
    "a category abandoned": (CHANNELS, lambda r: r.choice(["chip", "online"], 900)),
    "some missing": (
        AMOUNTS,
        lambda r: np.where(r.random(900) < 0.3, np.nan, r.lognormal(3, 1, 900)),
    ),
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_broken_data_are_found_every_time_and_it_says_what_would_undo_them(kind: str) -> None:
    reference, change, word = BROKEN[kind]
    for seed in range(20):
        drift, fault = judged(reference, change(np.random.default_rng(seed)))
        assert drift.outcome == Outcome.FAILED
        assert fault is not None and word in fault.reason
        assert (fault.name, fault.outcome, fault.slice) == (FAULT, Outcome.FAILED, "c")
        assert (fault.value, fault.sample, fault.error_rate) == (
            drift.value,
            drift.sample,
            drift.error_rate,
        )


@pytest.mark.parametrize("kind", sorted(DRIFTED))
def test_drift_is_not_called_broken(kind: str) -> None:
    reference, change = DRIFTED[kind]
    for seed in range(20):
        drift, fault = judged(reference, change(np.random.default_rng(seed)))
        assert drift.outcome == Outcome.FAILED
        assert fault is None


def test_of_too_few_rows_nothing_is_claimed() -> None:
    assert judged(AMOUNTS, np.full(MIN_ROWS - 1, 17.5))[1] is None
    assert judged(AMOUNTS, np.array([]))[1] is None


def test_a_column_that_was_always_empty_is_no_fault() -> None:
    assert judged(np.full(500, np.nan), np.full(500, np.nan))[1] is None


def test_a_number_that_comes_as_text_is_an_error() -> None:
    made = profile(AMOUNTS)
    [drift] = [f.finding for f in psi_findings(made, count(made, {"c": AMOUNTS[:500]}))]
    with pytest.raises(DataError):
        fault_of(made.columns[0], np.array(["x"] * 500, object), drift)
