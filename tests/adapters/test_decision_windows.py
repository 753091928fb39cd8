"""A window of decisions is read piece by piece, and nothing that is not asked for."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setpoint.adapters.decision_table import SAMPLE, decode
from setpoint.errors import DataError, StateError
from setpoint.ports import FIXED, RECORD, DecisionCount, DecisionQuery, Label
from tests.adapters.decision_homes import Home, Log, opened
from tests.adapters.test_decision_log import START, decision

QUERY = DecisionQuery(features=("amount", "age", "country"), request=("country",))


def _fill(log: Log, rows: int) -> None:
    """Decisions of which several share each event time, written out of order."""
    log.append(
        [
            decision(i, event_time=START + timedelta(minutes=i // 3), version="12"[i % 4 == 0])
            for i in range(rows)
        ]
    )
    log.append([decision(i, version="2", shadow=True) for i in range(0, rows, 4)])
    log.append([decision(i, shadow=True) for i in range(0, rows, 5)])
    log.append([decision(-i, event_time=START + timedelta(minutes=i % 7)) for i in range(1, 20)])
    log.add_labels([Label(f"d{i}", i % 2, START) for i in range(0, rows, 6)])


@pytest.mark.parametrize("size", [1, 2, 7, 60, 10_000])
@pytest.mark.parametrize(
    "query",
    [
        QUERY,
        DecisionQuery(version="2", request=("amount",)),
        DecisionQuery(shadow=True),
        DecisionQuery(start=START + timedelta(minutes=2), end=START + timedelta(minutes=9)),
    ],
    ids=["all", "version", "shadow", "window"],
)
def test_batches_are_what_read_gives_and_never_larger_than_asked_for(
    log: Log, query: DecisionQuery, size: int
) -> None:
    _fill(log, 60)
    tables = list(log.batches(query, rows=size))
    assert all(0 < table.num_rows <= size for table in tables)
    assert pa.concat_tables(tables).combine_chunks().equals(log.read(query).combine_chunks())


@pytest.mark.parametrize(
    "query",
    [
        DecisionQuery(),
        DecisionQuery(version="2"),
        DecisionQuery(version="2", shadow=True),
        DecisionQuery(start=START + timedelta(minutes=2), end=START + timedelta(minutes=9)),
        DecisionQuery(start=START + timedelta(days=9)),
    ],
    ids=["all", "version", "shadow", "window", "nothing"],
)
def test_a_summary_counts_what_read_gives(log: Log, query: DecisionQuery) -> None:
    _fill(log, 60)
    log.append([decision(100 + i, action="review", version="2") for i in range(4)])
    found = log.summary(query)
    rows = log.read(query).to_pylist()
    kinds = sorted({(one["version"], one["action"]) for one in rows})
    assert [(one.version, one.action) for one in found] == kinds
    for one in found:
        times = [
            row["event_time"] for row in rows if (row["version"], row["action"]) == one_kind(one)
        ]
        assert (one.decisions, one.first, one.last) == (len(times), min(times), max(times))


def one_kind(count: DecisionCount) -> tuple[str, str]:
    """What a count is of."""
    return count.version, count.action


def test_a_summary_of_mirrored_decisions_counts_each_version(log: Log) -> None:
    log.append([decision(1, version=v, shadow=True) for v in "12"])
    found = log.summary(DecisionQuery(shadow=True))
    assert [(one.version, one.decisions) for one in found] == [("1", 1), ("2", 1)]


def test_a_summary_refuses_a_time_without_a_zone(log: Log) -> None:
    with pytest.raises(DataError, match="has no time zone"):
        log.summary(DecisionQuery(start=datetime(2024, 5, 1)))


def test_a_window_without_decisions_is_one_empty_batch(log: Log) -> None:
    (empty,) = log.batches(QUERY)
    log.append([decision(1)])
    assert empty.num_rows == 0
    assert empty.column_names == next(log.batches(QUERY)).column_names


def test_a_whole_record_is_there_if_asked_for(log: Log) -> None:
    log.append([decision(1, reasons=["amount", "hour"])])
    (row,) = log.read(DecisionQuery(columns=RECORD)).to_pylist()
    assert json.loads(row.pop("request")) == decision(1).request
    assert json.loads(row.pop("features")) == decision(1).features
    assert row.pop("client") == ""
    assert row == {"bundle_digest": "d" * 64, "trace_id": "r", "reasons": ["amount", "hour"]}


@pytest.mark.parametrize("read", ["read", "batches"])
def test_a_column_that_no_decision_has_is_refused_at_once(log: Log, read: str) -> None:
    with pytest.raises(DataError, match="no column 'scores'"):
        getattr(log, read)(DecisionQuery(columns=("id", "scores")))


def test_a_window_without_time_zone_is_refused_before_the_first_batch(
    log: Log,
) -> None:
    with pytest.raises(DataError, match="no time zone"):
        log.batches(DecisionQuery(end=datetime(2024, 5, 1)))


def test_a_store_that_fails_between_two_batches_is_a_state_error(home: Home, log: Log) -> None:
    _fill(log, 60)
    batches = log.batches(QUERY, rows=10)
    next(batches)
    log.close()
    with pytest.raises(StateError, match=home.where):
        next(batches)


def test_between_two_batches_others_write(home: Home, log: Log) -> None:
    _fill(log, 60)
    batches = log.batches(DecisionQuery(), rows=10)
    seen = next(batches)["id"].to_pylist()
    other = opened(home.kind, home.address)
    other.append([decision(10_000)])
    other.close()
    seen += [one for batch in batches for one in batch["id"].to_pylist()]
    assert len(seen) == len(set(seen)) == 60 + 19 + 1


def test_memory_does_not_grow_with_the_window(log: Log) -> None:
    def peak(minutes: int) -> int:
        query = DecisionQuery(end=START + timedelta(minutes=minutes), features=("amount", "age"))
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        arrow: int = max(pa.total_allocated_bytes() - before for _ in log.batches(query, rows=500))
        python: int = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return arrow + python

    log.append([decision(number) for number in range(20_000)])
    peak(2000)
    assert peak(20_000) < 1.5 * peak(2000)


values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["2024-05-01", "2024-05-01T00:00:00Z", "1", "true", "null", "\n", "\x00"])
)


def _expected(values: list[Any], floats: bool) -> tuple[pa.DataType, list[Any]]:
    kinds = {type(value) for value in values if value is not None}
    numbers = kinds <= {int, float} and (floats or float in kinds)
    if numbers or not kinds:
        return pa.float64(), [None if v is None else float(v) for v in values]
    plain = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    if len(kinds) == 1 and not (floats and kinds == {bool}):
        return plain[kinds.pop()], values
    return pa.string(), [None if v is None else str(v) for v in values]


@settings(max_examples=300, deadline=None)
@given(st.lists(values, max_size=5), st.lists(values, max_size=5), st.booleans())
@example([1], [1.5], False)
@example([1.5], ["a"], False)
@example([None], [3], True)
@example(["2024-05-01T00:00:00Z"], [], True)
@example([True], [2], False)
def test_fields_are_decoded_alike_whatever_later_rows_hold(
    early: list[Any], late: list[Any], floats: bool
) -> None:
    if floats:  # features are numbers, text or missing
        early, late = ([v for v in part if not isinstance(v, bool)] for part in (early, late))
    column = early + [None] * SAMPLE + late
    bodies = [
        json.dumps({"a": i, "x y.z": one, "b": [one]}, ensure_ascii=False).encode()
        for i, one in enumerate(column)
    ]
    found = decode(bodies, ["x y.z", "gone"], floats)
    kind, wanted = _expected(column, floats)
    assert (found["x y.z"].type, found["x y.z"].to_pylist()) == (kind, wanted)
    assert found["gone"].null_count == len(bodies)


def test_a_row_that_is_longer_than_a_block_is_read(log: Log) -> None:
    log.append([decision(1, request={"note": "x" * 9_000_000, "n": 3})])
    assert log.read(DecisionQuery(request=("n",)))["n"].to_pylist() == [3]


def test_unless_told_otherwise_a_window_has_the_columns_it_always_had() -> None:
    assert DecisionQuery().columns == FIXED
