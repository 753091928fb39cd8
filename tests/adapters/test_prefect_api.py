"""The Prefect server's API when the server is busy, wrong or away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from setpoint.adapters.prefect_api import PrefectApi
from setpoint.adapters.processes import free_port
from setpoint.errors import PlatformError

RUN = {"id": "r1", "name": "calm-owl", "state": {"name": "Promoted", "type": "COMPLETED"}}


@contextmanager
def server(*answers: tuple[int, Any]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Answers in turn, the last one for ever; an answer of status 0 hangs up."""
    left = list(answers)
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            asked.append(json.loads(self.rfile.read(length) or b"{}"))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            if not status:
                return
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield http.server_address[1], asked
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def test_a_server_that_is_busy_for_a_moment_is_asked_again() -> None:
    with server((0, None), (503, {}), (200, RUN)) as (port, _):
        run = PrefectApi(port, patience=30).wait("r1", timeout=30)
    assert (run.state, run.ended) == ("Promoted", True)


def test_a_start_that_is_repeated_starts_one_run() -> None:
    with server((200, {"id": "d1"}), (503, {}), (200, RUN)) as (port, asked):
        PrefectApi(port, patience=30).run("deliver/deliver", {"cause": "first"})
    first, again = asked[1:]
    assert first["idempotency_key"] == again["idempotency_key"] != ""


def test_a_deployment_that_does_not_exist_is_said_at_once() -> None:
    with server((404, {"detail": "Deployment not found"})) as (port, asked):
        with pytest.raises(PlatformError, match=r"404.*Deployment not found"):
            PrefectApi(port, patience=60).run("no/such", {})
        assert len(asked) == 1


def test_a_server_that_is_away_is_an_error_with_a_place_to_look() -> None:
    with pytest.raises(PlatformError, match=r"prefect-server\.log"):
        PrefectApi(free_port(), patience=0.1).flow_run("r1")
