"""Disk space kept back for the store: on a full disk decisions go on until somebody makes room.

A file as large as the reserve lies beside the store. The moment the disk is full it is given up,
which is said loudly; once there is room again it is put back. Services of one store share it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from setpoint.serving.log import Level

FULL_BYTES = 1024 * 1024
"""Free space under which a store that cannot be written is taken to be out of space."""
LOOK_SECONDS = 5.0

Say = Callable[[Level, str, int], None]
"""How it is told: level, event, bytes free."""


class Reserve:
    """The space kept back beside one store.

    Args:
        store: The database.
        size: Bytes kept back; 0 for none.
        say: Told when it is given up, put back, or cannot be kept.
    """

    def __init__(self, store: Path, size: int, say: Say) -> None:
        self.file = store.resolve().with_name(store.name + ".reserve")
        self._size = size
        self._say = say
        self._ending = threading.Event()

    def start(self) -> None:
        """Keep it, and put it back whenever it is gone and there is room."""
        if self._size:
            threading.Thread(target=self._look_after, name="reserve", daemon=True).start()

    def stop(self) -> None:
        """End looking after it; it stays for the next service."""
        self._ending.set()

    def give_up(self) -> bool:
        """Make room if the disk is full.

        Returns:
            Whether it is worth trying again: there was a reserve, or there is room meanwhile.
        """
        if not self._size:
            return False
        free = self._free()
        if free >= FULL_BYTES:
            return False
        try:
            self.file.unlink()
        except FileNotFoundError:
            return self._free() > free  # another service of this store gave it up just now
        self._say("error", "disk_full_reserve_given_up", free)
        return True

    def keep(self) -> None:
        """Put it there if there is room for it and as much again.

        Raises:
            OSError: The file cannot be made.
        """
        if self.file.exists() or self._free() < 2 * self._size:
            return
        part = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        try:
            with part.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            part.rename(self.file)
        finally:
            part.unlink(missing_ok=True)

    def _look_after(self) -> None:
        told = False
        while True:
            try:
                self.keep()
            except OSError:  # the store itself will say what is wrong when it is written
                if not told:
                    self._say("warning", "reserve_cannot_be_kept", self._free())
                told = True
            if self._ending.wait(LOOK_SECONDS):
                return

    def _free(self) -> int:
        with suppress(OSError):
            found = os.statvfs(self.file.parent)
            return found.f_bavail * found.f_frsize
        return 0
