"""What the service says about itself: one JSON object a line, on standard error.

No line holds a value of a request: rules, places and trace ids alone. What bad traffic or a
broken store can cause over and over is limited to ``MOST_A_MINUTE`` lines of each event; how many
were left out is said in the event's next line, and of all events when the service stops.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from setpoint.errors import StateError
from setpoint.serving.keys import Bucket
from setpoint.serving.problems import PREFIX

MOST_A_MINUTE = 10

Level = Literal["info", "warning", "error"]
Headers = Sequence[tuple[str, str]]


class ServiceLog:
    """Writes lines; may be used by several threads.

    Args:
        version: Model version, in every line.
        stream: Where to; standard error if ``None``.
        clock: Seconds that never go back, for the limits.
    """

    def __init__(
        self,
        version: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = version
        self._stream = stream
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._left_out: Counter[str] = Counter()

    def say(self, level: Level, event: str, **fields: Any) -> None:
        """Write a line; ``None`` and empty text among the fields are left out."""
        with self._one_at_a_time:
            self._write(level, event, fields)

    def say_some(self, level: Level, event: str, fields: Callable[[], dict[str, Any]]) -> None:
        """Write a line unless there were too many of this event.

        Args:
            level: Its level.
            event: Its name, one of few.
            fields: Gives the fields; not called for a line that is left out.
        """
        with self._one_at_a_time:
            now = self._clock()
            bucket = self._buckets.setdefault(event, Bucket(MOST_A_MINUTE, now))
            if bucket.take(now) > 0:
                self._left_out[event] += 1
                return
            left_out = self._left_out.pop(event, None)
            self._write(level, event, {**fields(), "left_out": left_out})

    def fault(self, error: Exception, trace_id: str = "") -> None:
        """Say that a store failed (``store``), or that this service did (``fault``)."""
        if isinstance(error, StateError) or type(error).__module__ == "sqlite3":
            self.say_some("error", "store", lambda: {"message": str(error)})
            return
        # the place alone: messages of libraries can hold values of the request
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        kind = type(error).__name__
        self.say_some(
            "error", "fault", lambda: {"trace_id": trace_id, "error": kind, "place": place}
        )

    def problem(self, status: int, headers: Headers, body: bytes) -> None:
        """Say that a request was answered with a problem: ``refused`` (4xx) or ``failed`` (5xx)."""

        def fields() -> dict[str, Any]:
            sent = dict(headers)
            told = msgspec.json.decode(body)
            parent = sent.get("traceparent", "").split("-")
            return {
                "trace_id": parent[1] if len(parent) > 1 else sent.get("x-request-id"),
                "status": status,
                "rule": told["type"].removeprefix(PREFIX),
                # of a refusal it has the value that was refused
                "message": told["detail"] if status >= 500 else None,
            }

        if status >= 500:
            self.say_some("warning", "failed", fields)
        else:
            self.say_some("info", "refused", fields)

    def left_out(self) -> dict[str, int] | None:
        """How many lines were left out since each event's last one; ``None`` if none was."""
        return dict(self._left_out) or None

    def _write(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "level": level, "event": event, "version": self.version, **fields}
        kept = {name: value for name, value in line.items() if value not in (None, "")}
        text = msgspec.json.encode(kept).decode()
        with suppress(OSError, ValueError):  # a full disk or a closed pipe costs nobody an answer
            print(text, file=self._stream or sys.stderr, flush=True)


class Logged:
    """An RSGI application whose answers of 400 and more are logged.

    Args:
        app: The application; answers with ``response_bytes`` and problem JSON.
        log: Where to.
    """

    def __init__(self, app: Any, log: ServiceLog) -> None:
        self._app = app
        self._log = log

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        await self._app.__rsgi__(scope, _Watched(protocol, self._log))


class _Watched:
    """A protocol that is looked at as it answers."""

    __slots__ = ("_log", "_protocol")

    def __init__(self, protocol: Any, log: ServiceLog) -> None:
        self._protocol = protocol
        self._log = log

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if status >= 400:
            self._log.problem(status, headers, body)
        self._protocol.response_bytes(status, headers, body)

    def __aiter__(self) -> Any:
        return self._protocol.__aiter__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)
