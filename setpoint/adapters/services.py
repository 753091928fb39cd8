"""Services declared as files, and what the supervisor says about them.

``<state>/services/<name>.json`` declares a service, ``<state>/services/status/<name>.json`` says
how it is, ``<state>/logs/<name>.log`` is what it printed. Anybody may declare; only the
supervisor (``setpoint.adapters.supervisor``) starts and stops.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from setpoint.adapters.files import write_atomically
from setpoint.adapters.processes import process_identity
from setpoint.errors import PlatformError, StateError

ServiceState = Literal["starting", "ready", "backoff", "stopped"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_POLL_SECONDS = 0.05
_GIVE_UP_AFTER = 3
_PORT_TAKEN = ("address already in use", "eaddrinuse", "address in use", "is taken")


@dataclass(frozen=True)
class ServiceSpec:
    """A process that should be running.

    Attributes:
        name: Letters, digits, dot, dash, underscore; at most 100.
        argv: Program and arguments; the program absolute or found on the path.
        env: Environment variables set on top of the supervisor's own.
        cwd: Working folder; ``None`` for the supervisor's.
        ready_url: ``http://`` address that answers 2xx when the service is ready; ``None``: it
            counts as ready when it lived for half a second.
        stop_seconds: From SIGTERM to SIGKILL, > 0.
        order: Lower ones start first and stop last.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    ready_url: str | None = None
    stop_seconds: float = 10.0
    order: int = 50

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "argv": list(self.argv), "env": dict(self.env)}

    @classmethod
    def from_dict(cls, data: object) -> ServiceSpec:
        """The declaration in ``data``.

        Raises:
            StateError: A field is missing, unknown or of the wrong type.
        """
        if not isinstance(data, dict):
            raise StateError(f"a service is declared by a JSON object, not {data!r:.80}")
        wrong = [name for name, good in _checks(data).items() if not good]
        wrong += sorted(set(data) - {f.name for f in fields(cls)})
        if wrong:
            raise StateError(
                f"service fields wrong, missing or unknown: {', '.join(wrong)}",
                fix="declare the service again; nobody edits these files by hand",
            )
        return cls(**{**data, "argv": tuple(data["argv"])})


def _checks(data: dict[str, Any]) -> dict[str, bool]:
    argv, env, stop = data.get("argv"), data.get("env", {}), data.get("stop_seconds", 1.0)
    url = data.get("ready_url")
    return {
        "name": bool(_NAME.fullmatch(str(data.get("name", "")))),
        "argv": isinstance(argv, list | tuple) and bool(argv) and all(map(_is_text, argv)),
        "env": isinstance(env, dict) and all(map(_is_text, [*env, *env.values()])),
        "cwd": data.get("cwd") is None or _is_text(data["cwd"]),
        "ready_url": url is None or (_is_text(url) and url.startswith("http://")),
        "stop_seconds": isinstance(stop, int | float) and stop > 0,
        "order": isinstance(data.get("order", 0), int),
    }


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


@dataclass(frozen=True)
class ServiceStatus:
    """How a declared service is.

    Attributes:
        name: Its name.
        state: ``starting``: runs, does not answer ``ready_url`` (yet, or any more); ``ready``;
            ``backoff``: it died and waits for its next start; ``stopped``.
        pid: Process id, also that of its process group; ``None`` if it does not run.
        identity: Tells it from a later process with that pid.
        restarts: How often it died since it was declared so.
        since: When it came into this state, UTC, ISO 8601.
        last_exit: How it ended last, e.g. ``exit code 1``; empty if it never did.
        log: File with its output.
        declared: Digest of the declaration that this is about.
        error: Why the declaration cannot be used; empty if it can.
    """

    name: str
    state: ServiceState = "stopped"
    pid: int | None = None
    identity: str = ""
    restarts: int = 0
    since: str = ""
    last_exit: str = ""
    log: str = ""
    declared: str = ""
    error: str = ""


def spec_file(state: Path, name: str) -> Path:
    """The file that declares service ``name``."""
    if not _NAME.fullmatch(name):
        raise StateError(
            f"{name!r} is no service name", fix="use letters, digits, dot, dash, underscore"
        )
    return state / "services" / f"{name}.json"


def status_file(state: Path, name: str) -> Path:
    """The file in which the supervisor says how service ``name`` is."""
    return state / "services" / "status" / f"{name}.json"


def log_file(state: Path, name: str) -> Path:
    """The file that takes the output of service ``name``."""
    return state / "logs" / f"{name}.log"


def declare(state: Path, spec: ServiceSpec) -> None:
    """Say that a service should run; one that runs under another declaration is restarted.

    Raises:
        StateError: The declaration is malformed.
    """
    data = spec.to_dict()
    ServiceSpec.from_dict(data)
    text = json.dumps(data, indent=1, sort_keys=True)
    file = spec_file(state, spec.name)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        write_atomically(file, text.encode())
    file.with_suffix(".json.bad").unlink(missing_ok=True)


def withdraw(state: Path, name: str) -> None:
    """Say that a service should no longer run; the supervisor then stops it."""
    file = spec_file(state, name)
    file.with_suffix(".json.bad").unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def declared(state: Path) -> dict[str, ServiceSpec]:
    """All readable declarations by name; unreadable ones are the supervisor's to report."""
    found = {}
    for file in sorted((state / "services").glob("*.json")):
        try:
            spec, _ = read_spec(file)
        except (StateError, FileNotFoundError):  # a file withdrawn meanwhile
            continue
        found[spec.name] = spec
    return found


def read_spec(file: Path) -> tuple[ServiceSpec, str]:
    """A declaration and its digest.

    Raises:
        StateError: The file is damaged; names it.
        FileNotFoundError: It was withdrawn meanwhile.
    """
    raw = file.read_bytes()
    try:
        spec = ServiceSpec.from_dict(json.loads(raw))
    except ValueError as error:
        raise StateError(
            f"not JSON: {error}", where=str(file), fix="declare the service again"
        ) from error
    except StateError as error:
        raise StateError(error.what, where=str(file), fix="declare the service again") from error
    if spec.name != file.stem:
        raise StateError(
            f"declares the service {spec.name!r}", where=str(file), fix=f"name it {file.stem!r}"
        )
    return spec, hashlib.sha256(raw).hexdigest()[:16]


def read_status(file: Path) -> ServiceStatus:
    """What a status file says; a damaged one counts as ``stopped``."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return ServiceStatus(**data)
    except (OSError, ValueError, TypeError):
        return ServiceStatus(name=file.stem)


def status(state: Path) -> dict[str, ServiceStatus]:
    """How all services are, by name.

    What a killed supervisor left written is not believed: a service whose process does not
    live is ``stopped``.
    """
    names = {f.stem for f in (state / "services").glob("*.json")}
    names |= {f.stem for f in (state / "services" / "status").glob("*.json")}
    return {name: service_status(state, name) for name in sorted(names)}


def service_status(state: Path, name: str) -> ServiceStatus:
    """How one service is; see ``status``."""
    told = read_status(status_file(state, name))
    if told.state in ("starting", "ready"):
        alive = told.pid is not None and process_identity(told.pid) == told.identity
        if not alive:
            return ServiceStatus(**{**asdict(told), "state": "stopped", "pid": None})
    return told


def supervisor_pid(state: Path) -> int | None:
    """The supervisor that keeps ``state`` now; ``None`` if there is none."""
    try:
        with (state / "supervisor.lock").open("r", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read().strip() or 0)
    except FileNotFoundError:
        pass
    return None


def wait_ready(state: Path, name: str, timeout: float = 60.0) -> ServiceStatus:
    """Wait until a declared service is ready under its present declaration.

    Args:
        state: State folder.
        name: Service name.
        timeout: Seconds to wait at most.

    Raises:
        PlatformError: It is not declared, died three times, or takes too long; with the last
            15 lines of its log.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            digest = read_spec(spec_file(state, name))[1]
        except (StateError, FileNotFoundError) as error:
            told = service_status(state, name).error
            raise PlatformError(
                f"service {name} is not declared{f': {told}' if told else ''}",
                fix="declare it first",
            ) from error
        now = service_status(state, name)
        if now.declared == digest:
            if now.state == "ready":
                return now
            if now.restarts >= _GIVE_UP_AFTER:
                raise _not_ready(state, now, f"died {now.restarts} times ({now.last_exit})")
        if time.monotonic() > deadline:
            reason = f"is {now.state} and not ready after {timeout:g} s"
            if now.last_exit:
                reason += f" (last: {now.last_exit})"
            raise _not_ready(state, now, reason)
        time.sleep(_POLL_SECONDS)


def wait_stopped(state: Path, name: str, timeout: float = 30.0) -> None:
    """Wait until a withdrawn service's process is gone.

    Raises:
        PlatformError: It still runs.
    """
    deadline = time.monotonic() + timeout
    while True:
        now = service_status(state, name)
        gone = now.pid is None or process_identity(now.pid) != now.identity
        if gone and (supervisor_pid(state) is None or not status_file(state, name).exists()):
            return
        if time.monotonic() > deadline:
            raise PlatformError(
                f"service {name} (pid {now.pid}) is {now.state}, not gone after {timeout:g} s",
                where=now.log,
                fix="look into its log; end the process by hand if it hangs",
            )
        time.sleep(_POLL_SECONDS)


def last_lines(file: Path, count: int = 15) -> str:
    """The last lines of a log, at most 8 kB; a remark if there is none."""
    try:
        with file.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 8192))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-count:]) or "(empty log)"


def _not_ready(state: Path, now: ServiceStatus, reason: str) -> PlatformError:
    log = log_file(state, now.name)
    lines = last_lines(log)
    fix = "read the log lines above, remove their cause and start it again"
    if any(mark in lines.lower() for mark in _PORT_TAKEN):
        fix = "its port is taken: stop the process that listens there, or choose another port"
    if supervisor_pid(state) is None:
        fix = f"no supervisor runs for {state}: start one (setpoint up)"
    return PlatformError(f"service {now.name} {reason}:\n{lines}", where=str(log), fix=fix)
