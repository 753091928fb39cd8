"""Processes and ports of this machine: who is who, who is alive, which port is free."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from setpoint.errors import PlatformError

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
# Below the range from which Linux and macOS take ports of outgoing connections: such a
# connection could sit on a service's port while the service restarts.
_FIRST_PORT, _PORTS = 20_000, 10_000
_port_offsets = itertools.count(os.getpid() * 37)


def process_identity(pid: int) -> str | None:
    """What tells a process from a later one with the same pid; ``None`` if it does not live.

    Args:
        pid: Process id, > 0.

    Returns:
        Boot id and start tick on Linux, the start time by ``ps`` elsewhere.
    """
    if (_PROC / "self" / "stat").exists():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return None if len(listed) < 2 or listed[0].startswith("Z") else listed[1].strip()


def pids_with_environment(entry: str) -> list[int]:
    """Living processes that have ``entry`` (``NAME=value``) in their environment.

    Only Linux can tell; elsewhere the list is empty.
    """
    found = []
    wanted = entry.encode()
    for folder in _PROC.glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # it ended, or belongs to another user
    return [pid for pid in found if pid != os.getpid() and process_identity(pid)]


def signal_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a process group; a group that is gone is no error."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS: PermissionError for zombies
        return


def end_processes(pids: Iterable[int], grace_seconds: float = 2.0) -> None:
    """End processes that are not our children: SIGTERM, then SIGKILL, and wait.

    Args:
        pids: Process ids, checked by the caller to be the right ones.
        grace_seconds: How long SIGTERM may take.

    Raises:
        PlatformError: One lives on after SIGKILL.
    """
    alive = {pid: mark for pid in pids if (mark := process_identity(pid))}
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        for pid in alive:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + seconds
        while alive and time.monotonic() < deadline:
            alive = {pid: mark for pid, mark in alive.items() if process_identity(pid) == mark}
            time.sleep(0.02)
    if alive:
        raise PlatformError(
            f"processes {sorted(alive)} left over from an earlier run do not end",
            fix="end them by hand (kill -9) and start again",
        )


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before its program so that it is killed when its parent dies.

    Returns:
        A function for ``preexec_fn``; ``None`` where the system has no such thing. Only for
        parents without threads.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return before_exec


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = "127.0.0.1", avoid: Iterable[int] = ()) -> int:
    """A port nobody listens on, 20000 to 29999, another one at each call.

    Args:
        host: Address to listen on.
        avoid: Ports promised to services that may not run yet.

    Raises:
        PlatformError: There is none.
    """
    taken = set(avoid)
    for _ in range(_PORTS):
        port = _FIRST_PORT + next(_port_offsets) % _PORTS
        if port not in taken and port_is_free(port, host):
            return port
    raise PlatformError(
        f"no free port from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1} on {host}",
        fix="stop services that are no longer needed (setpoint status)",
    )


def require_free_port(
    port: int,
    what: str,
    host: str = "127.0.0.1",
    fix: str = "stop that process or choose another port",
) -> None:
    """Refuse a port that somebody listens on.

    Args:
        port: TCP port.
        what: What wants it, for the message, e.g. ``gateway``.
        host: Address to listen on.
        fix: What to do about it, for the message.

    Raises:
        PlatformError: It is taken; names the process where the system tells.
    """
    if port_is_free(port, host):
        return
    owner = _listener(port)
    raise PlatformError(
        f"port {port} is taken{f' by {owner}' if owner else ''}",
        where=f"{what} on {host}",
        fix=fix,
    )


def _listener(port: int) -> str:
    """``pid N (command)`` of who listens on ``port``, as far as Linux lets us see."""
    try:
        rows = [line.split() for line in (_PROC / "net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return ""
    inodes = {row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    for folder in _PROC.glob("[0-9]*"):
        try:
            links = {os.readlink(link) for link in (folder / "fd").iterdir()}
            if links & {f"socket:[{inode}]" for inode in inodes}:
                return f"pid {folder.name} ({(folder / 'comm').read_text().strip()})"
        except OSError:
            continue  # it ended, or belongs to another user
    return ""
