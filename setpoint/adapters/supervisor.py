"""Keeps declared services running: ``python -m setpoint.adapters.supervisor STATE``.

One per state folder. It starts what is declared, restarts what died (waiting .2 s to 10 s,
doubling), stops what is no longer declared, and leaves nothing behind: its children die with
it, and what a killed one left is ended at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from setpoint.adapters.processes import (
    die_with_parent,
    end_processes,
    pids_with_environment,
    process_identity,
    require_free_port,
    signal_group,
)
from setpoint.adapters.services import (
    ServiceSpec,
    ServiceState,
    ServiceStatus,
    declare,
    declared,
    log_file,
    read_spec,
    read_status,
    service_status,
    status,
    status_file,
    supervisor_pid,
    wait_ready,
    wait_stopped,
    withdraw,
)
from setpoint.errors import PlatformError, SetpointError, StateError

__all__ = [
    "ServiceSpec",
    "ServiceStatus",
    "Supervisor",
    "declare",
    "declared",
    "service_status",
    "status",
    "supervisor_pid",
    "wait_ready",
    "wait_stopped",
    "withdraw",
]

_MARK = "SETPOINT_SUPERVISED"
_BACKOFF_FIRST, _BACKOFF_MOST, _BACKOFF_RESET = 0.2, 10.0, 30.0
_SETTLED_SECONDS = 0.5
_PROBE_EVERY, _PROBE_TIMEOUT = 2.0, 1.0
_LOG_BYTES = 20_000_000


class Supervisor:
    """Keeps the services of one state folder running.

    Args:
        state: State folder; made if missing.
        interval: Seconds between two looks at the declarations.
    """

    def __init__(self, state: Path, interval: float = 0.2) -> None:
        self.state = state.absolute()
        self.interval = interval
        self._services: dict[str, _Service] = {}
        self._stop = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop all services in reverse order.

        Raises:
            StateError: Another supervisor keeps this state folder.
        """
        with self._locked():
            self._end_orphans()
            asyncio.run(self._loop())

    def clear(self) -> None:
        """End what a killed supervisor of this state folder left, so that its ports are free.

        Raises:
            StateError: Another supervisor keeps this state folder.
            PlatformError: A process does not end.
        """
        with self._locked():
            self._end_orphans()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        file = self.state / "supervisor.lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise StateError(
                    f"the supervisor with pid {lock.read().strip() or '?'} already keeps it",
                    where=str(self.state),
                    fix="use that one, or stop it first (setpoint down)",
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def _end_orphans(self) -> None:
        """End what a killed supervisor left: by pid and start time, and by our mark."""
        orphans = set()
        for file in (self.state / "services" / "status").glob("*.json"):
            told = read_status(file)
            if told.pid is not None and process_identity(told.pid) == told.identity:
                orphans.add(told.pid)
            file.unlink()
        orphans.update(pids_with_environment(f"{_MARK}={self.state}"))
        end_processes(orphans)

    async def _loop(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, self, "_stop", True)
        while not self._stop:
            try:
                self._look()
            except OSError as error:  # a full disk must not end all that runs
                print(f"declarations not followed: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(self.interval)
        await self._stop_all()

    def _look(self) -> None:
        """Bring what runs one step nearer to what is declared."""
        now = time.monotonic()
        wanted = self._read_declarations()
        for name in wanted.keys() - self._services.keys():
            self._services[name] = _Service(self.state, *wanted[name])
        ordered = sorted(self._services.items(), key=lambda item: (item[1].spec.order, item[0]))
        for name, service in ordered:
            service.step(now, wanted.get(name))
            if service.gone:
                del self._services[name]

    def _read_declarations(self) -> dict[str, tuple[ServiceSpec, str]]:
        found = {}
        for file in (self.state / "services").glob("*.json"):
            try:
                found[file.stem] = read_spec(file)
            except FileNotFoundError:
                continue  # withdrawn between listing and reading
            except StateError as error:
                self._set_aside(file, error)
        for name, service in self._services.items():
            # A damaged declaration is no wish to stop: what runs goes on as it was declared.
            if name not in found and self._bad_file(name).exists():
                found[name] = (service.spec, service.digest)
        return found

    def _bad_file(self, name: str) -> Path:
        return self.state / "services" / f"{name}.json.bad"

    def _set_aside(self, file: Path, error: StateError) -> None:
        file.replace(self._bad_file(file.stem))
        print(error, file=sys.stderr, flush=True)
        if file.stem in self._services:
            self._services[file.stem].error = str(error)
        else:
            told = ServiceStatus(name=file.stem, since=_now(), error=str(error))
            _write_status(self.state, told)

    async def _stop_all(self) -> None:
        services = self._services.values()
        for order in sorted({s.spec.order for s in services}, reverse=True):
            group = [s for s in services if s.spec.order == order]
            while any(not s.stop_step(time.monotonic()) for s in group):
                await asyncio.sleep(0.05)
            for service in group:
                service.report()


class _Service:
    """One declared service and its process."""

    def __init__(self, state: Path, spec: ServiceSpec, digest: str) -> None:
        self.state, self.spec, self.digest = state, spec, digest
        self.process: subprocess.Popen[bytes] | None = None
        self.gone = False
        self.error = ""
        self._identity = ""
        self._started = self._next_start = self._next_probe = 0.0
        self._kill_at: float | None = None
        self._failures = self._restarts = 0
        self._last_exit = ""
        self._ready = False
        self._probe: asyncio.Task[bool] | None = None
        self._told: ServiceStatus | None = None

    def step(self, now: float, wanted: tuple[ServiceSpec, str] | None) -> None:
        """Start, restart, stop or look at the process, without waiting."""
        self._reap(now)
        if self.process is not None:
            if self._kill_at is None and wanted is not None and wanted[1] == self.digest:
                self._look_ready(now)
            else:
                self.stop_step(now)
        elif wanted is None:
            self.gone = True
            status_file(self.state, self.spec.name).unlink(missing_ok=True)
            return
        else:
            self._kill_at = None
            if wanted[1] != self.digest:
                self._take(*wanted)
            if now >= self._next_start:
                self._start(now)
        self.report()

    def stop_step(self, now: float) -> bool:
        """SIGTERM to the leader, later SIGKILL to its group; True when it is gone."""
        self._reap(now)
        if self.process is None:
            return True
        if self._kill_at is None:
            self._kill_at = now + self.spec.stop_seconds
            self.process.terminate()
        elif now >= self._kill_at:
            signal_group(self.process.pid, signal.SIGKILL)
        return False

    def report(self) -> None:
        """Write the status file if anything changed."""
        told = ServiceStatus(
            name=self.spec.name,
            state=self._state(),
            pid=self.process.pid if self.process else None,
            identity=self._identity if self.process else "",
            restarts=self._restarts,
            last_exit=self._last_exit,
            log=str(log_file(self.state, self.spec.name)),
            declared=self.digest,
            error=self.error,
        )
        if self._told is None or replace(self._told, since="") != told:
            changed = self._told is None or self._told.state != told.state
            since = _now() if changed or self._told is None else self._told.since
            self._told = replace(told, since=since)
            _write_status(self.state, self._told)

    def _state(self) -> ServiceState:
        if self.process is not None:
            return "ready" if self._ready else "starting"
        return "backoff" if self._kill_at is None else "stopped"

    def _take(self, spec: ServiceSpec, digest: str) -> None:
        self.spec, self.digest, self.error = spec, digest, ""
        self._failures = self._restarts = 0
        self._next_start = 0.0

    def _start(self, now: float) -> None:
        self._started, self._ready, self._probe, self._next_probe = now, False, None, 0.0
        try:
            with _open_log(log_file(self.state, self.spec.name)) as log:
                self._spawn(log)
        except (OSError, PlatformError) as error:
            reason = error.what if isinstance(error, PlatformError) else str(error)
            self._count_failure(now, f"could not start: {reason}")

    def _spawn(self, log: IO[bytes]) -> None:
        # The environment is handed on, not read: the service's own settings are its business.
        environment = {**os.environ, **self.spec.env, _MARK: str(self.state)}
        try:
            self._check_port()
            self.process = subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.spec.cwd,
                env=environment,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # this program has no threads
            )
        except (OSError, PlatformError) as error:
            log.write(f"could not start {self.spec.argv[0]}: {error}\n".encode())
            raise
        self._identity = process_identity(self.process.pid) or ""

    def _check_port(self) -> None:
        """Otherwise the answers of whoever has the port would make the service look ready."""
        url = urlsplit(self.spec.ready_url or "")
        if url.port and url.hostname in ("127.0.0.1", "localhost"):
            require_free_port(url.port, self.spec.name)

    def _reap(self, now: float) -> None:
        code = self.process.poll() if self.process else None
        if self.process is None or code is None:
            return
        signal_group(self.process.pid, signal.SIGKILL)  # what the leader left of its group
        self.process, self._ready = None, False
        ended = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        if self._kill_at is None:
            self._count_failure(now, ended)
        else:
            self._last_exit, self._next_start = ended, 0.0

    def _count_failure(self, now: float, ended: str) -> None:
        if now - self._started >= _BACKOFF_RESET:
            self._failures = 0
        self._next_start = now + min(_BACKOFF_MOST, _BACKOFF_FIRST * 2**self._failures)
        self._failures = min(self._failures + 1, 20)
        self._restarts += 1
        self._last_exit = ended

    def _look_ready(self, now: float) -> None:
        if self.spec.ready_url is None:
            self._ready = now - self._started >= _SETTLED_SECONDS
            return
        if self._probe is not None and self._probe.done():
            self._ready = self._probe.result()
            self._probe = None
            self._next_probe = now + _PROBE_EVERY if self._ready else now
        if self._probe is None and now >= self._next_probe:
            self._probe = asyncio.create_task(_answers(self.spec.ready_url))


async def _answers(url: str) -> bool:
    """Whether ``url`` answers 2xx within a second. By hand: no threads, no client library."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                words = (await reader.readline()).split()
                return len(words) > 1 and words[1].startswith(b"2")
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False


def _open_log(file: Path) -> IO[bytes]:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > _LOG_BYTES:
        file.replace(file.with_suffix(".log.1"))
    return file.open("ab", buffering=0)


def _write_status(state: Path, told: ServiceStatus) -> None:
    file = status_file(state, told.name)
    beside = file.with_suffix(".tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Not synced, as nothing rests on it after a power cut.
        beside.write_text(json.dumps(asdict(told), indent=1), encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        # A full disk must not end the supervisor and with it all that it keeps running.
        print(f"status of {told.name} not written: {error}", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def main(arguments: list[str]) -> int:
    """``python -m setpoint.adapters.supervisor STATE``; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m setpoint.adapters.supervisor STATE", file=sys.stderr)
        return 2
    try:
        Supervisor(Path(arguments[0])).run()
    except SetpointError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
