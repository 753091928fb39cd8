"""The locked packages: their bill of materials, and what is known against them, all offline."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import setpoint
from setpoint.adapters.docker_context import default_recipes
from setpoint.adapters.sbom import bill
from setpoint.domain.advisories import Weakness, parse_advisories, weaknesses
from setpoint.domain.locks import Locked, parse_lock
from setpoint.errors import DataError
from setpoint.workspace import Workspace

Part = Literal["environment", "image"]
"""The platform's environment, or the scoring image."""
PARTS: tuple[Part, ...] = get_args(Part)
BILLS = "sbom"
"""Folder of a version's record that has the bills."""
_LOCKS: dict[str, str] = {"environment": "runtime.txt", "image": "serving.txt"}
_NAMES = {"environment": "setpoint", "image": "setpoint-scoring"}


def lock_of(part: Part) -> Path:
    """The lock of a part."""
    return default_recipes() / "locks" / _LOCKS[part]


def packages_of(lock: Path) -> tuple[Locked, ...]:
    """The packages of a lock.

    Raises:
        DataError: It cannot be read, or is no lock.
    """
    return parse_lock(_read(lock), str(lock))


def bill_of(part: Part, lock: Path, now: datetime) -> str:
    """The bill of materials of a lock, CycloneDX as JSON.

    Raises:
        DataError: The lock cannot be read, or is none.
    """
    return bill(_NAMES[part], setpoint.__version__, _read(lock), packages_of(lock), now)


def keep_bills(workspace: Workspace, version: str, now: datetime) -> None:
    """Keep the bills of materials of both parts with a version's record.

    Raises:
        DataError: A lock cannot be read, or is none.
    """
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{part}.cdx.json" for part in PARTS]
        for part, file in zip(PARTS, files, strict=True):
            file.write_text(bill_of(part, lock_of(part), now), "utf-8")
        workspace.registry.attach(version, BILLS, files)


def known_weaknesses(
    advisories: Path, lock: Path, now: datetime, max_age: timedelta
) -> list[Weakness]:
    """What advisories say of the packages of a lock.

    Args:
        advisories: JSON list of OSV records.
        lock: The lock.
        now: The present, wall time, aware.
        max_age: How long ago the newest advisory may have been changed.

    Raises:
        DataError: It cannot be told: a file is missing, old or of another format.
    """
    where = str(advisories)
    records = parse_advisories(_read(advisories), where, now, max_age)
    return weaknesses(packages_of(lock), records, where)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(
            f"it cannot be read: {err}", where=str(file), fix="name a file that is there"
        ) from err
