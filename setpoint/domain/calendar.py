"""Parts of a moment, for one event or a whole column alike."""

from __future__ import annotations

from typing import Any

from setpoint.domain.features import MICROSECONDS, CalendarPart


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
