"""The file of the seals: lines that are only ever added, in a folder outside of the database."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from setpoint.domain.seals import Seal
from setpoint.errors import StateError

NAME = "seals.jsonl"


class SealFile:
    """The seals of one project.

    Args:
        folder: Where ``seals.jsonl`` is; made at first need.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def lines(self) -> list[bytes]:
        """All lines, oldest first, a half-written one at the end included.

        Raises:
            StateError: The file cannot be read.
        """
        try:
            return read_lines(self.path)
        except StateError:
            if not self.path.exists():
                return []
            raise

    def add(self, make: Callable[[Sequence[bytes]], Seal | None]) -> Seal | None:
        """Add the seal that ``make`` makes of the lines so far, one writer at a time.

        Raises:
            StateError: The file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Never opened to be overwritten: the folder may be one that only lets files grow.
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            with os.fdopen(descriptor, "rb+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                data = self.path.read_bytes()
                seal = make(_lines(data))
                if seal is not None:
                    torn = data and not data.endswith(b"\n")
                    file.write((b"\n" if torn else b"") + seal.line() + b"\n")
                    os.fsync(file.fileno())
                return seal
        except OSError as err:
            raise _unusable(self.path, err) from err


def read_lines(path: Path) -> list[bytes]:
    """All lines of a file of seals, oldest first, a half-written one at the end included.

    Raises:
        StateError: The file cannot be read.
    """
    try:
        return _lines(path.read_bytes())
    except OSError as err:
        raise _unusable(path, err) from err


def _lines(data: bytes) -> list[bytes]:
    return data.removesuffix(b"\n").split(b"\n") if data else []


def _unusable(path: Path, err: OSError) -> StateError:
    return StateError(
        f"the seals cannot be used: {err.strerror}",
        where=str(path),
        fix="let this user read and append there, or name another folder with SETPOINT_SEALS",
    )
