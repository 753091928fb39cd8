"""Runs the service: verify, open, listen, and on SIGTERM finish what was accepted."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from prometheus_client import disable_created_metrics

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.adapters.sqlite_link import Durability, connect
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.errors import BundleError, PlatformError
from setpoint.serving.app import App
from setpoint.serving.engine import REQUEST_SECONDS, Engine
from setpoint.serving.keys import Keyring, read_keys
from setpoint.serving.log import Logged, ServiceLog
from setpoint.serving.metrics import Metrics
from setpoint.serving.reserve import Reserve

if TYPE_CHECKING:
    from setpoint.adapters.postgres_decisions import PostgresDecisionLog

    Log = SqliteDecisionLog | PostgresDecisionLog

MOST_CONNECTIONS = 1024
DRAIN_SECONDS = 10.0
POLL_SECONDS = 0.02
READY_LATE_SECONDS = 1.0
RESERVE_MEGABYTES = 64


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
        busy_milliseconds: How long to wait for another writer of the store, and for a log
            elsewhere, before a 503.
        request_seconds: How long a request may wait for its turn before a 503; a large body may
            take twice that to arrive before a 408.
        keys: File of the API keys; without one everybody may ask.
        log: Address of PostgreSQL if decisions are logged there; in the store if empty.
        reserve_megabytes: Disk space kept back for the store; 0 for none.
        trusted: Folder of the public keys, one of which must have signed the bundle; without one
            signatures are not asked for.
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
    log: str = field(default="", repr=False)
    reserve_megabytes: int = RESERVE_MEGABYTES
    trusted: Path | None = None


def run(settings: Settings, log: ServiceLog) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: How.
        log: Where to say what happens.

    Raises:
        BundleError: The bundle is incomplete or altered, or nobody who is trusted signed it.
        StateError: The store or the decision log cannot be opened.
        PlatformError: The port is taken, or the keys file is malformed.
    """
    began = time.monotonic()
    keys = Keyring(read_keys(settings.keys)) if settings.keys is not None else None
    bundle = _read(settings)
    version = log.version = settings.version or bundle.manifest.version
    check_port(settings.host, settings.port)
    connection = connect(settings.store, settings.durability, settings.busy_milliseconds)
    decisions, place = _open_log(settings, connection)
    online = SqliteOnlineStore(connection, bundle.features)
    seconds, elsewhere = settings.request_seconds, bool(settings.log)
    reserve = Reserve(
        settings.store,
        settings.reserve_megabytes * 1024 * 1024,
        lambda level, event, free: log.say(level, event, free_bytes=free),
    )
    engine = Engine(
        bundle, version, connection, online, decisions, log.fault, seconds, elsewhere, reserve
    )
    engine.start()
    reserve.start()
    # A second series for every counter, which nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    app = App(bundle, version, engine, Metrics(version), log.fault, keys, 2 * seconds)
    log.say(
        "info",
        "start",
        bundle=bundle.digest,
        address=f"{settings.host}:{settings.port}",
        decisions=place,
        durability=settings.durability,
        keys=settings.keys is not None,
        signed_by=bundle.signature.key if settings.trusted and bundle.signature else None,
        pid=os.getpid(),
    )
    gc.freeze()  # what is alive now stays; collections look at requests only
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, settings, log, began))
    finally:
        reserve.stop()
        engine.stop()
        decisions.close()
        connection.close()
    log.say("info", "stop", unanswered=app.in_flight, left_out=log.left_out())


def _read(settings: Settings) -> Bundle:
    """The bundle, verified."""
    bundle = read_bundle(settings.bundle, settings.digest or None)
    if settings.trusted is not None:
        # here, so that who asks for no signature does not wait for the library
        from setpoint.adapters.signing import Trusted
        from setpoint.domain.signatures import check_bundle

        check = Trusted(settings.trusted).check
        check_bundle(bundle.digest, bundle.signature, check, str(settings.bundle))
        if settings.version not in ("", bundle.manifest.version):
            # its signature holds for the version that its manifest names, and for no other
            raise BundleError(
                f"the bundle is signed as {bundle.manifest.version}, and {settings.version} was "
                "to be served",
                where=str(settings.bundle),
                fix=f"restore the bundle of {settings.version} from a backup, or train again",
            )
    return bundle


def _open_log(settings: Settings, connection: sqlite3.Connection) -> tuple[Log, str]:
    """The decision log, and where it is, without a password."""
    if not settings.log:
        return SqliteDecisionLog(connection), str(settings.store)
    # here, so that who logs to the store does not wait for another client
    from setpoint.adapters.postgres_decisions import PostgresDecisionLog
    from setpoint.adapters.postgres_link import without_password

    seconds = settings.busy_milliseconds / 1000
    return PostgresDecisionLog(settings.log, seconds), without_password(settings.log)


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


async def _serve(app: App, settings: Settings, log: ServiceLog, began: float) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    server = Server(
        Logged(app, log),
        address=settings.host,
        port=settings.port,
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
    listening = asyncio.create_task(_say_ready(settings, log, began))
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    app.draining = True
    # a service that answered for less than a poll was ready all the same, and says so
    if not serving.done():
        await asyncio.wait({listening}, timeout=READY_LATE_SECONDS)
    listening.cancel()
    log.say("info", "drain", in_flight=app.in_flight)
    server.stop()  # type: ignore[no-untyped-call]
    await _drain(app)
    await serving


async def _say_ready(settings: Settings, log: ServiceLog, began: float) -> None:
    """Say so once connections are accepted."""
    while True:
        try:
            _, writer = await asyncio.open_connection(settings.host, settings.port)
        except OSError:
            await asyncio.sleep(POLL_SECONDS)
            continue
        writer.close()
        log.say("info", "ready", seconds=round(time.monotonic() - began, 3))
        return


async def _drain(app: App) -> None:
    """Wait until every accepted request is answered, at most ``DRAIN_SECONDS``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DRAIN_SECONDS
    while app.in_flight and loop.time() < end:
        await asyncio.sleep(POLL_SECONDS)
