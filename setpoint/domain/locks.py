"""The locked environment: every package at one version, with the digests of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from setpoint.errors import DataError

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,.\s-]*\])?==([^\s;]+)\s*(?:;\s*(.+))?$")
_HASH = re.compile(r"^--hash=sha256:([0-9a-f]{64})$")


@dataclass(frozen=True)
class Locked:
    """One package of a lock.

    Attributes:
        name: As PyPI normalises it: lower case, runs of ``-_.`` as one ``-`` (PEP 503).
        version: The only version allowed.
        hashes: SHA-256 of the files that may be installed, hexadecimal; one of them is.
        marker: Environment in which it is installed (PEP 508); empty for every one.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    marker: str = ""


def parse_lock(text: str, where: str) -> tuple[Locked, ...]:
    """Read a lock as ``uv pip compile --generate-hashes`` writes it.

    Args:
        text: Its content.
        where: Its name, for errors.

    Raises:
        DataError: It is empty, or a line is no package at one version with hashes.
    """
    found = tuple(_entry(line, where) for line in _lines(text))
    if not found:
        raise DataError("it locks nothing", where=where, fix="make it with: make lock")
    return found


def normal(name: str) -> str:
    """A package's name as PyPI normalises it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(text: str) -> Iterator[str]:
    """Logical lines: comments and blank lines left out, continued ones joined."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        kept = re.sub(r"(^|\s)#.*", "", line).strip()
        if kept:
            yield kept


def _entry(line: str, where: str) -> Locked:
    pin, *flags = re.split(r"\s+(?=--)", line)
    read = _PIN.match(pin.strip())
    hashes = [_HASH.match(flag.strip()) for flag in flags]
    if read is None or not hashes or None in hashes:
        raise DataError(
            f"{line[:80]!r} is no package at one version with SHA-256 hashes",
            where=where,
            fix="make it with: make lock",
        )
    digests = tuple(one[1] for one in hashes if one is not None)
    return Locked(normal(read[1]), read[2], digests, (read[3] or "").strip())
