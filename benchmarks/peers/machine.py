"""What the machine does meanwhile: CPU of process trees, time stolen, the price of an fsync."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SYNCS = 50


def tree(roots: Iterable[int]) -> list[int]:
    """The living processes among ``roots`` and all that come from them, each once."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        fields = _fields(int(folder.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [root for root in roots if _fields(root)]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that living processes used since they began, user and system, all threads."""
    ticks = 0
    for pid in pids:
        fields = _fields(pid)
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of processes, MB; what they share counts for each."""
    return sum(int(f[21]) for f in map(_fields, pids) if f) * _PAGE / 1e6


@dataclass(frozen=True)
class Clock:
    """All CPU time of the machine since it was started, in ticks.

    Attributes:
        steal: Of it taken by other machines of the same host.
        busy: Of it used here.
        total: All of it.
    """

    steal: int
    busy: int
    total: int

    @classmethod
    def now(cls) -> Clock:
        """As it stands."""
        line = (_PROC / "stat").read_text().split("\n", 1)[0]
        user, nice, system, idle, wait, irq, soft, steal = map(int, line.split()[1:9])
        busy = user + nice + system + irq + soft
        return cls(steal, busy, busy + idle + wait + steal)

    def shares(self, since: Clock) -> dict[str, float]:
        """Shares of steal and work between ``since`` and this, 0 to 1."""
        total = max(1, self.total - since.total)
        return {
            "steal_share": round((self.steal - since.steal) / total, 3),
            "busy_share": round((self.busy - since.busy) / total, 3),
        }

    def rest_share(self, since: Clock, known: float) -> float:
        """Share of the machine used since then by others than those known, 0 to 1.

        Args:
            since: An earlier reading.
            known: CPU seconds of the known ones.
        """
        rest = self.busy - since.busy - known * _TICKS
        return round(max(0.0, rest / max(1, self.total - since.total)), 3)


def describe(folder: Path, seconds: float = 1.0) -> dict[str, object]:
    """What the machine is and how busy it is before the run.

    Args:
        folder: On the disk that will hold the decision log.
        seconds: How long to watch it.
    """
    load, before = os.getloadavg()[0], Clock.now()
    time.sleep(seconds)
    return {
        "cores": os.cpu_count(),
        "load_1min": round(load, 2),
        **Clock.now().shares(before),
        "fsync_ms": round(_fsync_seconds(folder) * 1000, 2),
        "python": platform.python_version(),
    }


def _fsync_seconds(folder: Path) -> float:
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return float(np.median(took))


def _fields(pid: int) -> list[str]:
    """What ``/proc/PID/stat`` says after the name; nothing for one that does not live."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields
