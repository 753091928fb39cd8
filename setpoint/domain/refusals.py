"""Requests that the scoring service refused for their key, counted until the ledger tells of them.

A service only counts: an entry for each would let whoever sends requests fill the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

TELL_EVERY = timedelta(hours=1)
"""Event time between two entries, so that no client decides how fast the ledger grows."""
MOST_PROCESSES = 64
"""Processes whose last counters are kept; the oldest goes first."""


@dataclass(frozen=True, order=True)
class Denied:
    """A kind of refusal.

    Attributes:
        version: Model version that was asked.
        rule: ``key`` (none, or an unknown one) or ``role`` (a key without the permission).
        key: Name of the key, never the key; empty where it is not known.
        needs: The role that the request needs.
    """

    version: str
    rule: str
    key: str
    needs: str


Counts = Mapping[Denied, int]


@dataclass(frozen=True)
class Tally:
    """What was counted and is not in the ledger yet.

    Attributes:
        seen: Counters as last read, by process; a process is a version and when it started.
        waiting: What the ledger does not say yet.
        since: When the first of it was seen, ISO 8601; empty if nothing waits.
        told: Time of the last entry, ISO 8601; empty if there is none.
    """

    seen: Mapping[str, Counts] = field(default_factory=dict)
    waiting: Counts = field(default_factory=dict)
    since: str = ""
    told: str = ""

    def read(self, process: str, counts: Counts, now: datetime) -> Tally:
        """With the counters of a process, which counts from 0 when it starts.

        Args:
            process: Version and start, so that pods of one version are told apart.
            counts: Its counters.
            now: Event time.
        """
        before = self.seen.get(process, {})
        fresh = {kind: n - before.get(kind, 0) for kind, n in counts.items()}
        waiting = dict(self.waiting)
        for kind, n in fresh.items():
            if n > 0:
                waiting[kind] = waiting.get(kind, 0) + n
        others = {name: known for name, known in self.seen.items() if name != process}
        seen = dict(list({**others, process: counts}.items())[-MOST_PROCESSES:])
        since = self.since or (now.isoformat() if waiting else "")
        return replace(self, seen=seen, waiting=waiting, since=since)

    def due(self, now: datetime) -> bool:
        """Whether the ledger must be told."""
        young = self.told and now - datetime.fromisoformat(self.told) < TELL_EVERY
        return bool(self.waiting) and not young

    def evidence(self, now: datetime) -> dict[str, Any]:
        """What the ledger is told."""
        rows = [_row(kind, n) for kind, n in sorted(self.waiting.items())]
        total = sum(self.waiting.values())
        return {"since": self.since, "until": now.isoformat(), "total": total, "refused": rows}

    def emptied(self, now: datetime) -> Tally:
        """When the ledger was told."""
        return replace(self, waiting={}, since="", told=now.isoformat())

    def text(self) -> str:
        """As it is kept."""
        seen = {name: _rows(counts) for name, counts in self.seen.items()}
        kept = {"seen": seen, "waiting": _rows(self.waiting)}
        return json.dumps({**kept, "since": self.since, "told": self.told})


def tally_of(text: str | None) -> Tally:
    """The tally that was kept; an empty one if none was."""
    if text is None:
        return Tally()
    kept = json.loads(text)
    seen = {name: _counts(rows) for name, rows in kept["seen"].items()}
    return Tally(seen, _counts(kept["waiting"]), kept["since"], kept["told"])


def _row(kind: Denied, n: int) -> dict[str, Any]:
    told = {"version": kind.version, "rule": kind.rule, "key": kind.key, "needs": kind.needs}
    return {**told, "count": n}


def _rows(counts: Counts) -> list[dict[str, Any]]:
    return [_row(kind, n) for kind, n in counts.items()]


def _counts(rows: list[dict[str, Any]]) -> dict[Denied, int]:
    return {Denied(r["version"], r["rule"], r["key"], r["needs"]): r["count"] for r in rows}
