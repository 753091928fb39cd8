"""A request is known by one id, whoever gave it, and a malformed one is as good as none."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serving.trace import trace_of
from tests.serving.tiny import Service, row

Start = Callable[..., Service]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_the_trace_id_wins_over_the_request_id_and_both_are_answered() -> None:
    trace = trace_of(PARENT, "r-1")
    assert trace.id == TRACE
    assert dict(trace.headers) == {"traceparent": PARENT, "x-request-id": "r-1"}


def test_a_trace_alone_gives_the_request_id() -> None:
    assert dict(trace_of(PARENT, None).headers) == {"traceparent": PARENT, "x-request-id": TRACE}


def test_a_request_id_alone_is_passed_on() -> None:
    assert trace_of(None, "r-1") == ("r-1", [("x-request-id", "r-1")])


def test_without_either_each_request_gets_its_own_id() -> None:
    first, second = trace_of(None, None), trace_of(None, None)
    assert re.fullmatch("[0-9a-f]{32}", first.id)
    assert first.headers == [("x-request-id", first.id)]
    assert first.id != second.id


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    later = f"cc{PARENT[2:]}-what-may-come"
    assert trace_of(later, None) == trace_of(PARENT, None)


MALFORMED = {
    "empty": "",
    "another length": PARENT[:-1],
    "more in version 00": f"{PARENT}-more",
    "more without a dash": f"cc{PARENT[2:]}more",
    "forbidden version": f"ff{PARENT[2:]}",
    "capitals": PARENT.upper(),
    "no hexadecimal": PARENT.replace("4", "g"),
    "zero trace": f"00-{'0' * 32}-00f067aa0ba902b7-01",
    "zero parent": f"00-{TRACE}-{'0' * 16}-01",
    "line break": f"{PARENT}\n",
    "other separators": PARENT.replace("-", "_"),
}


@pytest.mark.parametrize("traceparent", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_trace_is_as_none(traceparent: str) -> None:
    assert trace_of(traceparent, "r-1") == trace_of(None, "r-1")


@pytest.mark.parametrize("request_id", ["", "a b", "a\r\nset-cookie: x", "é", "x" * 201, "a\0"])
def test_a_malformed_request_id_is_replaced(request_id: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", trace_of(None, request_id).id)


@given(st.none() | st.text(), st.none() | st.text())
def test_whatever_is_sent_what_is_answered_fits_into_a_header(
    traceparent: str | None, request_id: str | None
) -> None:
    trace = trace_of(traceparent, request_id)
    assert 0 < len(trace.id) <= 200
    assert all(re.fullmatch("[!-~]{1,200}", value) for _, value in trace.headers)


def test_the_trace_id_of_a_decision_is_logged_and_answered(start: Start) -> None:
    service = start()
    sent = {"traceparent": PARENT, "x-request-id": "r-1"}
    status, headers, _ = service.exchange("POST", "/v1/decisions", row(1), sent)
    assert (status, headers["traceparent"], headers["x-request-id"]) == (200, PARENT, "r-1")
    assert service.call("GET", "/v1/decisions/p1")[1]["trace_id"] == TRACE


def test_a_new_id_is_logged_as_it_is_answered(start: Start) -> None:
    service = start()
    _, headers, _ = service.exchange("POST", "/v1/decisions", row(1), {"traceparent": "nonsense"})
    assert headers["traceparent"] is None
    assert service.call("GET", "/v1/decisions/p1")[1]["trace_id"] == headers["x-request-id"]


def test_a_refusal_names_its_request_too(start: Start) -> None:
    sent = {"traceparent": PARENT, "x-request-id": "r-1"}
    status, headers, _ = start().exchange("POST", "/v1/decisions", b"{", sent)
    assert (status, headers["traceparent"], headers["x-request-id"]) == (400, PARENT, "r-1")


@pytest.mark.parametrize("name", [b"traceparent", b"x-request-id", b"authorization", b"host"])
def test_a_header_of_any_bytes_is_no_error(start: Start, name: bytes) -> None:
    service = start()
    body = json.dumps(row(1)).encode()
    lines = [b"POST /v1/decisions HTTP/1.1", name + b": \xff\xfe\x80", b"connection: close"]
    lines += [b"content-length: %d" % len(body), *([b"host: here"] if name != b"host" else [])]
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = connection.makefile("rb").read()
    assert answer.split(b" ")[1] == b"200", answer
