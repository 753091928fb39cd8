"""Plays rows through the gateway as its clients would, and counts what came back."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from setpoint.adapters.scoring_metrics import bearer
from setpoint.config import read_environment
from setpoint.errors import PlatformError, RequestError

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True)
class Answer:
    """What came back for one row.

    Attributes:
        id: The row's event id, as text; empty if it has none.
        status: HTTP status; 0 without an answer.
        body: The decoded answer; ``None`` if there is none or it is no JSON object.
        plan: Id of the traffic plan under which it was answered; empty without one.
        seconds: From sending (in ``play``: from the moment it was due) to the answer.
        error: Why there is no answer; empty if there is one.
        at: Wall time at which it came, seconds since the epoch.
    """

    id: str
    status: int
    body: dict[str, Any] | None
    plan: str
    seconds: float
    error: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Counts:
    """How the requests ended; ``sent`` is the sum of the others.

    Attributes:
        sent: All requests.
        answered: Answered 2xx or 3xx.
        refused: Refused by the service, 4xx: the request was at fault.
        lost: No HTTP answer, or 5xx: whoever waited for a decision has none.
    """

    sent: int = 0
    answered: int = 0
    refused: int = 0
    lost: int = 0

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Counts:
        """Count answers."""
        statuses = [answer.status for answer in answers]
        answered = sum(200 <= status < 400 for status in statuses)
        refused = sum(400 <= status < 500 for status in statuses)
        return cls(len(statuses), answered, refused, len(statuses) - answered - refused)

    def __add__(self, other: Counts) -> Counts:
        """Sum of both."""
        return Counts(
            self.sent + other.sent,
            self.answered + other.answered,
            self.refused + other.refused,
            self.lost + other.lost,
        )


class GatewayClient:
    """Keep-alive client; retries nothing, as that is the gateway's work.

    Use it as ``async with GatewayClient(url) as client``.

    Args:
        url: Address of the gateway, e.g. ``http://127.0.0.1:8080``.
        concurrency: Most requests waiting at once, >= 1.
        id_column: Column of a row that holds the event id.
        timeout: Seconds until a request counts as lost.
        api_key: Sent with every request; ``SETPOINT_API_KEY`` if ``None``, none if empty.
    """

    def __init__(
        self,
        url: str,
        concurrency: int = 32,
        *,
        id_column: str = "id",
        timeout: float = 15.0,
        api_key: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.concurrency = concurrency
        self.id_column = id_column
        self.timeout = timeout
        self._headers = bearer(read_environment().api_key if api_key is None else api_key)
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(concurrency)

    async def __aenter__(self) -> GatewayClient:
        """Open the connections' pool."""
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.concurrency, keepalive_timeout=30.0),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, rows: Sequence[Mapping[str, Any]], entity_column: str) -> list[Answer]:
        """Ask for a decision on each row, as fast as ``concurrency`` allows, started in order.

        Args:
            rows: Request rows; times are written as RFC 3339, NaN as null.
            entity_column: Column by which requests stick to a version.

        Returns:
            One answer a row, in the order of ``rows``.
        """
        answers: list[Answer | None] = [None] * len(rows)
        places = iter(range(len(rows)))

        async def work() -> None:
            for place in places:
                answers[place] = await self._decide(rows[place], entity_column, time.perf_counter())

        await asyncio.gather(*(work() for _ in range(min(self.concurrency, len(rows)))))
        return [answer for answer in answers if answer is not None]

    async def play(
        self, rows: Iterable[Mapping[str, Any]], rate_per_second: float, entity_column: str
    ) -> list[Answer]:
        """Send rows at a steady rate whether or not answers come (open loop).

        A row that waits for one of the ``concurrency`` slots has its waiting counted.

        Args:
            rows: Request rows; taken one by one as they are due, so they may go on until told to
                stop.
            rate_per_second: Requests a second, > 0.
            entity_column: Column by which requests stick to a version.

        Returns:
            One answer a row, in the order of ``rows``.
        """
        if not rate_per_second > 0:
            raise RequestError(
                f"rate_per_second is {rate_per_second}", where="play", fix="give a rate above 0"
            )
        begin = time.perf_counter()

        async def at(place: int, row: Mapping[str, Any]) -> Answer:
            due = begin + place / rate_per_second
            async with self._slots:
                return await self._decide(row, entity_column, due)

        tasks = []
        for place, row in enumerate(rows):
            await asyncio.sleep(max(0.0, begin + place / rate_per_second - time.perf_counter()))
            tasks.append(asyncio.create_task(at(place, row)))
        return list(await asyncio.gather(*tasks))

    async def labels(self, rows: Sequence[Mapping[str, Any]]) -> Answer:
        """Report truths: rows with ``id``, ``label`` (0 or 1), ``known_at`` (UTC, aware)."""
        return await self._post("/v1/labels", {"labels": list(rows)}, {}, "", time.perf_counter())

    async def _decide(self, row: Mapping[str, Any], entity_column: str, begin: float) -> Answer:
        entity = row.get(entity_column)
        # Without an entity the gateway has nothing to stick to and draws by weight.
        headers = {} if entity is None else {"x-entity": str(entity)}
        known = row.get(self.id_column)
        return await self._post(
            "/v1/decisions", row, headers, "" if known is None else str(known), begin
        )

    async def _post(
        self, path: str, body: Any, headers: dict[str, str], event_id: str, begin: float
    ) -> Answer:
        import aiohttp

        if self._session is None:
            raise PlatformError(
                "the client is not open", where=self.url, fix="use it as `async with client:`"
            )
        data = encode(body)
        headers = {**headers, "content-type": "application/json"}
        try:
            async with self._session.post(self.url + path, data=data, headers=headers) as answer:
                raw = await answer.read()
                plan = answer.headers.get("x-plan", "")
                seconds = time.perf_counter() - begin
                return Answer(event_id, answer.status, _object(raw), plan, seconds, at=time.time())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            seconds = time.perf_counter() - begin
            return Answer(event_id, 0, None, "", seconds, text, time.time())


def encode(body: Any) -> bytes:
    """JSON of rows as frames hold them: aware times as RFC 3339, NaN as null, numpy as plain.

    Raises:
        RequestError: A value has no JSON form, or a time has no offset.
    """
    return json.dumps(_plain(body), separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    raise RequestError(
        f"{value!r:.80} ({type(value).__name__}) has no JSON form",
        where="request row",
        fix="give text, numbers, booleans, null or aware times",
    )


def _time(value: datetime) -> str | None:
    if value != value:  # pandas' missing time
        return None
    if value.utcoffset() is None:
        raise RequestError(
            f"time {value} has no offset", where="request row", fix="give aware times, UTC"
        )
    return value.astimezone(UTC).isoformat()


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(raw)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
