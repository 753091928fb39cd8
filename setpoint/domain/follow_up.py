"""After a heal: when to train again on what the change has brought since.

A model that healed a change was trained on the few rows that the change had by then. What it does
not know yet shows in no alarm, for it is better than what was before it. So it is trained again
each time the rows since the change have grown by ``GROWTH``, a few times: the gain of more rows
falls about as the root of their number, so waiting in proportion spends few trainings on little.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

GROWTH = 1.25
"""Rows since the change, over those that the last training had."""
PREFIX = "follow-up of "


def grown(since: datetime, now: datetime, ripe: datetime) -> datetime:
    """When the rows with complete labels since a change will have grown by ``GROWTH``.

    Args:
        since: When the change began.
        now: Event time.
        ripe: Event time up to which labels are complete now.
    """
    waits = max(since - ripe, timedelta(0))  # until the first of them has its label
    return now + waits + (GROWTH - 1) * max(ripe - since, timedelta(0))


@dataclass(frozen=True)
class FollowUp:
    """A training that is to come.

    Attributes:
        incident: Id of the incident whose heal it follows.
        since: Event time from which on its candidate is judged: when the change began.
        due: Event time from which on it may be trained.
        left: How many are to come, this one included, >= 1.
    """

    incident: str
    since: datetime
    due: datetime
    left: int

    @property
    def cause(self) -> str:
        """As a delivery names its cause."""
        return PREFIX + self.incident

    @classmethod
    def after(
        cls, incident: str, since: datetime, now: datetime, ripe: datetime, left: int
    ) -> FollowUp | None:
        """What follows a training; ``None`` where nothing is left.

        Args:
            incident: Id of the incident.
            since: When the change began.
            now: Event time of the training.
            ripe: Event time up to which its labels were complete.
            left: How many may follow.
        """
        if left < 1:
            return None
        return cls(incident, since, grown(since, now, ripe), left)

    def to_json(self) -> str:
        """As text."""
        told = asdict(self) | {"since": self.since.isoformat(), "due": self.due.isoformat()}
        return json.dumps(told)

    @classmethod
    def from_json(cls, text: str) -> FollowUp:
        """What ``to_json`` wrote."""
        told = json.loads(text)
        since, due = (datetime.fromisoformat(told[name]) for name in ("since", "due"))
        return cls(told["incident"], since, due, told["left"])
