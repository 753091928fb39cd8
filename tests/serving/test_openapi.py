"""The description of the service is true: generated requests are answered as it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.serving.openapi import describe
from setpoint.serving.problems import Refusal
from setpoint.serving.rows import RowReader
from setpoint.serving.schemas import example_row, row_schema
from tests.serving.test_access import Keys
from tests.serving.test_refusals import LABELS, ROWS
from tests.serving.tiny import DECISION, TABLE, Service, row

Start = Callable[..., Service]

EXAMPLES = 40
SEED = 20_240_501
ROOT = Path(__file__).parents[2]
CONFIG = """
hooks = "tests.serving.schemathesis_hooks"
[generation]
codec = "iso8859-1"
# Labels are generated for decisions that were never made: refused, as described.
[[operations]]
include-path = "/v1/labels"
checks.positive_data_acceptance.enabled = false
# More rows than a batch may have are answered 413, as described.
[[operations]]
include-path = "/v1/batch"
checks.negative_data_rejection.expected-statuses = ["400", "413", "415", "422"]
"""


def schemathesis(service: Service, folder: Path, *options: str) -> str:
    """What Schemathesis says of a running service; it ends non-zero on any finding."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    url = f"http://127.0.0.1:{service.port}/openapi.json"
    line = [str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run", url]
    line += ["--seed", str(SEED), "--max-examples", str(EXAMPLES), "--continue-on-failure"]
    done = subprocess.run(
        [*line, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_generated_request_is_answered_as_described(start: Start, tmp_path: Path) -> None:
    service = start()
    said = schemathesis(service, tmp_path)
    assert "Tested: 7" in said
    codes = ("200", "400", "404", "405", "422")
    counted = [service.metric("setpoint_requests_total", code=code) for code in codes]
    assert all(counted), counted
    assert service.metric("setpoint_requests_total", route="decisions", code="200") > 10


def test_with_keys_too_every_request_is_answered_as_described(start: Start, tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    service = start("--keys", str(keys.path))
    said = schemathesis(service, tmp_path, "--header", f"Authorization: {keys.bearer('all')}")
    assert "Tested: 7" in said
    text = service.raw("GET", "/metrics", None, keys.of("all"))[1].decode()
    assert 'code="401",route="decisions"' in text


@pytest.fixture(scope="module")
def read(bundle: Path) -> Bundle:
    """The bundle."""
    return read_bundle(bundle)


def test_the_description_is_made_from_the_bundle(read: Bundle) -> None:
    columns = describe(read, "8", False)["components"]["schemas"]["Row"]["properties"]
    assert list(columns) == [column.name for column in TABLE.columns[:-1]]
    assert (columns["amount"]["minimum"], columns["amount"]["maximum"]) == (0, 10_000)
    assert columns["age"]["type"] == ["integer", "null"]
    assert columns["country"]["enum"] == ["AT", "CH", "DE"]
    assert columns["customer_id"]["x-personal"] is True
    assert describe(read, "8", False)["info"]["version"] == "8"
    assert describe(read, "8", False) == describe(read, "8", False)


def test_every_route_is_described(shared: Service) -> None:
    found = {
        (method.upper(), path)
        for path, operations in shared.call("GET", "/openapi.json")[1]["paths"].items()
        for method in operations
    }
    assert found == {
        ("POST", "/v1/decisions"),
        ("POST", "/v1/batch"),
        ("GET", "/v1/decisions/{id}"),
        ("POST", "/v1/labels"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    }


def test_the_example_is_decided(shared: Service) -> None:
    described = shared.call("GET", "/openapi.json")[1]
    body = described["paths"]["/v1/decisions"]["post"]["requestBody"]
    status, answer = shared.decide(body["content"]["application/json"]["example"])
    assert status == 200
    assert Draft202012Validator(_resolved(described, "Decision")).is_valid(answer)


def test_an_example_names_nobody(read: Bundle) -> None:
    columns = tuple(replace(column, personal=True) for column in read.table.columns)
    table = replace(read.table, columns=columns)
    baselines = {**DECISION.baselines, "amount": 1234.5, "country": "CH"}
    decision = replace(DECISION, baselines=baselines)
    personal = example_row(replace(read, table=table, decision=decision))
    assert 1234.5 not in personal.values() and "CH" not in personal.values()
    assert example_row(replace(read, decision=decision))["amount"] == 1234.5


KINDS = st.one_of(
    st.builds(
        ColumnSpec,
        name=st.just("x"),
        kind=st.sampled_from(["number", "integer"]),
        min=st.none() | st.integers(-1000, 0),
        max=st.none() | st.integers(1, 1000),
        nullable=st.booleans(),
    ),
    st.builds(
        ColumnSpec,
        name=st.just("x"),
        kind=st.just("category"),
        values=st.sampled_from([(), ("a", "b")]),
        nullable=st.booleans(),
    ),
    st.builds(
        ColumnSpec,
        name=st.just("x"),
        kind=st.sampled_from(["id", "boolean"]),
        nullable=st.booleans(),
    ),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-1001, 1001),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a", "b", "a\n", "\x00", "\xa0", "\xad", "x" * 201, "x" * 1001]),
    st.text(st.characters(max_codepoint=255), max_size=5),
    st.lists(st.none(), max_size=1),
)


@settings(max_examples=500, deadline=None)
@given(KINDS, VALUES)
def test_the_schema_allows_what_the_reader_takes_and_nothing_else(
    column: ColumnSpec, value: Any
) -> None:
    # what JSON Schema cannot say: such a float may stand for several ids
    assume(not (column.kind == "id" and isinstance(value, float) and abs(value) >= 2**53))
    table = TableSpec((*TABLE.columns[:2], column), "payment_id", "at")
    request = {"payment_id": "p1", "at": "2024-05-01T00:00:00Z", "x": value}
    try:
        RowReader(table).check(request)
        taken = True
    except Refusal:
        taken = False
    # in Python alone $ matches before a line break too
    schema = json.loads(json.dumps(row_schema(table)).replace('$"', '\\\\Z"'))
    assert Draft202012Validator(schema).is_valid(request) == taken


@settings(max_examples=200, deadline=None)
@given(KINDS)
def test_the_example_of_any_schema_is_taken(read: Bundle, column: ColumnSpec) -> None:
    table = TableSpec((*TABLE.columns[:2], column), "payment_id", "at")
    for typical in (None, 1e9, -1e9, 2.5, "b", "odd"):
        decision = replace(DECISION, baselines={"x": typical})
        RowReader(table).check(example_row(replace(read, table=table, decision=decision)))


@pytest.mark.parametrize("body", [case[0] for case in ROWS.values()], ids=ROWS.keys())
def test_a_refused_row_is_a_described_problem(shared: Service, body: Any) -> None:
    _assert_described(shared, "/v1/decisions", "post", body)


@pytest.mark.parametrize("body", LABELS.values(), ids=LABELS.keys())
def test_refused_labels_are_a_described_problem(shared: Service, body: Any) -> None:
    _assert_described(shared, "/v1/labels", "post", body)


def test_a_conflict_and_unknown_labels_are_described_problems(shared: Service) -> None:
    shared.decide(row(1))
    _assert_described(shared, "/v1/decisions", "post", row(1, amount=21))
    label = {"id": "never", "label": 1, "known_at": "2024-05-03T00:00:00Z"}
    _assert_described(shared, "/v1/labels", "post", [label])


def test_a_logged_decision_is_as_described(shared: Service) -> None:
    shared.decide(row(2, age=None))
    described = shared.call("GET", "/openapi.json")[1]
    schema = _resolved(described, "LoggedDecision")
    shown = shared.call("GET", "/v1/decisions/p2")[1]
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(shown)
    assert shown.keys() == schema["properties"].keys()


def test_an_open_service_describes_no_keys(read: Bundle) -> None:
    text = json.dumps(describe(read, "7", False))
    assert "securitySchemes" not in text and '"401"' not in text
    keyed = describe(read, "7", True)
    assert keyed["paths"]["/v1/labels"]["post"]["security"] == [{"key": ["label"]}]
    assert "security" not in keyed["paths"]["/health/live"]["get"]


def _assert_described(service: Service, path: str, method: str, body: Any) -> None:
    described = service.call("GET", "/openapi.json")[1]
    status, headers, data = service.exchange(method.upper(), path, body)
    answer = described["paths"][path][method]["responses"][str(status)]
    schema = answer["content"][headers["content-type"]]["schema"]
    whole = {**schema, "components": described["components"]}
    Draft202012Validator(whole).validate(json.loads(data))
    assert status >= 400


def _resolved(described: dict[str, Any], name: str) -> Any:
    return described["components"]["schemas"][name]


def test_a_time_is_taken_within_the_described_years() -> None:
    reader = RowReader(TableSpec(TABLE.columns[:2], "payment_id", "at"))
    for moment in (datetime(1971, 1, 1, tzinfo=UTC), datetime(2198, 12, 31, tzinfo=UTC)):
        reader.check({"payment_id": "p1", "at": moment.isoformat()})
    for moment in (
        datetime(1971, 1, 1, tzinfo=UTC) - timedelta(seconds=1),
        datetime(2199, 1, 1, tzinfo=UTC),
    ):
        with pytest.raises(Refusal, match="absurd year"):
            reader.check({"payment_id": "p1", "at": moment.isoformat()})
