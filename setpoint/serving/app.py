"""The HTTP surface, as a bare RSGI application: routes, limits, answers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from setpoint.domain.bundle import Bundle
from setpoint.ports import Decision
from setpoint.serving.batch import LARGEST_BATCH, Batches, Sent, answer_of, media_types
from setpoint.serving.engine import Engine, Find, Learn, Probe, Score
from setpoint.serving.keys import Denied, Key, Keyring, Role
from setpoint.serving.metrics import CONTENT_TYPE, Metrics
from setpoint.serving.openapi import describe
from setpoint.serving.problems import Refusal, Unavailable, problem
from setpoint.serving.rows import LARGEST_LABELS, LARGEST_ROW, RowReader, read_labels
from setpoint.serving.trace import trace_of

MOST_DISCARDED = 16 * 1024 * 1024
"""How much of a body that is too large is read and dropped, so that the refusal arrives."""
BODY_SECONDS = 10.0
PROBE_SECONDS = 1.0
"""How long a readiness verdict holds."""
DECISION = "/v1/decisions/"
_SHARE = re.compile(r"[0-9]{0,3}\.?[0-9]{1,20}(?:[eE]-?[0-9]{1,2})?", re.ASCII)
JSON = [("content-type", "application/json")]
PROBLEM = [("content-type", "application/problem+json")]


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asker:
    """What is known of who asks.

    Attributes:
        trace_id: Of the request.
        key: The key it came with; ``None`` where none is asked for.
    """

    trace_id: str
    key: Key | None = None


Handler = Callable[[Any, Any, Asker], Awaitable[Answer]]
"""Takes the scope and the protocol of a request, and who asks."""


@dataclass(frozen=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        method: The only method allowed.
        name: As counted.
        role: Which role a key needs; empty for everybody, with or without a key.
        handler: Answers it.
    """

    method: str
    name: str
    role: Role | Literal[""]
    handler: Handler


class App:
    """The service of one bundle.

    Args:
        bundle: The verified bundle.
        version: Model version, as answered.
        engine: A started engine.
        metrics: Its counters.
        on_fault: Called with what broke when it was not the client's fault, and the trace id.
        keys: Who may ask; everybody if ``None``.
        body_seconds: How long a batch, or labels, may take to arrive.
    """

    def __init__(
        self,
        bundle: Bundle,
        version: str,
        engine: Engine,
        metrics: Metrics,
        on_fault: Callable[[Exception, str], None],
        keys: Keyring | None = None,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._bundle = bundle
        self._body_seconds = body_seconds
        self._version = version
        self._engine = engine
        self._metrics = metrics
        self._on_fault = on_fault
        self._keys = keys
        self._description = msgspec.json.encode(describe(bundle, version, keys is not None))
        self._reader = RowReader(bundle.table)
        self._batches = Batches(engine, self._reader, metrics)
        self._probed = (-PROBE_SECONDS, False)
        self.draining = False
        self.in_flight = 0
        self._routes = {
            "/v1/decisions": Route("POST", "decisions", "score", self._decide),
            "/v1/batch": Route("POST", "batch", "score", self._decide_batch),
            "/v1/labels": Route("POST", "labels", "label", self._learn),
            "/health/live": Route("GET", "live", "", self._live),
            "/health/ready": Route("GET", "ready", "", self._ready),
            "/metrics": Route("GET", "metrics", "admin", self._report),
            "/openapi.json": Route("GET", "openapi", "", self._describe),
        }
        self._decision = Route("GET", "decision", "audit", self._find)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request; never raises."""
        started = time.perf_counter()
        self.in_flight += 1
        try:
            sent = scope.headers
            trace = trace_of(sent.get("traceparent"), sent.get("x-request-id"))
            route, answer = await self._answer(scope, protocol, trace.id)
            # counted before it is sent: who reads the counters next finds this request in them
            mirrored = route == "decisions" and _is_shadow(scope)
            took = time.perf_counter() - started
            self._metrics.answered(route, answer.status, took, shadow=mirrored)
            headers = [*answer.headers, *trace.headers]
            if self.draining and scope.http_version.startswith("1"):  # HTTP/2 forbids it
                headers.append(("connection", "close"))
            protocol.response_bytes(answer.status, headers, answer.body)
        finally:
            self.in_flight -= 1

    async def _answer(self, scope: Any, protocol: Any, trace_id: str) -> tuple[str, Answer]:
        name, admitted, key = "other", False, None
        error: Refusal | Unavailable
        try:
            route = self._route(scope.path)
            name = route.name
            if scope.method != route.method:
                raise _wrong_method(scope, route.method)
            key = self._admit(scope, route)
            admitted = True
            return name, await route.handler(scope, protocol, Asker(trace_id, key))
        except Refusal as refusal:
            if not admitted:
                await _discard(scope, protocol)
            self._metrics.refused(refusal.rule)
            error = refusal
        except Unavailable as unavailable:
            error = unavailable
        except Exception as fault:  # a bug costs its request an answer, and no other anything
            self._on_fault(fault, trace_id)
            error = Unavailable("the service failed on this request", status=500)
        return name, Answer(error.status, problem(error), [*PROBLEM, *error.headers])

    def _admit(self, scope: Any, route: Route) -> Key | None:
        if self._keys is None or not route.role:
            return None
        try:
            return self._keys.admit(scope.headers.get("authorization"), route.role)
        except Denied as denied:
            if not _is_shadow(scope):  # the request itself is counted where it was not mirrored
                self._metrics.denied(denied.rule, denied.key, route.role)
            raise

    def _route(self, path: str) -> Route:
        if path in self._routes:
            return self._routes[path]
        if path.startswith(DECISION) and len(path) > len(DECISION):
            return self._decision
        raise Refusal(
            "path",
            f"there is nothing at {path[:80]}",
            fix=f"use one of {', '.join([*self._routes, DECISION + '{id}'])}",
            status=404,
        )

    async def _decide(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        row = self._reader.read(await _body(scope, protocol, LARGEST_ROW))
        sent = _sent(scope, asker)
        work = Score(row, sent.shadow, sent.trace_id, sent.propensity, sent.client)
        decision = await self._engine.submit(work)
        self._metrics.decided(decision)
        meant_for = scope.headers.get("x-assigned")
        if meant_for and meant_for != self._version and not sent.shadow:
            self._metrics.stood_in(meant_for[:64])
        return Answer(200, msgspec.json.encode(answer_of(decision, sent.digits)), JSON)

    async def _decide_batch(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        read = False
        try:
            types = media_types(scope.headers.get("content-type"), scope.headers.get("accept"))
            with self._batches.admitted():
                read = True
                body = await self._timely(scope, protocol, LARGEST_BATCH)
                found = await self._batches.decide(body, *types, _sent(scope, asker))
        except (Refusal, Unavailable):
            if not read:
                await _discard(scope, protocol)
            raise
        return Answer(200, found, [("content-type", types[1])])

    async def _learn(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        labels = read_labels(await self._timely(scope, protocol, LARGEST_LABELS))
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

    async def _timely(self, scope: Any, protocol: Any, largest: int) -> bytes:
        """A body that may be large, and must not keep its place for ever."""
        try:
            async with asyncio.timeout(self._body_seconds):
                return await _body(scope, protocol, largest)
        except TimeoutError:
            raise Refusal(
                "slow_body",
                f"the body has not arrived within {self._body_seconds:g} s",
                fix="send less at a time",
                status=408,
                headers=[("connection", "close")],
            ) from None

    async def _find(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        return await self._show(scope, protocol)

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
        manifest = self._bundle.manifest
        ours = decision.bundle_digest == self._bundle.digest  # else another bundle's manifest says
        shown = answer_of(decision) | {
            "event_time": decision.event_time,
            "features": decision.features,
            "contributions": await self._contributions(decision) if ours else None,
            "reasons": [texts.get(code, code) for code in decision.reasons],
            "trace_id": decision.trace_id,
            "snapshot": manifest.snapshot.digest if ours else None,
            "commit": manifest.commit if ours else None,
        }
        return Answer(200, msgspec.json.encode(shown), JSON)

    async def _contributions(self, decision: Decision) -> list[dict[str, Any]]:
        scorer, texts = self._engine.scorer, self._bundle.decision.reasons
        inputs = scorer.inputs(decision.features)
        found = await asyncio.to_thread(scorer.contributions, inputs)
        return [
            {"feature": name, "text": texts.get(name, name), "log_odds": value}
            for name, value in found.items()
        ]

    async def _live(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        return Answer(200, b'{"status":"live"}', JSON)

    async def _ready(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
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

    async def _report(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        return Answer(200, self._metrics.text(), [("content-type", CONTENT_TYPE)])

    async def _describe(self, scope: Any, protocol: Any, asker: Asker) -> Answer:
        return Answer(200, self._description, JSON)


def _is_shadow(scope: Any) -> bool:
    """Whether the gateway mirrored this request: it then puts ``-shadow`` into the host."""
    host = scope.authority or scope.headers.get("host") or ""
    return "-shadow" in host


def _sent(scope: Any, asker: Asker) -> Sent:
    shadow, key = _is_shadow(scope), asker.key
    share = None if shadow else _propensity(scope.headers.get("x-propensity"))
    if key is None:
        return Sent(shadow, asker.trace_id, share)
    return Sent(shadow, asker.trace_id, share, key.name, key.score_digits)


def _propensity(text: str | None) -> float | None:
    """The share of traffic that the gateway says this version has; what is malformed is none."""
    if text is None or not _SHARE.fullmatch(text):
        return None
    share = float(text)
    return share if 0 < share <= 1 else None


def _wrong_method(scope: Any, method: str) -> Refusal:
    return Refusal(
        "method",
        f"{scope.method[:20]} is not allowed on {scope.path[:80]}",
        fix=f"use {method}",
        status=405,
        headers=[("allow", method)],
    )


async def _discard(scope: Any, protocol: Any) -> None:
    """Read a body that nobody wants: left unread it would break the connection."""
    with suppress(Refusal):
        await _body(scope, protocol, 0)


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
