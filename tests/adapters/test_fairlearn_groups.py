"""Rates of groups by fairlearn: each side of a ratio by its own rows, and crossings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from setpoint.adapters.fairlearn_groups import group_rates
from setpoint.domain.findings import Outcome
from setpoint.domain.gates.fairness import fairness_gate
from setpoint.domain.groups import crossed


def _decided(
    acted: dict[str, int], rows: int = 2000, positives: int = 200
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Label, action and group; of each group so many rows are acted on, positives first."""
    label = np.tile((np.arange(rows) < positives).astype(np.int8), len(acted))
    done = np.concatenate([np.arange(rows) < n for n in acted.values()])
    return label, done, np.repeat(np.array(list(acted), dtype=object), rows)


def _outcome(metric: str, acted: dict[str, int]) -> Outcome:
    rates = group_rates(*_decided(acted), metric)
    return fairness_gate("sex", rates, floor=0.8, min_group=30, metric=metric).outcome


def test_both_sides_of_one_share_can_give_opposite_verdicts() -> None:
    acted = {"f": 100, "m": 200}
    assert _outcome("favourable_ratio", acted) == Outcome.PASSED
    assert _outcome("adverse_ratio", acted) == Outcome.FAILED


def test_the_favourable_side_breaks_where_nearly_all_are_acted_on() -> None:
    acted = {"f": 1900, "m": 1800}
    assert _outcome("favourable_ratio", acted) == Outcome.FAILED
    assert _outcome("adverse_ratio", acted) == Outcome.PASSED


@pytest.mark.parametrize(
    ("metric", "hits", "sample"),
    [
        ("equal_opportunity_ratio", [100, 200], 200),
        ("false_positive_ratio", [0, 100], 1800),
        ("adverse_ratio", [100, 300], 2000),
        ("favourable_ratio", [1900, 1700], 2000),
    ],
)
def test_each_metric_counts_its_rows(metric: str, hits: list[int], sample: int) -> None:
    rates = group_rates(*_decided({"f": 100, "m": 300}), metric)
    assert [(r.group, r.hits, r.sample) for r in rates] == [
        ("f", hits[0], sample),
        ("m", hits[1], sample),
    ]


@pytest.mark.parametrize("positives", [1000, 0])
def test_a_group_without_a_positive_is_named_and_opens_nothing(positives: int) -> None:
    groups = np.repeat(np.array(["a", "b", "c"], dtype=object), [5000, 5000, 4000])
    place = np.concatenate([np.arange(5000), np.arange(5000), np.full(4000, 5000)])
    label, acted = (place < positives).astype(np.int8), place < 900
    rates = group_rates(label, acted, groups, "equal_opportunity_ratio")
    assert [(r.group, r.sample) for r in rates] == [("a", positives), ("b", positives), ("c", 0)]
    found = fairness_gate("sex", rates, floor=0.8, min_group=30)
    assert found.outcome == Outcome.INCONCLUSIVE and "c (0)" in found.reason


def test_a_crossing_shows_what_its_columns_hide() -> None:
    # Acted on: young women and old men twice as often; each column alone is even.
    kinds = {("f", "young"): 200, ("f", "old"): 100, ("m", "young"): 100, ("m", "old"): 200}
    label = np.zeros(2000 * len(kinds), dtype=np.int8)
    acted = np.concatenate([np.arange(2000) < n for n in kinds.values()])
    columns = {
        name: np.repeat(np.array([kind[i] for kind in kinds], dtype=object), 2000)
        for i, name in enumerate(("sex", "age"))
    }

    def judged(*names: str) -> Outcome:
        rates = group_rates(label, acted, crossed(columns, names), "adverse_ratio")
        return fairness_gate("-".join(names), rates, floor=0.8, min_group=30).outcome

    assert (judged("sex"), judged("age")) == (Outcome.PASSED, Outcome.PASSED)
    assert judged("sex", "age") == Outcome.FAILED
