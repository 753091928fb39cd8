"""What pictures of a verdict show: on which side of its setpoint a value is, shares by group."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.explanations import importance
from setpoint.domain.gates.explainability import LEAST, slice_gate
from setpoint.domain.outcome import NOT_DECLARED, Finding, Outcome, Verdict, not_measured
from setpoint.domain.pictures import ALL, INPUTS, MIDDLE, OTHERS, drivers, finding_rows

FLOOR = Finding("recall", Outcome.PASSED, 0.6, 0.5, "floor", 1200, 0.05, "holds", (0.55, 0.7))
NUMBER = st.floats(-1e6, 1e6)


def _row(finding: Finding):  # type: ignore[no-untyped-def]
    [row] = finding_rows(Verdict((finding,)))
    return row


@given(value=NUMBER, setpoint=NUMBER, other=NUMBER, floor=st.booleans())
def test_what_holds_its_setpoint_is_right_of_it_and_all_is_on_the_axis(
    value: float, setpoint: float, other: float, floor: bool
) -> None:
    bounds = (min(value, other), max(value, other))
    direction = "floor" if floor else "ceiling"
    row = _row(Finding("x", Outcome.FAILED, value, setpoint, direction, 9, 0.1, "", bounds))
    assert row.value is not None and row.interval is not None
    left, right = row.interval
    assert 0.0 <= left <= row.value <= right <= 1.0
    holds = value >= setpoint if floor else value <= setpoint
    assert row.value >= MIDDLE if holds else row.value <= MIDDLE


def test_distances_within_a_row_are_in_proportion() -> None:
    row = _row(FLOOR)
    assert row.value == pytest.approx(MIDDLE + 0.25)
    assert row.interval == (pytest.approx(MIDDLE + 0.125), pytest.approx(1.0))
    assert row.cells == ("0.6", "0.55 to 0.7", "≥ 0.5", "1,200", "0.05")


def test_an_interval_fills_its_axis_and_a_value_alone_is_a_part_of_its_setpoint() -> None:
    near = replace(FLOOR, value=0.87, setpoint=0.95, interval=(0.84, 0.9))
    assert _row(near).interval == (0.0, pytest.approx(MIDDLE - 0.05 / 0.11 / 2))
    alone = replace(FLOOR, value=0.6, setpoint=0.9, interval=None, direction="ceiling")
    assert _row(alone).value == pytest.approx(MIDDLE + 0.3 / 0.9 / 2)


def test_a_setpoint_of_zero_has_an_axis_too() -> None:
    zero = replace(FLOOR, value=0.0, setpoint=0.0, interval=None, direction="ceiling")
    assert _row(zero).value == MIDDLE and _row(zero).interval is None
    assert _row(replace(FLOOR, value=-2.0, setpoint=0.0, interval=None)).value == 0.0


def test_an_infinite_bound_is_at_the_end_and_one_that_is_no_number_is_left_out() -> None:
    assert _row(replace(FLOOR, interval=(-math.inf, 0.7))).interval == (0.0, pytest.approx(1.0))
    unknown = _row(replace(FLOOR, interval=(math.nan, 0.7)))
    assert unknown.interval is None and unknown.cells[1] == "" and unknown.value is not None


@pytest.mark.parametrize(
    "finding",
    [
        not_measured("x", "nothing was seen"),
        replace(FLOOR, setpoint=None),
        replace(FLOOR, direction=""),
    ],
)
def test_a_finding_that_is_compared_with_nothing_has_its_reason_for_an_axis(
    finding: Finding,
) -> None:
    row = _row(finding)
    assert not row.drawn and row.reason == finding.reason


def test_every_finding_has_a_row_the_worst_first_and_what_nothing_judges_is_last() -> None:
    found = [replace(FLOOR, name=str(outcome), outcome=outcome) for outcome in Outcome]
    rows = finding_rows(Verdict(tuple(found), (("advisories", "no file"),)))
    assert [r.outcome for r in rows] == [
        *("failed", "error", "inconclusive", "passed"),
        NOT_DECLARED,
    ]
    assert (rows[-1].label, rows[-1].reason, rows[-1].drawn) == ("advisories", "no file", False)


def _values(n: int, d: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).normal(size=(n, d)) * np.geomspace(1, 0.01, d)


def test_a_group_shows_its_own_shares_and_a_small_one_none() -> None:
    values, group = _values(100, 3), np.array(["a"] * 40 + ["b"] * 50 + ["c"] * 10, dtype=object)
    values[40:90, 2] *= 1e5
    shown = drivers(values, ["x", "y", "z"], {"kind": group}, {"kind": 5})
    rows = {row.label: row for row in shown.rows}
    assert list(rows) == [ALL, "kind = b", "kind = a", "kind = c"]
    assert shown.inputs[0] == "z"  # what carries most is first
    place = [("x", "y", "z").index(name) for name in shown.inputs]
    for name, part in (("a", values[:40]), ("b", values[40:90])):
        assert rows[f"kind = {name}"].shares == tuple(importance(part)[place])
    assert rows["kind = c"].shares is None and rows["kind = c"].sample == 10
    assert [row.first for row in shown.rows] == [True, True, False, False]
    assert not shown.unshown


def test_the_picture_and_the_gate_tell_the_same_of_a_group() -> None:
    values = _values(300, 4, seed=3)
    group = np.array([f"g{i}" for i in np.random.default_rng(4).integers(4, size=300)], object)
    names = ["x", "y", "z", "u"]
    finding = slice_gate("kind", values, group, names, max_share=0.9)
    shown = drivers(values, names, {"kind": group}, {"kind": 5})
    worst = shown.rows[1]
    assert worst.shares is not None and max(worst.shares) == finding.value
    told = [row.label.removeprefix("kind = ") for row in shown.rows[1:]]
    assert told == [part.split(":")[0] for part in finding.reason.split(", ")]


@given(d=st.integers(1, INPUTS + 8), n=st.integers(LEAST, LEAST + 40))
def test_the_shares_of_a_row_add_up_whatever_is_folded(d: int, n: int) -> None:
    shown = drivers(_values(n, d), [f"x{i}" for i in range(d)], {}, {})
    [row] = shown.rows
    assert row.shares is not None and len(row.shares) == len(shown.inputs)
    assert sum(row.shares) == pytest.approx(1.0)
    assert (OTHERS in shown.inputs) == (d > INPUTS + 1)


def test_groups_beyond_the_most_are_counted_and_have_no_row() -> None:
    group = np.array([f"g{i % 8}" for i in range(8 * LEAST)] + ["s1", "s2", "s3"], dtype=object)
    shown = drivers(_values(len(group), 2), ["x", "y"], {"kind": group}, {"kind": 2})
    assert len(shown.rows) == 1 + 2 + 2 and shown.unshown == {"kind": 6 + 1}


def test_too_few_rows_to_explain_show_nothing_of_all() -> None:
    none = np.array([], dtype=object)
    shown = drivers(np.zeros((0, 2)), ["x", "y"], {"kind": none}, {"kind": 5})
    assert [(row.label, row.shares) for row in shown.rows] == [(ALL, None)]
