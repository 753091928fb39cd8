"""A connection to PostgreSQL for code that waits: made when needed, made anew when it broke.

Everything has a time limit on this side of the network too: a server that went silent costs its
caller an error, never a hang. The client is asynchronous and lives on a thread of its own, so that
it can be used from any thread, also from one that runs an event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from setpoint.errors import StateError

T = TypeVar("T")

SCHEMES = ("postgresql", "postgres")
REST_SECONDS = 0.2
"""How long nobody is kept waiting for another try after a connection failed."""
SPARE_SECONDS = 5.0
"""How much longer than connecting and working is waited for the thread of the connection."""
START_IT = "start PostgreSQL, or check its address and password, then send it again"


class Link:
    """One connection, used by one caller at a time.

    Args:
        url: ``postgresql://user:password@host:port/database``. What it leaves out is taken from
            the variables and files that every PostgreSQL client reads (``PGPASSWORD``,
            ``~/.pgpass``).
        seconds: How long connecting, and then each piece of work, may take.

    Raises:
        StateError: It is not such an address.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self.where = without_password(url)
        self._url = url
        self._seconds = seconds
        self._connection: Any = None
        self._failed: tuple[float, str] = (0.0, "")
        self._one_at_a_time = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do ``work`` with the connection (an ``asyncpg.Connection``).

        Raises:
            StateError: The server is away, refuses or takes too long. What was to be written may
                be written all the same.
        """
        with self._one_at_a_time:
            if self._loop.is_closed():
                raise self._error("the connection was closed")
            future = asyncio.run_coroutine_threadsafe(self._attempt(work), self._loop)
            try:
                return future.result(2 * self._seconds + SPARE_SECONDS)
            except TimeoutError as error:  # of a process that was forked the thread is not here
                future.cancel()
                raise self._error("the connection does not work any more") from error
            except BaseException:  # an interrupt too: the next caller must find it free
                future.cancel()
                raise

    def close(self) -> None:
        """Close the connection for good."""
        with self._one_at_a_time:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._drop)
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()

    async def _attempt(self, work: Callable[[Any], Awaitable[T]]) -> T:
        import asyncpg  # here, so that who logs to SQLite does not pay for it

        try:
            connection = await self._connected()
            # not by cancelling, after which the client would wait for the server once more
            overdue = self._loop.call_later(self._seconds, connection.terminate)
            try:
                return await work(connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if overdue.when() <= self._loop.time():
                    raise TimeoutError(f"no answer within {self._seconds:g} s") from error
                raise
            finally:
                overdue.cancel()
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._drop()
            raise self._error(f"the store failed: {_said(error)}") from error
        except BaseException:  # cancelled or a bug: what is under way may answer the next question
            self._drop()
            raise

    async def _connected(self) -> Any:
        import asyncpg

        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        until, reason = self._failed
        if self._loop.time() < until:
            raise ConnectionError(reason)
        limit = f"{max(1, round(self._seconds * 1000))}ms"
        settings = {
            "application_name": "setpoint",
            "jit": "off",  # a page is read sooner than its plan is compiled
            "statement_timeout": limit,
            # whatever the server's default: what is acknowledged is on its disk
            "synchronous_commit": "on",
        }
        try:
            async with asyncio.timeout(self._seconds):
                self._connection = await asyncpg.connect(
                    self._url, timeout=self._seconds, server_settings=settings
                )
        except TimeoutError as error:
            reason = f"no connection within {self._seconds:g} s"
            self._failed = (self._loop.time() + REST_SECONDS, reason)
            raise ConnectionError(reason) from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._failed = (self._loop.time() + REST_SECONDS, _said(error))
            raise
        return self._connection

    def _drop(self) -> None:
        """Let go of the connection: the next piece of work makes another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _error(self, what: str) -> StateError:
        return StateError(what, where=self.where, fix=START_IT)


def without_password(url: str) -> str:
    """An address without its password, as it may be shown.

    Raises:
        StateError: It is not an address of PostgreSQL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in SCHEMES:
        raise StateError(
            "the address of the decision log is not one of PostgreSQL",
            where="decision log",
            fix="give postgresql://user@host:port/database",
        )
    user, at, host = parts.netloc.rpartition("@")
    shown = f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}"
    query = "&".join(one for one in parts.query.split("&") if not one.startswith("password="))
    return f"{shown}?{query}" if query else shown


def _said(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
