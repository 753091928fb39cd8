"""Runs the service: verify, open, listen, and on SIGTERM finish what was accepted."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import disable_created_metrics

from setpoint.adapters.sqlite_decisions import Durability, SqliteDecisionLog, connect
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import read_bundle
from setpoint.errors import PlatformError
from setpoint.serving.app import App
from setpoint.serving.engine import REQUEST_SECONDS, Engine
from setpoint.serving.keys import Keyring, read_keys
from setpoint.serving.metrics import Metrics

MOST_CONNECTIONS = 1024
DRAIN_SECONDS = 10.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Settings:
    """How a service is started.

    Attributes:
        bundle: Folder of the bundle.
        store: Database of online features and decisions; shared with other versions.
        host: Address to listen on.
        port: Port to listen on, 1 to 65535.
        version: Model version as answered and logged; the manifest's if empty.
        digest: Digest that the bundle must have; any if empty.
        durability: What an acknowledged decision survives.
        busy_milliseconds: How long to wait for another writer of the store before a 503.
        request_seconds: How long a request may wait for its turn before a 503.
        keys: File of the API keys; without one everybody may ask.
    """

    bundle: Path
    store: Path
    host: str
    port: int
    version: str = ""
    digest: str = ""
    durability: Durability = "full"
    busy_milliseconds: int = 1000
    request_seconds: float = REQUEST_SECONDS
    keys: Path | None = None


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        BundleError: The bundle is incomplete or altered.
        StateError: The store cannot be opened.
        PlatformError: The port is taken, or the keys file is malformed.
    """
    keys = Keyring(read_keys(settings.keys)) if settings.keys is not None else None
    bundle = read_bundle(settings.bundle, settings.digest or None)
    version = settings.version or bundle.manifest.version
    check_port(settings.host, settings.port)
    connection = connect(settings.store, settings.durability, settings.busy_milliseconds)
    log = SqliteDecisionLog(connection)
    online = SqliteOnlineStore(connection, bundle.features)
    engine = Engine(
        bundle, version, connection, online, log, _report_fault, settings.request_seconds
    )
    engine.start()
    # A second series for every counter, which nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    app = App(bundle, version, engine, Metrics(version), _report_fault, keys)
    say(f"model {version} ({bundle.digest[:12]}) on {settings.host}:{settings.port}")
    gc.freeze()  # what is alive now stays; collections look at requests only
    try:
        asyncio.run(_serve(app, settings.host, settings.port))
    finally:
        engine.stop()
        connection.close()
    say("stopped")


def check_port(host: str, port: int) -> None:
    """Check that nobody listens there.

    The server shares ports on purpose (SO_REUSEPORT), so a second service would start in
    silence and take half of the requests.

    Raises:
        PlatformError: Somebody does, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise PlatformError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                where="scoring service",
                fix="choose another --port, or stop what listens there",
            ) from error


async def _serve(app: App, host: str, port: int) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        backlog=MOST_CONNECTIONS,
        backpressure=MOST_CONNECTIONS,
        websockets=False,
        log_enabled=False,
    )
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ending.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(ending.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    app.draining = True
    server.stop()  # type: ignore[no-untyped-call]
    await _drain(app)
    await serving


async def _drain(app: App) -> None:
    """Wait until every accepted request is answered, at most ``DRAIN_SECONDS``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DRAIN_SECONDS
    while app.in_flight and loop.time() < end:
        await asyncio.sleep(POLL_SECONDS)


def say(text: str) -> None:
    """A line for the operator, on standard error."""
    print(f"setpoint.serving: {text}", file=sys.stderr, flush=True)


def _report_fault(error: Exception) -> None:
    # the place alone: messages of libraries can hold values of the request
    frame = traceback.extract_tb(error.__traceback__)[-1]
    say(f"fault: {type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}")
