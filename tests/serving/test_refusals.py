"""Bad input: one clear error each, counted, never a score, and the service goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.ports import DecisionQuery
from tests.serving.tiny import Service, row


def without(name: str) -> dict[str, Any]:
    """A row that lacks a column."""
    return {key: value for key, value in row(1).items() if key != name}


def text(value: str) -> bytes:
    """A row with ``value`` as its amount, as it stands."""
    return json.dumps(row(1, amount="@")).replace('"@"', value).encode()


ROWS = {
    "missing": (without("amount"), 422, "missing", "amount"),
    "missing nullable": (without("age"), 422, "missing", "age"),
    "missing id": (without("payment_id"), 422, "missing", "payment_id"),
    "extra": (row(1, colour="red"), 422, "extra", "colour"),
    "label in a request": (row(1, fraud=True), 422, "extra", "fraud"),
    "text for a number": (row(1, amount="20"), 422, "type", "amount"),
    "boolean for a number": (row(1, amount=True), 422, "type", "amount"),
    "list for a number": (row(1, amount=[20]), 422, "type", "amount"),
    "fraction for an integer": (row(1, age=30.5), 422, "type", "age"),
    "number for a category": (row(1, country=1), 422, "type", "country"),
    "number for a boolean": (row(1, online=1), 422, "type", "online"),
    "object for an id": (row(1, payment_id={"a": 1}), 422, "type", "payment_id"),
    "empty id": (row(1, payment_id=""), 422, "type", "payment_id"),
    "long id": (row(1, payment_id="x" * 201), 422, "type", "payment_id"),
    "control characters in an id": (row(1, payment_id="a\nb\0"), 422, "type", "payment_id"),
    "fraction for an id": (row(1, customer_id=1.5), 422, "type", "customer_id"),
    "inexact id": (row(1, customer_id=2.0**53), 422, "type", "customer_id"),
    "null": (row(1, amount=None), 422, "null", "amount"),
    "null id": (row(1, payment_id=None), 422, "null", "payment_id"),
    "null time": (row(1, at=None), 422, "null", "at"),
    "below the range": (row(1, amount=-0.01), 422, "range", "amount"),
    "above the range": (row(1, amount=10_001), 422, "range", "amount"),
    "absurd integer": (row(1, age=10**30), 422, "range", "age"),
    "NaN": (text("NaN"), 400, "bad_json", ""),
    "Infinity": (text("Infinity"), 400, "bad_json", ""),
    "-Infinity": (text("-Infinity"), 400, "bad_json", ""),
    "1e400": (text("1e400"), 400, "bad_json", ""),
    "-1e400": (text("-1e400"), 400, "bad_json", ""),
    "1e39": (text("1e39"), 422, "range", "amount"),
    "unknown category": (row(1, country="FR"), 422, "category", "country"),
    "naive time": (row(1, at="2024-05-01T00:00:00"), 422, "time", "at"),
    "no time": (row(1, at="yesterday"), 422, "time", "at"),
    "epoch seconds for a time": (row(1, at=1714521600), 422, "time", "at"),
    "impossible day": (row(1, at="2024-02-30T00:00:00Z"), 422, "time", "at"),
    "absurd year": (row(1, at="9999-12-31T23:59:59-12:00"), 422, "range", "at"),
    "year one": (row(1, at="0001-01-01T00:00:00+12:00"), 422, "range", "at"),
    "list": ([row(1)], 422, "not_object", ""),
    "number": (b"1", 422, "not_object", ""),
    "null body": (b"null", 422, "not_object", ""),
    "empty body": (b"", 400, "bad_json", ""),
    "half a body": (json.dumps(row(1)).encode()[:-3], 400, "bad_json", ""),
    "two bodies": (b"{}{}", 400, "bad_json", ""),
    "invalid UTF-8": (text('"\xff"').decode().encode("latin-1"), 400, "bad_json", ""),
    "lone surrogate": (text('"\\ud800"'), 400, "bad_json", ""),
    "deep nesting": (b"[" * 60_000, 400, "bad_json", ""),
    "too large": (b" " * 65_537, 413, "too_large", ""),
    "much too large": (b" " * 3_000_000, 413, "too_large", ""),
    "huge text": (row(1, country="x" * 60_000), 422, "type", "country"),
    "huge name": ({**row(1), "x" * 60_000: 1}, 422, "extra", "x" * 1000),
}


@pytest.mark.parametrize(("body", "status", "rule", "field"), ROWS.values(), ids=ROWS.keys())
def test_a_bad_row_gets_one_clear_error_and_is_counted(
    shared: Service, body: Any, status: int, rule: str, field: str
) -> None:
    before = shared.metric("setpoint_refused_total", rule=rule)
    found, problem = shared.decide(body)
    assert (found, problem["status"], problem["field"]) == (status, status, field)
    assert problem["type"] == f"urn:setpoint:problem:{rule}"
    assert problem["title"] and problem["detail"] and problem["fix"]
    assert len(json.dumps(problem)) < 3000
    assert shared.metric("setpoint_refused_total", rule=rule) == before + 1
    assert "score" not in problem


LABELS: dict[str, Any] = {
    "no list": {"id": "p1"},
    "empty": [],
    "label 2": [{"id": "p1", "label": 2, "known_at": "2024-05-01T00:00:00Z"}],
    "label true": [{"id": "p1", "label": True, "known_at": "2024-05-01T00:00:00Z"}],
    "label 1.0": [{"id": "p1", "label": 1.0, "known_at": "2024-05-01T00:00:00Z"}],
    "naive time": [{"id": "p1", "label": 1, "known_at": "2024-05-01T00:00:00"}],
    "no time": [{"id": "p1", "label": 1}],
    "no object": ["p1"],
    "extra": [{"id": "p1", "label": 1, "known_at": "2024-05-01T00:00:00Z", "by": "me"}],
    "null id": [{"id": None, "label": 1, "known_at": "2024-05-01T00:00:00Z"}],
}


@pytest.mark.parametrize("body", LABELS.values(), ids=LABELS.keys())
def test_a_bad_label_is_refused_with_its_place(shared: Service, body: Any) -> None:
    status, problem = shared.call("POST", "/v1/labels", body)
    assert status == 422
    assert problem["field"].startswith("labels")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/decisions", 405),
        ("PUT", "/v1/labels", 405),
        ("POST", "/health/live", 405),
        ("DELETE", "/v1/decisions/p1", 405),
        ("GET", "/", 404),
        ("GET", "/v1/decisions/", 404),
        ("GET", "/v1/decisions/never-seen", 404),
        ("GET", "/v1/decisions/%ff%00", 404),
        ("POST", "/v2/decisions", 404),
    ],
)
def test_a_wrong_method_or_path_is_refused(
    shared: Service, method: str, path: str, status: int
) -> None:
    found, problem = shared.call(method, path)
    assert (found, problem["status"]) == (status, status)


def test_after_all_refusals_nothing_is_logged_and_good_rows_are_answered(shared: Service) -> None:
    assert SqliteDecisionLog(shared.store).read(DecisionQuery()).num_rows == 0
    assert shared.decide(row(99))[0] == 200
