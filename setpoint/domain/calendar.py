"""Moments as people write them, and parts of them, for one event or a whole column alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from setpoint.domain.features import MICROSECONDS, CalendarPart
from setpoint.errors import DataError


def parse_utc(text: str, where: str) -> datetime:
    """A time in ISO 8601, UTC where it names no zone.

    Args:
        text: E.g. ``2026-01-31`` or ``2026-01-31T12:00+01:00``.
        where: What it was given for, for the message.

    Raises:
        DataError: It is no time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise DataError(
            f"{text!r} is no time", where=where, fix="write it as 2026-01-31T12:00"
        ) from err
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def calendar_part(part: CalendarPart, micros: Any) -> Any:
    """A part of UTC time as ``setpoint.domain.features`` defines it.

    Args:
        part: Which one.
        micros: Microseconds since the epoch, an ``int`` or an int64 array.

    Returns:
        A whole number or truth value, or an array of them.
    """
    if part in ("hour", "night"):
        hour = micros // (3_600 * MICROSECONDS) % 24
        return hour if part == "hour" else hour <= 6
    # The epoch was a Thursday.
    weekday = (micros // (86_400 * MICROSECONDS) + 3) % 7
    return weekday if part == "weekday" else weekday >= 5
