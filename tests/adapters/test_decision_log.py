"""A decision log, in either home, keeps what it acknowledged and shows each id once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from setpoint.errors import DataError
from setpoint.ports import Decision, DecisionQuery, Label
from tests.adapters.decision_homes import Home, Log, opened

START = datetime(2024, 5, 1, tzinfo=UTC)


def decision(number: int, **changes: Any) -> Decision:
    """A decision; ``number`` makes its id and its event time, in minutes."""
    plain = Decision(
        id=f"d{number}",
        event_time=START + timedelta(minutes=number),
        request={"amount": number, "country": "AT", "note": None},
        features={"amount": float(number), "hour": 12, "age": None, "country": "AT"},
        score=0.25,
        threshold=0.5,
        action="approve",
        reasons=[],
        version="1",
        bundle_digest="d" * 64,
        trace_id="r",
    )
    return replace(plain, **changes)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
decisions = st.builds(
    Decision,
    id=words.filter(bool),
    event_time=st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1), timezones=st.just(UTC)),
    request=st.dictionaries(texts, st.none() | st.booleans() | integers | floats | texts),
    features=st.dictionaries(texts, st.none() | floats | texts),
    score=st.floats(0, 1),
    threshold=st.floats(0, 1),
    action=words,
    reasons=st.lists(texts),
    version=words,
    bundle_digest=words,
    shadow=st.just(False),
    propensity=st.none() | st.floats(0, 1),
    label_propensity=st.none() | st.floats(0, 1),
    trace_id=words,
    client=words,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # cleared for each example
)
@given(st.lists(decisions, max_size=5, unique_by=lambda one: one.id))
def test_what_is_appended_is_found_unchanged(home: Home, log: Log, written: list[Decision]) -> None:
    home.execute("DELETE FROM decisions")
    log.append(written)
    found = log.find([one.id for one in written] + ["nobody's"])
    assert found == {one.id: one for one in written}


def test_read_has_the_columns_of_the_port_and_those_asked_for(log: Log) -> None:
    log.append([decision(2, propensity=0.1), decision(1)])
    table = log.read(DecisionQuery(features=("amount", "age", "country"), request=("country",)))
    moment = pa.timestamp("us", tz="UTC")
    assert table.schema == pa.schema(
        {
            "id": pa.string(),
            "event_time": moment,
            "score": pa.float64(),
            "threshold": pa.float64(),
            "action": pa.string(),
            "version": pa.string(),
            "label": pa.int8(),
            "label_known_at": moment,
            "propensity": pa.float64(),
            "label_propensity": pa.float64(),
            "country": pa.string(),
            "f_amount": pa.float64(),
            "f_age": pa.float64(),
            "f_country": pa.string(),
        }
    )
    assert table["id"].to_pylist() == ["d1", "d2"]
    assert table["f_amount"].to_pylist() == [1.0, 2.0]
    assert table["f_age"].null_count == 2
    assert table["propensity"].to_pylist() == [None, 0.1]


def test_an_empty_log_reads_as_an_empty_table_of_the_same_columns(log: Log) -> None:
    query = DecisionQuery(features=("amount",), request=("country",))
    empty = log.read(query)
    log.append([decision(1)])
    assert empty.num_rows == 0
    assert empty.column_names == log.read(query).column_names


def test_a_request_column_never_hides_a_fixed_one(log: Log) -> None:
    log.append([decision(1, request={"score": 700})])
    table = log.read(DecisionQuery(request=("score",)))
    assert (table["score"].to_pylist(), table["r_score"].to_pylist()) == ([0.25], [700])


def test_a_request_column_of_mixed_types_is_read_as_text(log: Log) -> None:
    log.append([decision(1, request={"x": 1}), decision(2, request={"x": "a"})])
    assert log.read(DecisionQuery(request=("x",)))["x"].to_pylist() == ["1", "a"]


def test_a_window_includes_its_start_and_not_its_end(log: Log) -> None:
    log.append([decision(number) for number in range(6)])
    minute = timedelta(minutes=1)
    window = DecisionQuery(start=START + 2 * minute, end=START + 4 * minute)
    assert log.read(window)["id"].to_pylist() == ["d2", "d3"]


def test_windows_that_touch_share_out_all_decisions(log: Log) -> None:
    log.append([decision(number) for number in range(10)])
    cuts = [START + timedelta(minutes=number) for number in (0, 3, 7, 10)]
    windows = [DecisionQuery(start=a, end=b) for a, b in pairwise(cuts)]
    assert [log.read(window).num_rows for window in windows] == [3, 4, 3]


def test_a_decision_logged_twice_is_there_once_and_the_first_stands(
    log: Log,
) -> None:
    log.append([decision(1), decision(1, score=0.9)])
    log.append([decision(1, score=0.8)])
    assert log.read(DecisionQuery())["score"].to_pylist() == [0.25]
    assert log.find(["d1"])["d1"].score == 0.25


def test_of_an_id_decided_by_two_versions_the_first_answer_alone_stands(log: Log) -> None:
    log.append([decision(1, version="1"), decision(1, version="2")])
    log.append([decision(1, version="3")])
    assert log.read(DecisionQuery())["version"].to_pylist() == ["1"]
    assert log.read(DecisionQuery(version="2")).num_rows == 0
    assert log.find(["d1"])["d1"].version == "1"


def test_an_id_mirrored_to_two_versions_is_read_once_and_by_version(log: Log) -> None:
    both = [decision(1, version=version, shadow=True) for version in ("1", "2")]
    log.append(both + both)
    assert log.read(DecisionQuery(shadow=True))["version"].to_pylist() == ["1"]
    assert log.read(DecisionQuery(shadow=True, version="2"))["version"].to_pylist() == ["2"]


def test_writers_of_one_id_at_once_all_find_the_same_single_row(home: Home) -> None:
    def write(number: int) -> list[Decision]:
        own = opened(home.kind, home.address)
        found = []
        for id_ in range(40):
            own.append([decision(id_, version=str(number), score=number / 10)])
            found.append(own.find([f"d{id_}"])[f"d{id_}"])
        own.close()
        return found

    opened(home.kind, home.address).close()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(write, range(6)))
    assert all(one == answers[0] for one in answers)
    assert home.execute("SELECT count(*) FROM decisions") == [(40,)]


def test_shadow_decisions_are_neither_found_nor_read_unless_asked_for(
    log: Log,
) -> None:
    log.append([decision(1, shadow=True), decision(2), decision(2, shadow=True, score=0.7)])
    assert list(log.find(["d1", "d2"])) == ["d2"]
    assert log.read(DecisionQuery())["id"].to_pylist() == ["d2"]
    shadow = log.read(DecisionQuery(shadow=True))
    assert shadow["id"].to_pylist() == ["d1", "d2"]
    assert shadow["score"].to_pylist() == [0.25, 0.7]


def test_a_label_that_comes_before_its_decision_is_attached_later(log: Log) -> None:
    assert log.add_labels([Label("d1", 1, START), Label("d2", 0, START)]) == ["d1", "d2"]
    log.append([decision(1)])
    table = log.read(DecisionQuery())
    assert table["label"].to_pylist() == [1]
    assert table["label_known_at"].to_pylist() == [START]


def test_a_later_label_replaces_an_earlier_one(log: Log) -> None:
    log.append([decision(1)])
    assert log.add_labels([Label("d1", 1, START)]) == []
    log.add_labels([Label("d1", 0, START + timedelta(days=1))])
    assert log.read(DecisionQuery())["label"].to_pylist() == [0]


def test_a_label_that_is_sent_again_takes_back_no_correction(log: Log) -> None:
    log.append([decision(1), decision(2)])
    first = [Label("d1", 1, START), Label("d2", 1, START)]
    late = START + timedelta(days=1)
    log.add_labels([Label("d1", 0, late), Label("d2", 0, late), first[1]])
    log.add_labels(first)
    table = log.read(DecisionQuery())
    assert table["label"].to_pylist() == [0, 0]
    assert table["label_known_at"].to_pylist() == [late, late]


def test_a_label_of_a_mirrored_request_alone_is_unknown(log: Log) -> None:
    log.append([decision(1, shadow=True)])
    assert log.add_labels([Label("d1", 1, START)]) == ["d1"]


def test_thousands_of_ids_are_found_at_once(log: Log) -> None:
    log.append([decision(number) for number in range(1200)])
    assert len(log.find(f"d{number}" for number in range(2000))) == 1200


@pytest.mark.parametrize(
    "act",
    [
        lambda log, naive: log.append([decision(1, event_time=naive)]),
        lambda log, naive: log.add_labels([Label("d1", 1, naive)]),
        lambda log, naive: log.read(DecisionQuery(start=naive)),
    ],
    ids=["append", "add_labels", "read"],
)
def test_a_time_without_zone_is_refused(log: Log, act: Callable[[Log, datetime], object]) -> None:
    with pytest.raises(DataError, match="no time zone"):
        act(log, datetime(2024, 5, 1))


def test_many_may_open_a_new_store_at_once(home: Home) -> None:
    def write(number: int) -> None:
        own = opened(home.kind, home.address)
        own.append([decision(number)])
        own.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(16)))
    log = opened(home.kind, home.address)
    assert log.read(DecisionQuery()).num_rows == 16
    log.close()


@pytest.mark.parametrize("column", ["label_propensity", "client"])
def test_a_store_that_was_made_before_a_column_gets_it_and_keeps_its_rows(
    home: Home, column: str
) -> None:
    log = opened(home.kind, home.address)
    log.append([decision(1)])
    log.close()
    home.execute(f"ALTER TABLE decisions DROP COLUMN {column}")
    for number in (2, 3):  # the second finds it there
        log = opened(home.kind, home.address)
        log.append([decision(number, label_propensity=0.01, client="shop")])
        log.close()
    log = opened(home.kind, home.address)
    absent: dict[str, float | str | None] = {"label_propensity": None, "client": ""}
    told: dict[str, float | str] = {"label_propensity": 0.01, "client": "shop"}
    read = log.read(DecisionQuery(columns=(column,)))[column].to_pylist()
    assert read == [absent[column], told[column], told[column]]
    assert log.find(["d1"]) == {"d1": decision(1)}
    log.close()


def test_to_write_nothing_is_no_error(log: Log) -> None:
    log.append([])
    assert log.add_labels([]) == []
    assert log.read(DecisionQuery()).num_rows == 0


def test_an_id_that_nothing_can_have_is_not_found(log: Log) -> None:
    log.append([decision(1)])
    assert list(log.find(["\0", "d1", ""])) == ["d1"]


def test_the_last_of_several_labels_of_an_id_in_one_call_stands(log: Log) -> None:
    log.append([decision(1)])
    assert log.add_labels([Label("d1", 1, START), Label("d1", 0, START)]) == []
    assert log.read(DecisionQuery())["label"].to_pylist() == [0]


WRITER = """
import sys
from tests.adapters.decision_homes import opened
from tests.adapters.test_decision_log import decision
log = opened(*sys.argv[1:])
for number in range(1_000_000):
    log.append([decision(number)])
    print(f"d{number}", flush=True)
"""


@contextmanager
def acknowledging(kind: str, address: str, count: int) -> Iterator[list[str]]:
    """A process that writes and says the ids that were acknowledged; more at the end than now."""
    line = [sys.executable, "-c", WRITER, kind, address]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(count)]
        try:
            yield acknowledged
        finally:
            writer.kill()
            acknowledged += [text.strip() for text in writer.stdout if text.endswith("\n")]


def test_what_was_acknowledged_survives_kill_9_of_the_writer(home: Home) -> None:
    with acknowledging(home.kind, home.address, 100) as acknowledged:
        pass
    log = opened(home.kind, home.address)
    assert set(log.find(acknowledged)) == set(acknowledged)
    log.append([decision(-1)])
    log.close()
