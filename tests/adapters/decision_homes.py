"""Both homes of the decision log, for the tests of what the port promises."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest

from setpoint.adapters.postgres_decisions import PostgresDecisionLog
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from tests.adapters.postgres import PostgresServer

Log = SqliteDecisionLog | PostgresDecisionLog


class Home(Protocol):
    """A store of its own, empty at first.

    Attributes:
        kind: ``sqlite`` or ``postgres``.
        address: What ``opened`` takes.
        where: How errors name it, as a regular expression.
    """

    kind: str
    address: str
    where: str

    def execute(self, text: str) -> list[tuple[object, ...]]:
        """Run SQL on a connection of its own."""
        ...


class SqliteHome:
    """A file in ``folder``."""

    kind = "sqlite"
    where = r"log\.db"

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "log.db")

    def execute(self, text: str) -> list[tuple[object, ...]]:
        """Run SQL on a connection of its own."""
        with closing(sqlite3.connect(self.address, isolation_level=None)) as connection:
            return connection.execute(text).fetchall()


class PostgresHome:
    """A place on ``server``."""

    kind = "postgres"
    where = r"postgresql://setpoint@127\.0\.0\.1"

    def __init__(self, server: PostgresServer) -> None:
        self.address = server.new_place()
        self._server = server

    def execute(self, text: str) -> list[tuple[object, ...]]:
        """Run SQL on a connection of its own."""
        return self._server.execute(text, self.address)


def opened(kind: str, address: str) -> Log:
    """A log in a home."""
    if kind == "postgres":
        return PostgresDecisionLog(address)
    return SqliteDecisionLog(address, durability="normal")


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Each home in turn, empty."""
    if request.param == "postgres":
        return PostgresHome(request.getfixturevalue("postgres"))
    return SqliteHome(tmp_path)


@pytest.fixture
def log(home: Home) -> Iterator[Log]:
    """An empty log in each home."""
    found = opened(home.kind, home.address)
    yield found
    found.close()
