"""A process per model version, kept by the supervisor: the embedded home of ``ModelRuntime``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from setpoint.adapters.postgres_link import without_password
from setpoint.adapters.processes import free_port
from setpoint.adapters.services import (
    ServiceSpec,
    declare,
    declared,
    service_status,
    wait_ready,
    wait_stopped,
    withdraw,
)
from setpoint.errors import PlatformError
from setpoint.ports import Endpoint

_PREFIX = "model-"
_HOST = "127.0.0.1"
_SETTINGS = ("--log", "--keys")
"""Flags that come from the platform's environment and may change."""


class ProcessRuntime:
    """Runs ``setpoint.serving`` once per version, on loopback.

    Args:
        state: State folder; its supervisor must be running.
        store_file: SQLite file that all versions share.
        command: What is run, before the flags ``--bundle --store --host --port --version``.
        ready_seconds: How long a new version may take to get ready.
        known_seconds: How long a version that was started before is waited for.
        stop_seconds: How long it may drain before it is killed.
        decisions: Address of PostgreSQL if decisions are logged there. A version gets it without
            the password, which it takes from ``SETPOINT_DECISIONS`` of its supervisor.
        keys: File of API keys that versions ask for.
        trusted: Folder of the public keys, one of which must have signed a bundle. A version that
            was declared without goes on as it is.
    """

    kind: str = "process"
    _default: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "setpoint.serving")

    def __init__(
        self,
        state: Path,
        store_file: Path,
        command: Sequence[str] = _default,
        ready_seconds: float = 60.0,
        stop_seconds: float = 10.0,
        known_seconds: float = 10.0,
        decisions: str = "",
        keys: Path | None = None,
        trusted: Path | None = None,
    ) -> None:
        self.state = state.absolute()
        self.store_file = store_file.absolute()
        self.command = tuple(command)
        self.ready_seconds = ready_seconds
        self.stop_seconds = stop_seconds
        self.known_seconds = known_seconds
        self._settings = ["--log", without_password(decisions)] if decisions else []
        self._settings += ["--keys", str(keys.absolute())] if keys is not None else []
        self._trusted = ["--trusted", str(trusted.absolute())] if trusted is not None else []

    def start(self, version: str, bundle: Path, digest: str = "") -> Endpoint:
        """Start a version and wait until it is ready, or find it declared already; see the port.

        One that was declared with another decision log or other keys is restarted with these.

        Raises:
            PlatformError: A new one does not get ready, and nothing of it is left running; or it
                runs already from another bundle, and goes on.
        """
        name = _PREFIX + version
        known = declared(self.state).get(name)
        port = _flag(known, "--port") if known is not None else None
        if known is not None and port is not None:
            self._check_same(known, bundle.absolute())
            settings = [part for name in _SETTINGS for part in _flag_of(known, name)]
            if settings != self._settings:
                spec = self._spec(name, version, bundle.absolute(), port, digest)
                if _flag(known, "--trusted") is None:  # of before signatures, and in service
                    spec = replace(spec, argv=spec.argv[: len(spec.argv) - len(self._trusted)])
                declare(self.state, spec)
                wait_ready(self.state, name, self.ready_seconds)
                return Endpoint(_HOST, int(port))
            # It may be slow or between two starts; taking it away would not make it better, and
            # the router gives no traffic to a version that does not answer.
            with suppress(PlatformError):
                wait_ready(self.state, name, self.known_seconds)
            return Endpoint(_HOST, int(port))
        taken = [endpoint.port for endpoint in self.endpoints().values()]
        port = str(free_port(_HOST, taken))
        declare(self.state, self._spec(name, version, bundle.absolute(), port, digest))
        try:
            wait_ready(self.state, name, self.ready_seconds)
        except PlatformError:
            self.stop(version)
            raise
        return Endpoint(_HOST, int(port))

    def stop(self, version: str) -> None:
        """Drain and stop a version; stopping what does not run is no error.

        Raises:
            PlatformError: Its process does not end.
        """
        name = _PREFIX + version
        withdraw(self.state, name)
        wait_stopped(self.state, name, self.stop_seconds + 10.0)

    def endpoints(self) -> dict[str, Endpoint]:
        """All versions that should be running."""
        found = {}
        for name, spec in declared(self.state).items():
            port = _flag(spec, "--port")
            if name.startswith(_PREFIX) and port is not None:
                found[name.removeprefix(_PREFIX)] = Endpoint(_HOST, int(port))
        return found

    def _spec(self, name: str, version: str, bundle: Path, port: str, digest: str) -> ServiceSpec:
        flags = ["--bundle", str(bundle), "--store", str(self.store_file)]
        flags += ["--host", _HOST, "--port", port, "--version", version]
        flags += ["--digest", digest] if digest else []
        flags += self._settings + self._trusted
        return ServiceSpec(
            name=name,
            argv=(*self.command, *flags),
            env={"OMP_NUM_THREADS": "1"},
            ready_url=f"http://{_HOST}:{port}/health/ready",
            stop_seconds=self.stop_seconds,
            order=40,
        )

    def _check_same(self, known: ServiceSpec, bundle: Path) -> None:
        """A version is one bundle: another one under its name would change what it answers."""
        if _flag(known, "--bundle") == str(bundle):
            return
        pid = service_status(self.state, known.name).pid
        raise PlatformError(
            f"it runs already from {_flag(known, '--bundle')} (pid {pid}), not from {bundle}",
            where=known.name,
            fix="stop that version first, or give this bundle a version of its own",
        )


def _flag_of(spec: ServiceSpec, name: str) -> list[str]:
    """A flag of a declaration with its value; empty if it has none."""
    value = _flag(spec, name)
    return [] if value is None else [name, value]


def _flag(spec: ServiceSpec, name: str) -> str | None:
    """The value after flag ``name`` in a declaration."""
    if name not in spec.argv[:-1]:
        return None
    return spec.argv[spec.argv.index(name) + 1]
