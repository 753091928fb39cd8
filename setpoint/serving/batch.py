"""Many rows in one request, a few at a time, so that single requests are not kept waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from setpoint.ports import Decision
from setpoint.serving import arrow
from setpoint.serving.engine import Engine, Score
from setpoint.serving.metrics import Metrics
from setpoint.serving.problems import Refusal, Unavailable, problem, shown
from setpoint.serving.rows import Row, RowReader, decode_json

JSON = "application/json"
LARGEST_BATCH = 4 * 1024 * 1024
"""Bytes of a body."""
MOST_ROWS = 10_000
SLICE = 32
"""Rows of all batches that the engine has at once."""
MOST_BATCHES = 4
"""Requests that are read or decided at once; memory is bounded by them."""


@dataclass(frozen=True)
class Sent:
    """What a request says of all its rows.

    Attributes:
        shadow: Whether it was mirrored.
        trace_id: Its trace or request id.
        propensity: Probability with which this version was given it.
        client: Name of its key; empty where none is asked for.
        digits: Decimal places of the answered score; ``None`` for all.
    """

    shadow: bool
    trace_id: str
    propensity: float | None
    client: str = ""
    digits: int | None = None


class Batches:
    """Decides the rows of batch requests.

    Args:
        engine: A started engine.
        reader: Checks rows.
        metrics: Counts decisions and refused rows.
    """

    def __init__(self, engine: Engine, reader: RowReader, metrics: Metrics) -> None:
        self._engine = engine
        self._reader = reader
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._admitted = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request while it is worked on.

        Raises:
            Unavailable: There are enough of them already.
        """
        if self._admitted >= MOST_BATCHES:
            raise Unavailable(f"{MOST_BATCHES} batches are being decided")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def decide(self, body: bytes, kind: str, wanted: str, sent: Sent) -> bytes:
        """Decide all rows of a request, in order.

        Args:
            body: The request's body.
            kind: Its media type, ``JSON`` or Arrow's.
            wanted: The media type of the answer.
            sent: What goes for all rows.

        Returns:
            One entry for each row: its decision, or the problem with it.

        Raises:
            Refusal: The body is no list of rows, or too long; nothing was decided.
            Unavailable: The store failed. What was decided before stays, and is answered again
                when the same request is sent again.
        """
        rows = _json_rows(body) if kind == JSON else arrow.read_rows(body, MOST_ROWS)[1]
        entries: list[bytes] = []
        while part := list(islice(rows, SLICE)):
            async with self._turn:  # a slice of one batch, then one of another
                entries += await self._decide(part, sent)
        if wanted == JSON:
            return b"[" + b",".join(entries) + b"]"
        return await asyncio.to_thread(arrow.write_rows, entries)

    async def _decide(self, part: list[Any], sent: Sent) -> list[bytes]:
        rows = [self._check(row) for row in part]
        found = await asyncio.gather(
            *(
                self._engine.submit(
                    Score(row, sent.shadow, sent.trace_id, sent.propensity, sent.client)
                )
                for row in rows
                if isinstance(row, Row)
            ),
            return_exceptions=True,
        )
        decided = iter(found)
        outcomes = [next(decided) if isinstance(row, Row) else row for row in rows]
        return [self._entry(outcome, sent.digits) for outcome in outcomes]

    def _check(self, row: Any) -> Row | Refusal:
        try:
            return self._reader.check(decode_json(row) if isinstance(row, msgspec.Raw) else row)
        except Refusal as refusal:
            return refusal

    def _entry(self, outcome: Any, digits: int | None) -> bytes:
        if isinstance(outcome, Decision):
            self._metrics.decided(outcome)
            return msgspec.json.encode(answer_of(outcome, digits))
        if isinstance(outcome, Refusal):
            self._metrics.refused(outcome.rule)
            return problem(outcome)
        if isinstance(outcome, Unavailable) and outcome.status == 500:
            return problem(outcome)  # one row that the service fails on costs the others nothing
        raise outcome


def answer_of(decision: Decision, digits: int | None = None) -> dict[str, Any]:
    """A decision as answered.

    Args:
        decision: As logged.
        digits: Decimal places that are told of its score; ``None`` for all. The action is by the
            whole score, so of one that is rounded onto the threshold it may be either.
    """
    return {
        "decision_id": decision.id,
        "score": decision.score if digits is None else round(decision.score, digits),
        "action": decision.action,
        "threshold": decision.threshold,
        "reason_codes": decision.reasons,
        "model_version": decision.version,
        "model_digest": decision.bundle_digest,
    }


def media_types(content_type: str | None, accept: str | None) -> tuple[str, str]:
    """Media types of the request and of its answer.

    Args:
        content_type: Header ``content-type``; JSON if there is none.
        accept: Header ``accept``; where it names neither, the answer is as the request.

    Raises:
        Refusal: The request is of another type, or Arrow cannot be read here (415).
    """
    kind = (content_type or JSON).partition(";")[0].strip().lower()
    named = [t.partition(";")[0].strip() for t in (accept or "").lower().split(",")]
    wanted = next((name for name in named if name in (JSON, arrow.MEDIA_TYPE)), kind)
    if kind not in (JSON, arrow.MEDIA_TYPE):
        raise _media_type(f"the body is of type {shown(kind)}")
    if arrow.MEDIA_TYPE in (kind, wanted) and not arrow.installed():
        raise _media_type("Arrow cannot be read here: pyarrow is not installed")
    return kind, wanted


def _media_type(what: str) -> Refusal:
    also = f", or {arrow.MEDIA_TYPE}" if arrow.installed() else ""
    fix = f"send and accept {JSON}{also}"
    return Refusal("media_type", what, field="content-type", fix=fix, status=415)


def _json_rows(body: bytes) -> Iterator[msgspec.Raw]:
    """The rows, each still undecoded: together they would need many times the body."""
    try:
        rows = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        data = decode_json(body)  # says so if it is no JSON
        raise Refusal(
            "batch",
            f"the body is {shown(data)[:80]}, not a list of rows",
            fix="send a list of rows",
        ) from error
    if len(rows) > MOST_ROWS:
        raise arrow.too_many(len(rows), MOST_ROWS)
    return iter(rows)
