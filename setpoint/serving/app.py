"""The HTTP surface, as a bare RSGI application: routes, limits, answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from setpoint.domain.bundle import Bundle
from setpoint.ports import Decision
from setpoint.serving.engine import Engine, Find, Learn, Probe, Score
from setpoint.serving.metrics import CONTENT_TYPE, Metrics
from setpoint.serving.problems import Refusal, Unavailable, problem
from setpoint.serving.rows import RowReader, read_labels

LARGEST_ROW = 64 * 1024
LARGEST_LABELS = 1024 * 1024
MOST_DISCARDED = 4 * 1024 * 1024
"""How much of a body that is too large is read and dropped, so that the refusal arrives."""
PROBE_SECONDS = 1.0
"""How long a readiness verdict holds."""
DECISION = "/v1/decisions/"
JSON = [("content-type", "application/json")]
PROBLEM = [("content-type", "application/problem+json")]


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


Handler = Callable[[Any, Any], Awaitable[Answer]]


class App:
    """The service of one bundle.

    Args:
        bundle: The verified bundle.
        version: Model version, as answered.
        engine: A started engine.
        metrics: Its counters.
    """

    def __init__(self, bundle: Bundle, version: str, engine: Engine, metrics: Metrics) -> None:
        self._bundle = bundle
        self._version = version
        self._engine = engine
        self._metrics = metrics
        self._reader = RowReader(bundle.table)
        self._probed = (-PROBE_SECONDS, False)
        self.draining = False
        self.in_flight = 0
        self._routes: dict[str, tuple[str, str, Handler]] = {
            "/v1/decisions": ("POST", "decisions", self._decide),
            "/v1/labels": ("POST", "labels", self._learn),
            "/health/live": ("GET", "live", self._live),
            "/health/ready": ("GET", "ready", self._ready),
            "/metrics": ("GET", "metrics", self._report),
        }

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request; never raises."""
        started = time.perf_counter()
        self.in_flight += 1
        try:
            route, answer = await self._answer(scope, protocol)
            # counted before it is sent: who reads the counters next finds this request in them
            self._metrics.answered(route, answer.status, time.perf_counter() - started)
            headers = answer.headers
            if self.draining and scope.http_version.startswith("1"):  # HTTP/2 forbids it
                headers = [*headers, ("connection", "close")]
            protocol.response_bytes(answer.status, headers, answer.body)
        finally:
            self.in_flight -= 1

    async def _answer(self, scope: Any, protocol: Any) -> tuple[str, Answer]:
        route = "other"
        try:
            method, route, handler = self._route(scope.path)
            if scope.method != method:
                raise Refusal(
                    "method",
                    f"{scope.method[:20]} is not allowed on {scope.path[:80]}",
                    fix=f"use {method}",
                    status=405,
                )
            return route, await handler(scope, protocol)
        except Refusal as refusal:
            self._metrics.refused(refusal.rule)
            headers = PROBLEM
            if refusal.status == 405:
                headers = [*PROBLEM, ("allow", refusal.fix.removeprefix("use "))]
            return route, Answer(refusal.status, problem(refusal), headers)
        except Unavailable as error:
            return route, Answer(error.status, problem(error), [*PROBLEM, ("retry-after", "1")])

    def _route(self, path: str) -> tuple[str, str, Handler]:
        if path in self._routes:
            return self._routes[path]
        if path.startswith(DECISION) and len(path) > len(DECISION):
            return "GET", "decision", self._show
        raise Refusal(
            "path",
            f"there is nothing at {path[:80]}",
            fix=f"use one of {', '.join([*self._routes, DECISION + '{id}'])}",
            status=404,
        )

    async def _decide(self, scope: Any, protocol: Any) -> Answer:
        row = self._reader.read(await _body(scope, protocol, LARGEST_ROW))
        trace_id = scope.headers.get("x-request-id") or ""
        decision = await self._engine.submit(Score(row, _is_shadow(scope), trace_id[:200]))
        self._metrics.decided(decision)
        return Answer(200, msgspec.json.encode(_answer_of(decision)), JSON)

    async def _learn(self, scope: Any, protocol: Any) -> Answer:
        labels = read_labels(await _body(scope, protocol, LARGEST_LABELS))
        unknown = await self._engine.submit(Learn(labels))
        counts = {"accepted": len({one.id for one in labels}) - len(unknown)}
        counts["unknown"] = len(unknown)
        if unknown:
            raise Refusal(
                "unknown_decision",
                f"{len(unknown)} labels belong to no decision of this service, "
                f"e.g. {', '.join(unknown[:5])}",
                field="id",
                fix="send the ids that were decided; these labels are kept until they are",
                extra={**counts, "ids": unknown[:5]},
            )
        return Answer(200, msgspec.json.encode(counts), JSON)

    async def _show(self, scope: Any, protocol: Any) -> Answer:
        identity = unquote(scope.path[len(DECISION) :])
        decision = await self._engine.submit(Find(identity))
        if decision is None:
            raise Refusal(
                "unknown_decision",
                f"there is no decision {identity[:80]}",
                field="id",
                fix="ask for an id that was decided",
                status=404,
            )
        texts = self._bundle.decision.reasons
        shown = _answer_of(decision) | {
            "event_time": decision.event_time,
            "features": decision.features,
            "reasons": [texts.get(code, code) for code in decision.reasons],
            "trace_id": decision.trace_id,
        }
        return Answer(200, msgspec.json.encode(shown), JSON)

    async def _live(self, scope: Any, protocol: Any) -> Answer:
        return Answer(200, b'{"status":"live"}', JSON)

    async def _ready(self, scope: Any, protocol: Any) -> Answer:
        if self.draining:
            raise Unavailable("the service is stopping", "send requests elsewhere")
        probed_at, writable = self._probed
        if not writable or time.monotonic() - probed_at > PROBE_SECONDS:
            self._probed = (0.0, False)
            await self._engine.submit(Probe())
            self._probed = (time.monotonic(), True)
        body = {
            "status": "ready",
            "model_version": self._version,
            "model_digest": self._bundle.digest,
        }
        return Answer(200, msgspec.json.encode(body), JSON)

    async def _report(self, scope: Any, protocol: Any) -> Answer:
        return Answer(200, self._metrics.text(), [("content-type", CONTENT_TYPE)])


def _answer_of(decision: Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.id,
        "score": decision.score,
        "action": decision.action,
        "threshold": decision.threshold,
        "reason_codes": decision.reasons,
        "model_version": decision.version,
        "model_digest": decision.bundle_digest,
    }


def _is_shadow(scope: Any) -> bool:
    """Whether the gateway mirrored this request: it then puts ``-shadow`` into the host."""
    host = scope.authority or scope.headers.get("host") or ""
    return "-shadow" in host


async def _body(scope: Any, protocol: Any, largest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in protocol:
        size += len(part)
        if size <= largest:
            parts.append(part)
        elif size > MOST_DISCARDED:
            break
    if size > largest:
        raise Refusal(
            "too_large",
            f"the body has more than {largest} bytes",
            fix=f"send at most {largest} bytes",
            status=413,
        )
    return b"".join(parts)
