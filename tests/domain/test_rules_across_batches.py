"""Rules that hold a batch against other batches, the clock, and the two classes of a label."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.domain.schema import ColumnSpec
from setpoint.domain.validation import not_in_the_future, not_seen_before, two_classes

ID = ColumnSpec("id", "id")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _ids(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def test_an_id_that_is_known_or_in_an_earlier_batch_is_named_with_its_row() -> None:
    batches = [_ids("a", "new"), _ids("b", "new", None), _ids("c", None)]
    results = not_seen_before(ID, batches, _ids("a"))
    assert [(r.failures, r.examples) for r in results] == [
        (1, ("a (row 0)",)),
        (1, ("new (row 1)",)),
        (0, ()),
    ]


def test_five_repeated_ids_are_shown_and_personal_ones_are_masked() -> None:
    ids = _ids(*(str(n) for n in range(9)))
    [plain] = not_seen_before(ID, [ids], ids)
    assert plain.failures == 9 and len(plain.examples) == 5
    [masked] = not_seen_before(ColumnSpec("id", "id", personal=True), [_ids("anna")], _ids("anna"))
    assert masked.examples == ("*** (row 0)",)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.text("ab", max_size=2), max_size=5),
    st.lists(st.lists(st.text("ab", max_size=2), min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_an_id_fails_exactly_if_something_before_its_batch_has_it(
    known: list[str], batches: list[list[str]]
) -> None:
    found = not_seen_before(ID, [_ids(*b) for b in batches], _ids(*known))
    seen = set(known)
    for result, batch in zip(found, batches, strict=True):
        assert result.failures == sum(value in seen for value in batch)
        seen |= set(batch)


def test_a_million_ids_are_compared_in_seconds() -> None:
    numbers = pa.chunked_array([pa.array(np.arange(1_000_000)).cast(pa.string())])
    began = datetime.now(UTC)
    [result] = not_seen_before(ID, [numbers.slice(500_000)], numbers.slice(0, 500_000))
    assert result.passed
    assert datetime.now(UTC) - began < timedelta(seconds=5)


def test_a_time_after_the_latest_allowed_fails_and_a_null_does_not() -> None:
    times = pa.array([NOW, NOW + timedelta(seconds=1), None], pa.timestamp("us", "UTC"))
    result = not_in_the_future(ColumnSpec("at", "time"), pa.chunked_array([times]), NOW)
    assert (result.failures, result.total, result.passed) == (1, 3, False)
    assert "2026-01-01 00:00" in result.expected


@pytest.mark.parametrize(
    ("labels", "known", "failures", "negative"),
    [
        (["1", "0", None], "", 0, "0"),
        (["1", None], "", 0, ""),
        (["0", "0", "2"], "", 1, "0"),
        (["2"], "0", 1, "0"),
        (["False", "True"], "", 1, "False"),
        ([None], "no", 0, "no"),
    ],
)
def test_a_label_has_one_value_beside_the_positive_one(
    labels: list[str | None], known: str, failures: int, negative: str
) -> None:
    result, found = two_classes(ColumnSpec("y", "category"), _ids(*labels), "1", known)
    assert (result.failures, found) == (failures, negative)


def test_all_classes_of_a_label_are_named_unless_they_are_personal() -> None:
    labels = _ids("good", "good", "bad", "odd")
    result, _ = two_classes(ColumnSpec("y", "category"), labels, "bad")
    assert "'bad', 'good', 'odd'" in result.expected and result.examples == ("odd (row 3)",)
    masked, _ = two_classes(ColumnSpec("y", "category", personal=True), labels, "bad")
    assert "odd" not in str(masked)
