"""Drift that no column shows alone is found; a window like training is left alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from setpoint.domain.findings import Outcome
from setpoint.domain.multivariate import SAMPLE, domain_classifier, sample


def _rows(rng: np.random.Generator, rows: int, correlation: float = 0.0) -> dict[str, list]:
    a, b = rng.normal(size=(2, rows))
    b = correlation * a + np.sqrt(1 - correlation**2) * b
    kind = rng.choice(["chip", "online", ""], rows)
    return {"a": a.tolist(), "b": b.tolist(), "kind": kind.tolist()}


def test_columns_that_move_together_are_found_though_each_alone_is_as_before() -> None:
    rng = np.random.default_rng(0)
    found = domain_classifier(_rows(rng, 1000), _rows(rng, 3000, correlation=0.9), 0.001, 0.6)
    assert found.outcome == Outcome.FAILED
    assert found.value is not None and found.value > 0.65


def test_without_drift_it_fails_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(1)
    rounds = 100
    alarms = sum(
        domain_classifier(_rows(rng, 300), _rows(rng, 300), 0.1, ceiling=0.5, seed=i).outcome
        == Outcome.FAILED
        for i in range(rounds)
    )
    assert alarms / rounds <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / rounds)


@pytest.mark.parametrize("rows", [0, 1, 99])
def test_few_rows_are_inconclusive(rows: int) -> None:
    rng = np.random.default_rng(2)
    found = domain_classifier(_rows(rng, 1000), _rows(rng, rows), 0.01)
    assert found.outcome == Outcome.INCONCLUSIVE and str(rows) in found.reason


def test_a_column_that_is_all_missing_is_drift_and_no_error() -> None:
    rng = np.random.default_rng(3)
    empty = _rows(rng, 1000) | {"a": [None] * 1000}
    assert domain_classifier(_rows(rng, 1000), empty, 0.01).outcome == Outcome.FAILED


def test_the_sample_that_a_bundle_keeps_is_strict_json_and_bounded() -> None:
    columns = {"x": np.r_[np.nan, np.arange(5000.0)], "kind": np.full(5001, "a", dtype=object)}
    kept = sample(columns, seed=0)
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept
    assert [len(values) for values in kept.values()] == [SAMPLE, SAMPLE]
    assert sample({"x": np.array([np.nan, 1.0])}, 0) == {"x": [None, 1.0]}
