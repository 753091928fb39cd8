"""What services refused for its key reaches the ledger, once, in one entry an hour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from setpoint.errors import StateError
from setpoint.ports import Endpoint
from setpoint.serving.metrics import CONTENT_TYPE, Metrics
from setpoint.stages import refusals
from setpoint.workspace import Workspace
from tests.fakes import FakeRuntime
from tests.stages.releasing import two_versions
from tests.stages.small import T0

HOUR = timedelta(hours=1)


@contextmanager
def serving(metrics: Metrics) -> Iterator[Endpoint]:
    """The counters of a service, where it would answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(metrics.text())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Endpoint("127.0.0.1", server.server_address[1])
        server.shutdown()


Made = tuple[Workspace, FakeRuntime, Metrics]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """``v1`` in service, with its counters."""
    workspace, _, runtime = two_versions(tmp_path)
    metrics = Metrics("v1")
    with serving(metrics) as endpoint:
        runtime.running["v1"] = (endpoint, workspace.bundle("v1"))
        yield workspace, runtime, metrics


def told(workspace: Workspace) -> list[int]:
    """Totals of the entries."""
    return [e.evidence["total"] for e in workspace.state.ledger() if e.kind == refusals.REFUSED]


def test_a_thousand_refusals_are_one_entry_that_names_the_key_and_what_it_lacked(
    made: Made,
) -> None:
    workspace, _, metrics = made
    for _ in range(1000):
        metrics.denied("role", "shop", "audit")
    metrics.denied("key", "", "score")
    assert refusals.tell(workspace, T0)
    (entry,) = workspace.state.ledger()
    assert (entry.kind, entry.subject) == ("requests_refused", "small/scoring")
    assert entry.evidence["refused"] == [
        {"version": "v1", "rule": "key", "key": "", "needs": "score", "count": 1},
        {"version": "v1", "rule": "role", "key": "shop", "needs": "audit", "count": 1000},
    ]
    assert not workspace.state.audit_ledger(()).breaks


def test_whoever_goes_on_asking_gets_one_entry_an_hour_and_none_is_lost(made: Made) -> None:
    workspace, _, metrics = made
    for minute in range(121):
        metrics.denied("key", "", "score")
        refusals.tell(workspace, T0 + timedelta(minutes=minute))
    assert told(workspace) == [1, 60, 60]


def test_where_nothing_was_refused_nothing_is_told(made: Made) -> None:
    workspace, _, metrics = made
    assert not refusals.tell(workspace, T0)
    metrics.denied("key", "", "score")
    assert refusals.tell(workspace, T0)
    assert not refusals.tell(workspace, T0 + 2 * HOUR)
    assert told(workspace) == [1]


def test_a_service_that_does_not_answer_keeps_the_others_from_nothing(made: Made) -> None:
    workspace, runtime, metrics = made
    runtime.start("v2", workspace.bundle("v2"))  # nobody listens there
    metrics.denied("key", "", "score")
    assert refusals.tell(workspace, T0)
    assert told(workspace) == [1]


def test_a_kill_before_the_entry_loses_no_refusal(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _, metrics = made
    metrics.denied("key", "", "score")
    with monkeypatch.context() as patch:
        patch.setattr("setpoint.adapters.sqlite_ledger.append", _killed)
        with pytest.raises(StateError):
            refusals.tell(workspace, T0)
    assert refusals.tell(workspace, T0 + timedelta(minutes=1))
    assert told(workspace) == [1]


def _killed(*_: object) -> None:
    raise StateError("the disk is full", where="state.db", fix="make room")
