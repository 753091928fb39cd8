"""The release of a challenger, as a state machine that a flow walks.

``pending → shadow → canary(5) → canary(25) → canary(50) → canary(100) → promoted``, and from
each ``→ rolled_back``. The first release of a project, with no champion to compare with, goes
``pending → promoted``. Every move is written before it is acted on, so a killed release is
resumed at the step it was in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from setpoint.domain.findings import Outcome
from setpoint.errors import ReleaseError


class Stage(StrEnum):
    """Where a release is."""

    PENDING = "pending"
    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class Rollout:
    """A release in progress.

    Attributes:
        challenger: Version that is released.
        champion: Version in service; ``None`` for the first release.
        steps: Percent of the traffic at each canary step, rising, the last 100.
        shadowing: Whether a shadow stage comes first.
        stage: Where it is.
        step: Index into ``steps`` while in ``canary``.
        reason: Why it was rolled back.
        cause: What it answers: an incident's id, ``first``, ``manual`` ...
        run: Id of the run that walks it.
        attempts: Runs that have walked it; more than one if a run was killed.
        settled: Whether production, registry and ledger are where it ended.
    """

    challenger: str
    champion: str | None
    steps: tuple[int, ...]
    shadowing: bool
    stage: Stage = Stage.PENDING
    step: int = 0
    reason: str = ""
    cause: str = ""
    run: str = ""
    attempts: int = 1
    settled: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.stage in (Stage.PROMOTED, Stage.ROLLED_BACK)

    @property
    def percent(self) -> int:
        """Share of the traffic that the challenger answers now, percent."""
        if self.stage == Stage.PROMOTED:
            return 100
        return self.steps[self.step] if self.stage == Stage.CANARY else 0

    @property
    def label(self) -> str:
        """The stage for people: ``canary 25 %``."""
        return f"canary {self.percent} %" if self.stage == Stage.CANARY else str(self.stage)

    def weights(self) -> Mapping[str, int]:
        """Percent by version, champion first always: the order decides who is in the canary.

        Empty where a first release was rolled back: nothing is in service.
        """
        if self.champion is None:
            return {} if self.stage == Stage.ROLLED_BACK else {self.challenger: 100}
        return {self.champion: 100 - self.percent, self.challenger: self.percent}

    def advance(self, outcome: Outcome, reason: str = "") -> Rollout:
        """The next state after the present step was judged.

        Args:
            outcome: Only ``passed`` advances. ``inconclusive`` stays where it is. ``failed``
                and ``error`` roll back.
            reason: Why, for a roll-back.

        Raises:
            ReleaseError: The release has ended.
        """
        self._require_open()
        if outcome == Outcome.INCONCLUSIVE:
            return self
        if outcome != Outcome.PASSED:
            return self.roll_back(reason)
        if self.stage == Stage.PENDING and self.champion is None:
            return replace(self, stage=Stage.PROMOTED)
        if self.stage == Stage.PENDING and self.shadowing:
            return replace(self, stage=Stage.SHADOW)
        if self.stage in (Stage.PENDING, Stage.SHADOW):
            return replace(self, stage=Stage.CANARY, step=0)
        if self.step + 1 < len(self.steps):
            return replace(self, step=self.step + 1)
        return replace(self, stage=Stage.PROMOTED)

    def roll_back(self, reason: str) -> Rollout:
        """All traffic back to the champion.

        Raises:
            ReleaseError: The release has ended.
        """
        self._require_open()
        return replace(self, stage=Stage.ROLLED_BACK, reason=reason)

    def taken_over(self, run: str) -> Rollout:
        """The same release, walked on by another run."""
        return replace(self, run=run, attempts=self.attempts + 1)

    def _require_open(self) -> None:
        if self.ended:
            raise ReleaseError(
                f"the release of {self.challenger} has ended ({self.stage})",
                where="rollout",
                fix="start another release",
            )
