"""The headlines of an incident: what moved most, since when, where, what changed, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.ledger import Entry
from setpoint.domain.loss import LOSS
from setpoint.domain.profile import build_profile, count_column, direction
from setpoint.domain.triage import first_failed, headlines
from setpoint.domain.windows import WindowRecord

NOW = datetime(2026, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = 7 * DAY


def _psi(column: str, value: float, outcome: Outcome = Outcome.FAILED, moved: str = "") -> Finding:
    reason = f"PSI {value}"
    return Finding(
        "psi", outcome, value, 0.25, "ceiling", 900, 0.001, reason, slice=column, moved=moved
    )


def _held(name: str, value: float, slice: str = "", outcome: Outcome = Outcome.FAILED) -> Finding:
    return Finding(name, outcome, value, 0.8, "floor", 500, 0.001, "below", slice=slice)


def _entry(kind: str, days_before: float, **evidence: str) -> Entry:
    time = (NOW - days_before * DAY).isoformat()
    return Entry(1, time, kind, "cards/v3", evidence, "", "")


def _lines(
    findings: list[Finding],
    windows: Sequence[WindowRecord] = (),
    ledger: Sequence[Entry] = (),
) -> tuple[str, ...]:
    return headlines(findings, windows, ledger, NOW, WEEK)


def test_inputs_are_named_by_how_far_they_moved_with_their_way() -> None:
    found = [_psi(f"x{i}", 0.3 + i / 10, moved="higher" if i % 2 else "") for i in range(7)]
    [line] = [one for one in _lines(found) if one.startswith("moved most")]
    assert line.startswith(
        "moved most: x6 (PSI 0.90), since 2026-02-10 00:00; x5 higher (PSI 0.80)"
    )
    assert line.endswith("3 more") and "x2" not in line


def test_a_failure_began_with_the_first_window_of_its_unbroken_run() -> None:
    outcomes = [Outcome.FAILED, Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE]
    windows = [
        WindowRecord(NOW - (4 - i) * DAY, "v1", (_psi("x", 0.5, outcome), _psi("y", 0.1)))
        for i, outcome in enumerate(outcomes)
    ]
    assert first_failed(_psi("x", 0.6), windows, NOW) == NOW - 2 * DAY
    assert first_failed(_psi("z", 0.6), windows, NOW) == NOW
    assert "first seen in the window that ended 2026-02-08 00:00 event time" in _lines(
        [_psi("x", 0.6)], windows
    )


def test_the_part_of_the_rows_that_is_furthest_from_its_setpoint_is_named() -> None:
    found = [_held("recall", 0.7), _held("recall", 0.6, "country=DE")]
    found += [_held("recall", 0.3, "country=AT"), _held("recall", 0.1, "age=9", Outcome.PASSED)]
    lines = _lines(found)
    assert "worst part of the rows: recall[country=AT] 0.3, floor 0.8" in lines
    assert "does not hold: recall 0.7, floor 0.8, since 2026-02-10 00:00" in lines


def test_what_was_released_or_trained_in_the_window_before_is_named_and_nothing_else() -> None:
    ledger = [_entry("promoted", 8), _entry("accepted", 3, snapshot="abcdef0123456")]
    ledger += [_entry("promoted", 2), _entry("scored", 1), _entry("promoted", -1)]
    [line] = [one for one in _lines([_psi("x", 0.5)], [], ledger) if one.startswith("changed")]
    assert line == (
        "changed in the 7d before: cards/v3 promoted 2026-02-08 00:00; "
        "cards/v3 trained on snapshot abcdef01 2026-02-07 00:00"
    )


def test_where_nothing_changed_here_it_says_to_look_upstream() -> None:
    assert "nothing was trained or released in the 7d before: look upstream" in _lines(
        [_psi("x", 0.5)]
    )


def test_an_estimated_loss_is_told_with_its_bounds() -> None:
    loss = Finding(LOSS, Outcome.PASSED, 1234.4, None, "", 900, 0.05, "est", (800.0, 1700.0))
    drift = [_psi("x", 0.5)]
    told = headlines(drift, [], [], NOW, WEEK, loss)
    assert told[-1] == "estimated loss 1,234 a day (800 to 1,700)"
    assert headlines(drift, [], [], NOW, WEEK, replace(loss, value=-5.0)) == _lines(drift)


_FINDING = st.builds(
    Finding,
    name=st.sampled_from(["psi", "recall", "fault", LOSS, "service"]),
    outcome=st.sampled_from([Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.ERROR]),
    value=st.none() | st.floats(allow_nan=True),
    setpoint=st.none() | st.floats(0, 1),
    direction=st.sampled_from(["floor", "ceiling", ""]),
    sample=st.integers(0, 10),
    error_rate=st.none(),
    reason=st.just("why"),
    slice=st.sampled_from(["", "x", "sex=f"]),
)


@given(st.lists(_FINDING, min_size=1, max_size=12))
def test_an_incident_has_three_to_five_headlines_whatever_failed(findings: list[Finding]) -> None:
    failed = _psi("x", 0.5)
    lines = _lines([failed, *findings])
    assert 3 <= len(lines) <= 5 and all(lines)


@given(st.floats(-3, 3), st.integers(0, 4))
def test_the_way_of_numbers_is_that_of_their_middle(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = np.where(rng.random(4000) < 0.3, 0.0, rng.normal(size=4000))
    [column] = build_profile({"x": base}).columns
    found = direction(column, count_column(column, rng.normal(size=4000) + shift))
    if abs(shift) > 0.6:
        assert found == ("higher" if shift > 0 else "lower")
    elif abs(shift) < 0.1:
        assert found == ""


def test_categories_and_empty_columns_moved_no_way() -> None:
    profile = build_profile({"k": ["a", "b"] * 50, "x": np.arange(100.0)}, categories=["k"])
    by_name = {one.name: one for one in profile.columns}
    assert direction(by_name["k"], count_column(by_name["k"], ["b"] * 10)) == ""
    assert direction(by_name["x"], count_column(by_name["x"], [None, None])) == ""
