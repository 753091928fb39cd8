"""The two executions of the features against each other and against their definition."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.adapters.duckdb_features import compute, label_arrivals, with_arrival
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.features import DelayedRisk, FeatureSpec, WindowFeature
from setpoint.errors import DataError
from setpoint.ports import Label

HOUR = 3_600
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SPEC = FeatureSpec(
    event_id="id",
    event_time="at",
    entities={"customer": "customer_id", "terminal": "terminal_id"},
    numbers=("amount",),
    categories=("kind",),
    calendar=("hour", "weekday", "weekend", "night"),
    windows=(
        *(WindowFeature("customer", "count", h * HOUR) for h in (1, 2, 30)),
        *(WindowFeature("customer", "mean", h * HOUR, "amount") for h in (1, 30)),
        WindowFeature("terminal", "sum", 3 * HOUR, "amount"),
        WindowFeature("terminal", "max", 3 * HOUR, "amount"),
        WindowFeature("terminal", "max", 9 * HOUR, "amount"),
    ),
    risks=(
        DelayedRisk("terminal", 4 * HOUR, 0),
        DelayedRisk("terminal", 2 * HOUR, 3 * HOUR),
        DelayedRisk("customer", 9 * HOUR, 1 * HOUR),
    ),
)


@dataclass
class Stream:
    """What happened, in the order of arrival, and what the online store answered to it."""

    steps: list[tuple[Any, ...]]
    events: list[dict[str, Any]] = field(default_factory=list)
    labels: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for arrival, step in enumerate(self.steps, 1):
            if isinstance(step[0], str):
                self.labels.append((step[0], step[1], arrival))
            else:
                micros, customer, terminal, amount = step
                self.events.append(
                    {
                        "id": str(len(self.events)),
                        "at": EPOCH + timedelta(microseconds=micros),
                        "customer_id": customer,
                        "terminal_id": terminal,
                        "amount": amount,
                        "kind": None if customer == 1 else "web",
                        "t": micros,
                        "a": arrival,
                    }
                )

    def event_table(self) -> pa.Table:
        kinds = {
            "id": pa.string(),
            "at": pa.timestamp("us", "UTC"),
            "customer_id": pa.int64(),
            "terminal_id": pa.string(),
            "amount": pa.float64(),
            "kind": pa.string(),
        }
        columns = {n: pa.array([e[n] for e in self.events], kind) for n, kind in kinds.items()}
        columns["_arrival"] = pa.array([e["a"] for e in self.events], pa.int64())
        return pa.table(columns)

    def label_table(self) -> pa.Table:
        ids, labels, arrivals = zip(*self.labels, strict=True) if self.labels else ((), (), ())
        return pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "label": pa.array(labels, pa.int8()),
                "_arrival": pa.array(arrivals, pa.int64()),
            }
        )

    def online(self, store: SqliteOnlineStore) -> list[list[float]]:
        """Answers per event; every event is sent again at the end and must get the same."""
        rows = iter(self.events)
        answers = []
        for step in self.steps:
            if isinstance(step[0], str):
                store.learn([Label(step[0], step[1], EPOCH)])
            else:
                answers += [numbers for numbers, _ in store.serve([next(rows)])]
        again = [numbers for numbers, _ in store.serve(self.events)]
        np.testing.assert_equal(again, answers)
        return answers


def by_definition(spec: FeatureSpec, stream: Stream) -> list[list[float]]:
    """The features word for word from ``setpoint.domain.features``, event by event."""
    return [_row_by_definition(spec, stream, e) for e in stream.events]


def _row_by_definition(spec: FeatureSpec, stream: Stream, e: dict[str, Any]) -> list[float]:
    def window(entity: str, old: int, new: int) -> list[dict[str, Any]]:
        column = spec.entities[entity]
        if e[column] is None:
            return [e] if new == 0 else []
        return [
            x
            for x in stream.events
            if x["a"] <= e["a"]
            and x[column] == e[column]
            and e["t"] - old * 10**6 < x["t"] <= e["t"] - new * 10**6
        ]

    row = [math.nan if e["amount"] is None else e["amount"]]
    at = e["at"]
    row += [at.hour, at.weekday(), at.weekday() >= 5, at.hour <= 6]
    for w in spec.windows:
        seen = window(w.entity, w.over_seconds, 0)
        values = [x[w.column] for x in seen if w.column and x[w.column] is not None]
        row.append(_aggregate(w.compute, len(seen), values))
    for r in spec.risks:
        seen = window(r.entity, r.over_seconds + r.delay_seconds, r.delay_seconds)
        if e[spec.entities[r.entity]] is None:
            seen = []
        known = {i: label for i, label, a in stream.labels if a < e["a"]}
        positives = sum(known.get(x["id"]) == 1 for x in seen)
        row += [len(seen), positives / len(seen) if seen else 0.0]
    return [float(value) for value in row]


def _aggregate(compute: str, count: int, values: list[float]) -> float:
    if compute == "count":
        return count
    if compute == "sum":
        return math.fsum(values)
    if compute == "max":
        return max(values, default=math.nan)
    return math.fsum(values) / len(values) if values else math.nan


def batch(spec: FeatureSpec, stream: Stream) -> list[list[float]]:
    table = compute(spec, stream.event_table(), stream.label_table())
    assert table["id"].to_pylist() == [e["id"] for e in stream.events]
    columns = [table[name].to_pylist() for name in spec.number_names]
    return [list(row) for row in zip(*columns, strict=True)]


def memory_store(spec: FeatureSpec) -> SqliteOnlineStore:
    return SqliteOnlineStore(":memory:", spec)


moments = st.builds(
    lambda hour, micros: hour * HOUR * 10**6 + micros,
    st.integers(0, 30),
    st.sampled_from([0, 0, 0, 1, -1]),
)
event_steps = st.tuples(
    moments,
    st.sampled_from([1, 2, None]),
    st.sampled_from(["a", "b", None]),
    st.one_of(st.none(), st.floats(0, 1e6), st.sampled_from([0.0, 1e-3, 7.0])),
)
label_steps = st.tuples(st.integers(0, 25).map(str), st.sampled_from([0, 1, 1]))
streams = st.lists(st.one_of(event_steps, event_steps, label_steps), max_size=50).map(Stream)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(streams)
def test_online_and_batch_give_the_numbers_of_the_definition_on_any_stream(stream: Stream) -> None:
    expected = by_definition(SPEC, stream)
    np.testing.assert_allclose(batch(SPEC, stream), expected, rtol=1e-9, equal_nan=True)
    answers = stream.online(memory_store(SPEC))
    np.testing.assert_allclose(answers, expected, rtol=1e-9, equal_nan=True)


def shuffled_stream(events: int, seed: int) -> Stream:
    """One heavy entity, most events late, labels long after their risk windows."""
    random = np.random.default_rng(seed)
    steps: list[tuple[Any, ...]] = []
    for i in range(events):
        hour = i // 10 + int(random.integers(-20, 1))
        amount = None if random.random() < 0.1 else float(random.lognormal(3, 2))
        terminal = "heavy" if random.random() < 0.8 else "light"
        steps.append((hour * HOUR * 10**6, int(random.integers(5)), terminal, amount))
        if random.random() < 0.3:
            steps.append((str(random.integers(i + 1)), int(random.integers(2))))
    return Stream(steps)


def test_batch_is_exact_where_most_events_of_a_heavy_entity_are_late() -> None:
    stream = shuffled_stream(400, seed=1)
    expected = by_definition(SPEC, stream)
    np.testing.assert_allclose(batch(SPEC, stream), expected, rtol=1e-9, equal_nan=True)


def test_a_store_seeded_with_history_goes_on_where_the_history_ended() -> None:
    stream = shuffled_stream(200, seed=2)
    cut = 150
    cut_arrival = stream.events[cut]["a"]
    store = memory_store(SPEC)
    history = stream.event_table().slice(0, cut)
    labels = stream.label_table()
    past = pa.array([a < cut_arrival for a in labels["_arrival"].to_pylist()])
    assert store.seed(history, labels.filter(past)) == cut
    assert store.seed(history, labels.filter(past)) == 0
    rest = iter(stream.events[cut:])
    answers = []
    for step in stream.steps[cut_arrival - 1 :]:
        if isinstance(step[0], str):
            store.learn([Label(step[0], step[1], EPOCH)])
        else:
            answers += [numbers for numbers, _ in store.serve([next(rest)])]
    expected = by_definition(SPEC, stream)
    np.testing.assert_allclose(answers, expected[cut:], rtol=1e-9, equal_nan=True)
    again = [numbers for numbers, _ in store.serve(stream.events)]
    np.testing.assert_allclose(again, expected, rtol=1e-9, equal_nan=True)


def test_the_handbook_risk_count_is_the_long_window_less_the_delay_window() -> None:
    lengths = [d * DAY for d in (1, 7, 30)]
    counts = [
        WindowFeature("terminal", "count", s) for s in (7 * DAY, *(7 * DAY + s for s in lengths))
    ]
    spec = FeatureSpec(
        "id",
        "at",
        {"terminal": "terminal_id"},
        windows=tuple(counts),
        risks=tuple(DelayedRisk("terminal", s, 7 * DAY) for s in lengths),
    )
    random = np.random.default_rng(3)
    days = np.sort(random.uniform(0, 60, 300))
    steps = [(int(d * DAY * 10**6), 1, str(random.integers(4)), 1.0) for d in days]
    table = compute(spec, Stream(list(steps)).event_table())
    delay = np.array(table[counts[0].name])
    for count, risk in zip(counts[1:], spec.risks, strict=True):
        np.testing.assert_array_equal(table[risk.names[0]], np.array(table[count.name]) - delay)
        assert set(table[risk.names[1]].to_pylist()) == {0.0}


def test_categories_are_text_in_both_executions() -> None:
    stream = Stream([(0, 1, "a", 1.0), (1, 2, "a", 1.0)])
    assert compute(SPEC, stream.event_table())["kind"].to_pylist() == ["", "web"]
    assert [texts for _, texts in memory_store(SPEC).serve(stream.events)] == [[""], ["web"]]


def test_rows_come_back_in_input_order_whatever_the_chunks() -> None:
    stream = shuffled_stream(50, seed=4)
    whole = stream.event_table()
    order = np.random.default_rng(0).permutation(50)
    chunked = pa.concat_tables([whole.take(order[:20]), whole.take(order).slice(20)])
    expected = compute(SPEC, whole, stream.label_table()).take(order)
    found = compute(SPEC, chunked, stream.label_table())
    np.testing.assert_equal(found.to_pydict(), expected.to_pydict())


def test_an_empty_table_gives_an_empty_table() -> None:
    table = compute(SPEC, Stream([]).event_table(), Stream([]).label_table())
    assert table.column_names == ["id", *SPEC.names]
    assert table.num_rows == 0


def known_at(hours: list[float]) -> pa.Table:
    times = [EPOCH + timedelta(hours=h) for h in hours]
    ids = [str(i) for i in range(len(hours))]
    return pa.table({"id": ids, "label": [1] * len(ids), "known_at": times}).cast(
        pa.schema(
            [("id", pa.string()), ("label", pa.int8()), ("known_at", pa.timestamp("us", "UTC"))]
        )
    )


def test_a_label_is_seen_from_the_first_event_that_is_not_before_it() -> None:
    hours = [0, 5, 2, 5, 9]  # the third is late and does not turn the clock back
    stream = Stream([(h * HOUR * 10**6, 1, "a", 1.0) for h in hours])
    events, labels = with_arrival(SPEC, stream.event_table(), known_at([0, 0.5, 3, 5, 6, 9, 10]))
    assert labels is not None
    assert events["_arrival"].to_pylist() == [1, 2, 3, 4, 5]
    # Seen by larger numbers: 0 by all, 1 from the second event on, 5 by none so far.
    assert labels["_arrival"].to_pylist() == [0, 1, 1, 1, 4, 4, 5]


def test_a_label_with_the_number_of_an_event_is_not_seen_by_it_but_by_the_next() -> None:
    stream = Stream([(i * HOUR * 10**6, 1, "a", 1.0) for i in range(3)])
    stream.labels.append(("0", 1, 2))
    shares = compute(SPEC, stream.event_table(), stream.label_table())["terminal_risk_4h"]
    assert shares.to_pylist() == [0.0, 0.0, 1 / 3]
    store = memory_store(SPEC)
    store.seed(stream.event_table(), stream.label_table())
    at = SPEC.number_names.index("terminal_risk_4h")
    assert [numbers[at] for numbers, _ in store.serve(stream.events)] == shares.to_pylist()


def test_labels_get_numbers_from_events_in_any_row_order() -> None:
    stream = Stream([(h * HOUR * 10**6, 1, "a", 1.0) for h in (0, 5, 9)])
    events = stream.event_table().take([2, 0, 1])
    assert label_arrivals(SPEC, events, known_at([6]))["_arrival"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["amount"]), "lack amount"),
        (lambda t: t.set_column(0, "id", pa.array(["x", "x"])), "1 of 2 values repeat"),
        (lambda t: t.set_column(0, "id", pa.array(["x", None])), "1 of 2 values are null"),
        (lambda t: t.set_column(1, "at", pa.array([None, EPOCH])), "1 of 2 times are null"),
        (
            lambda t: t.set_column(1, "at", t["at"].cast(pa.timestamp("us"))),
            "of type timestamp",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_column_and_remedy(
    change: Any, message: str
) -> None:
    table = Stream([(0, 1, "a", 1.0), (1, 2, "a", 1.0)]).event_table()
    with pytest.raises(DataError, match=message) as caught:
        compute(SPEC, change(table))
    assert caught.value.fix
    assert caught.value.where
