"""The history of what was looked at: one record a window, the series that monitoring itself is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from setpoint.domain.outcome import Finding


@dataclass(frozen=True)
class WindowRecord:
    """What one look found.

    Attributes:
        end: Event time of the look, aware.
        version: Champion looked at.
        findings: All its findings, setpoints first.
    """

    end: datetime
    version: str
    findings: tuple[Finding, ...]

    def of(self, name: str, slice: str = "") -> Finding | None:
        """The finding of a name and a slice, if it was made."""
        return next((f for f in self.findings if (f.name, f.slice) == (name, slice)), None)

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        return {
            "end": self.end.isoformat(),
            "version": self.version,
            "findings": [f.to_dict() for f in self.findings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WindowRecord:
        """The record that ``to_dict`` wrote.

        Raises:
            DataError: A finding cannot be read.
        """
        found = tuple(Finding.from_dict(f) for f in data["findings"])
        return cls(datetime.fromisoformat(data["end"]), str(data["version"]), found)


def apart(
    records: Sequence[WindowRecord], before: datetime, distance: timedelta
) -> list[WindowRecord]:
    """The newest windows that end so far from each other, newest first.

    Args:
        records: Windows, oldest first.
        before: The first of them ends then or earlier.
        distance: Event time from one end to the next, at least.
    """
    found = []
    for record in reversed(records):
        if record.end <= before:
            found.append(record)
            before = record.end - distance
    return found
