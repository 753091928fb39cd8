"""One time limit for all that waits, with one timer instead of one for each request."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from setpoint.serving.problems import Unavailable

LOOK_SECONDS = 0.25


class Deadlines:
    """Ends futures that wait too long, with ``Unavailable`` (503).

    Args:
        seconds: How long one may wait; it is ended at most a quarter of this, or of a second,
            later.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._every = min(LOOK_SECONDS, seconds / 4)
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._looking = False

    def watch(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        """Have ``future`` ended in time, if nobody does it before."""
        self._waiting.append((loop.time() + self._seconds, future))
        if not self._looking:
            self._looking = True
            loop.call_later(self._every, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._waiting:
            end, future = self._waiting[0]
            if not future.done():
                if end > now:  # and so for all behind it
                    break
                what = f"the request waited {self._seconds:g} s for its turn"
                future.set_exception(Unavailable(what, rule="timeout"))
            self._waiting.popleft()
        self._looking = bool(self._waiting)
        if self._looking:
            loop.call_later(self._every, self._look, loop)
