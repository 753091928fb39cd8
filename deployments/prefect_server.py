"""The Prefect server on SQLite, kept from freezing: ``python -m deployments.prefect_server ARGS``.

A statement that fails leaves its cursor open, and the garbage collector may end that cursor on
the server's main thread. SQLite then waits, with the interpreter's lock held, for the thread that
works on the same connection; where that one waits for a transaction whose owner needs the main
thread, nothing moves until the busy time of 60 s is over. Events are late by a minute then, and
no request is answered. So cursors are ended only on the thread of their connection.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


class Connection(sqlite3.Connection):
    """Holds its cursors until they are closed; a roll-back closes what a failure left open.

    aiosqlite calls all of this on the connection's own thread, and a connection is rolled back
    whenever it goes back to its pool.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unclosed: set[Cursor] = set()

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that this connection holds on to."""
        found = super().cursor(factory or Cursor)
        if isinstance(found, Cursor):
            self.unclosed.add(found)
        return found

    def rollback(self) -> None:
        """End what is open, then roll back."""
        for one in list(self.unclosed):
            one.close()
        super().rollback()


class Cursor(sqlite3.Cursor):
    """Known to its connection until it is closed."""

    def close(self) -> None:
        """End the statement and let go."""
        super().close()
        if isinstance(self.connection, Connection):
            self.connection.unclosed.discard(self)


def keep_cursors(engines: Any = Engine) -> None:
    """Let every SQLite connection made from now on hold its cursors.

    Args:
        engines: A SQLAlchemy engine, or the class for all of them.
    """

    @event.listens_for(engines, "do_connect")
    def connect(dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        if dialect.driver == "aiosqlite":
            options["factory"] = Connection


if __name__ == "__main__":
    keep_cursors()
    from prefect.cli import app

    app()
