"""Who is to be told of an incident now: levels that it climbs while nobody looks after it.

An incident begins at level 0 and climbs one level each ``Rule.after`` of wall time, until somebody
acknowledges it, it is snoozed, or it is resolved. Wall time, because it is the patience with a
person who does not answer; in event time a replay would climb in seconds, and a stream that stands
still, which is when a person is needed most, never. A snooze ends at an event time, because it
waits for what the next windows show.

A channel is told of an incident at each *turn* (opened; a person is needed; the severity is worse;
a snooze is over), at each level that names it, and of the end if it is of level 0 or was told
before. What it took last is its ``Mark``; only what is newer is told, so that after an outage it
gets the present state and not the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from setpoint.domain.incidents import Attention, Incident, Status
from setpoint.errors import StateError

What = Literal["opened", "needs_person", "resolved"]


@dataclass(frozen=True)
class Rule:
    """Who is told of what.

    Attributes:
        levels: Names of the channels of each level, lowest first; none: nobody is told.
        after: Wall time at a level without acknowledgement before the next, above 0.
        on: What is told.
    """

    levels: tuple[tuple[str, ...], ...] = ()
    after: timedelta = timedelta(hours=4)
    on: frozenset[What] = frozenset({"opened", "needs_person", "resolved"})


@dataclass(frozen=True, order=True)
class Mark:
    """What a channel took last of an incident; the greater is the newer.

    Attributes:
        over: Whether it was the end.
        turn: Turn of the incident, ``Attention.turn``.
        level: The highest level that named the channel in that turn.
    """

    over: bool
    turn: int
    level: int


@dataclass(frozen=True)
class Notice:
    """One thing to be told to one channel.

    Attributes:
        incident: As it is now.
        channel: Name of the channel.
        what: What it is told of.
        mark: What the channel has taken once it was told.
    """

    incident: Incident
    channel: str
    what: What
    mark: Mark


def attend(incident: Incident, rule: Rule, now: datetime, wall: datetime) -> Attention:
    """Who looks after an incident from now on: a snooze that is over, a level that is reached.

    One level at a time and each for the whole of ``rule.after``, also where nobody looked for days:
    a level whose people could not be told has not been waited for.

    Args:
        incident: The incident as it is.
        rule: Who is told of what.
        now: Event time.
        wall: Wall time.
    """
    attention = incident.attention
    if not incident.is_open or not rule.levels or snoozed(incident, now):
        return attention
    if attention.snoozed_until is not None:
        attention = attention.anew()
    if _what(replace(incident, attention=attention), rule) is None:
        return attention
    if attention.since is None:
        return replace(attention, since=wall)
    waited = wall - attention.since >= rule.after
    if waited and not attention.acknowledged_by and attention.level < len(rule.levels) - 1:
        return replace(attention, level=attention.level + 1, since=wall)
    return attention


def due(
    incident: Incident, told: Mapping[str, Mark], rule: Rule, now: datetime
) -> tuple[Notice, ...]:
    """What is to be told of an incident now, and to whom.

    Args:
        incident: The incident, attended to (``attend``).
        told: What each channel took of it last.
        rule: Who is told of what.
        now: Event time.

    Returns:
        At most one notice a channel, lowest level first.
    """
    what = _what(incident, rule)
    if what is None or snoozed(incident, now):
        return ()
    over, turn = not incident.is_open, incident.attention.turn
    # Somebody looks after it, or it is over: whom it did not reach in time is left in peace.
    top = 0 if over or incident.attention.acknowledged_by else incident.attention.level
    found: dict[str, Mark] = {}
    for level, names in enumerate(rule.levels):
        for name in names:
            if level <= top or (over and name in told):
                found[name] = Mark(over, turn, level)
    return tuple(
        Notice(incident, name, what, mark)
        for name, mark in found.items()
        if name not in told or mark > told[name]
    )


def acknowledge(incident: Incident, person: str, at: datetime) -> Attention:
    """Somebody looks after it: it climbs no further.

    Raises:
        StateError: It is over.
    """
    _check_open(incident, "acknowledged")
    return replace(incident.attention, acknowledged_by=person, acknowledged_at=at)


def snooze(incident: Incident, person: str, until: datetime) -> Attention:
    """It is silent until an event time, unless it gets worse.

    Raises:
        StateError: It is over.
    """
    _check_open(incident, "snoozed")
    return replace(incident.attention, snoozed_by=person, snoozed_until=until)


def _check_open(incident: Incident, word: str) -> None:
    if not incident.is_open:
        raise StateError(
            f"incident {incident.id} is resolved and cannot be {word}",
            where="incidents",
            fix="nothing: it is over, and nobody is told of it any more",
        )


def snoozed(incident: Incident, now: datetime) -> bool:
    """Whether it is silent at an event time; the end of an incident is told all the same."""
    until = incident.attention.snoozed_until
    return incident.is_open and until is not None and now < until


def _what(incident: Incident, rule: Rule) -> What | None:
    """What there is to be told of it; ``None`` where the rule does not ask for that."""
    asks = incident.status == Status.NEEDS_PERSON
    if not incident.is_open:
        return "resolved" if "resolved" in rule.on and _was_told(incident, rule) else None
    if asks and "needs_person" in rule.on:
        return "needs_person"
    first = incident.attention.turn == 0
    return "opened" if "opened" in rule.on and (first or not asks) else None


def _was_told(incident: Incident, rule: Rule) -> bool:
    """Whether the rule asked for anything before its end."""
    return (
        "opened" in rule.on or incident.attention.turn > 0 or incident.attention.since is not None
    )
