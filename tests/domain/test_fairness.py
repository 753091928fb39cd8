"""Fairness: small groups open nothing, and weights part the label from the group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.findings import Outcome
from setpoint.domain.gates.fairness import METRICS, fairness_gate
from setpoint.domain.groups import reweighing


@dataclass(frozen=True)
class Rate:
    group: str
    hits: int
    sample: int


def test_the_reason_names_every_group_that_was_not_seen_by_itself() -> None:
    rates = [Rate("a", 450, 500), Rate("b", 450, 500), Rate("c", 18, 20), Rate("d", 18, 20)]
    found = fairness_gate("origin", rates, floor=0.8, min_group=30)
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "c (20), d (20)" in found.reason


def test_small_groups_together_can_still_fail() -> None:
    rates = [Rate("a", 450, 500)] + [Rate(f"s{i}", 2, 25) for i in range(8)]
    found = fairness_gate("origin", rates, floor=0.8, min_group=30)
    assert found.outcome == Outcome.FAILED


@given(
    counts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 29)), max_size=4),
    metric=st.sampled_from(sorted(METRICS)),
)
def test_no_rate_of_a_small_group_opens_the_gate(
    counts: list[tuple[int, int]], metric: str
) -> None:
    big = [Rate("a", 9000, 10000), Rate("b", 9000, 10000)]
    small = [Rate(f"s{i}", min(h, n), n) for i, (h, n) in enumerate(counts)]
    found = fairness_gate("x", big + small, floor=0.8, min_group=30, metric=metric)
    assert found.passed == (not small)


@given(
    label=st.lists(st.integers(0, 1), min_size=1, max_size=60),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
)
def test_reweighed_rows_have_the_same_share_of_positives_in_every_group(
    label: list[int], seed: int, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    y = np.array(label, dtype=np.int8)
    group = rng.choice(np.array(["a", "b", "c"], dtype=object), len(y))
    own = rng.uniform(1, 9, len(y)) if weighted else np.ones(len(y))
    weight = reweighing(y, group, own if weighted else None) * own
    share = own[y == 1].sum() / own.sum()
    for one in set(group.tolist()):
        cell = group == one
        if 0 < y[cell].sum() < cell.sum():
            assert weight[cell].sum() == pytest.approx(own[cell].sum())
            assert weight[cell & (y == 1)].sum() / weight[cell].sum() == pytest.approx(share)


def test_rows_whose_label_owes_nothing_to_the_group_weigh_what_they_weighed() -> None:
    label = np.tile(np.array([0, 1], dtype=np.int8), 50)
    group = np.repeat(np.array(["a", "b"], dtype=object), 50)
    assert np.allclose(reweighing(label, group), 1.0)
