"""Stops that people order: who stands in for a version that may not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from setpoint.domain.ledger import Entry
from setpoint.errors import StateError

STOPPED, RESUMED = "stopped", "resumed"
"""Kinds of the ledger entries about stops."""
ALL = "all"
"""Scope of a stop of every model."""


@dataclass(frozen=True)
class Stop:
    """One stop.

    Attributes:
        scope: A version, or ``all``.
        stand_in: Version that answers meanwhile.
        person: Who ordered it.
        note: Why, in the person's words.
        since: Event time, UTC.
    """

    scope: str
    stand_in: str
    person: str
    note: str
    since: datetime

    def evidence(self) -> dict[str, Any]:
        """What the ledger entry of the stop says; its time is that of the entry."""
        told = asdict(self)
        del told["since"]
        return told


def in_force(entries: Iterable[Entry], state: Callable[[Entry], str]) -> tuple[Stop, ...]:
    """The stops in force, oldest first.

    Args:
        entries: Of the kinds ``STOPPED`` and ``RESUMED``, oldest first.
        state: Of an entry: ``holds``, ``void`` or ``altered``. Only one that holds stops or ends
            anything.

    Raises:
        StateError: An entry of a stop was altered: who is to answer is not known.
    """
    stops: dict[str, Stop] = {}
    for entry in entries:
        found, told = state(entry), entry.evidence
        if entry.kind == STOPPED and found == "altered":
            raise StateError(
                f"ledger entry {entry.seq}, a stop, was altered or signed by nobody: who is to "
                "answer is not known",
                where="ledger",
                fix="run 'setpoint audit', and restore state.db from a backup",
            )
        if found != "holds":
            continue
        scope = str(told["scope"])
        stops.pop(scope, None)
        if entry.kind == STOPPED:
            stand_in, person, note = (str(told[name]) for name in ("stand_in", "person", "note"))
            stops[scope] = Stop(scope, stand_in, person, note, datetime.fromisoformat(entry.time))
    return tuple(stops.values())


def answers_for(version: str, stops: Sequence[Stop]) -> str:
    """The version that answers where the plan names ``version``.

    Args:
        version: A version of a traffic plan.
        stops: All in force; a stop of everything is stronger than that of a version. A version
            whose stand-ins lead back to it answers itself: no order makes such stops.
    """
    whole = [one.stand_in for one in stops if one.scope == ALL]
    if whole:
        return whole[-1]
    seen = {version}
    while True:
        found = [one.stand_in for one in stops if one.scope == version]
        if not found or found[-1] in seen:
            return version
        version = found[-1]
        seen.add(version)


def diverted(weights: Mapping[str, int], stops: Sequence[Stop]) -> dict[str, int]:
    """Percent by version, each under the name of who answers for it; in the same order."""
    found: dict[str, int] = {}
    for version, percent in weights.items():
        answering = answers_for(version, stops)
        found[answering] = found.get(answering, 0) + percent
    return found
