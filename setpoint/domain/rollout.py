"""The release of a challenger, as a state machine that a flow walks.

A strategy is a plan: the steps that the traffic goes through, each at a share for the challenger.

========== ====================================================================================
canary     shadow → canary at each of ``steps``, rising to 100
blue_green shadow, if asked for → canary 100: switched at once, the old one standing by
shadow     shadow, with a sample that decides → canary 100
ab         shadow → canary at the ``steps`` below the share → ab at the share → canary 100
bandit     shadow → canary at the ``steps`` below the share → bandit from the share on → canary 100
========== ====================================================================================

=========== ============================== ====================================================
from        when                           to
=========== ============================== ====================================================
pending     passed                         the plan's first step; promoted where nothing serves
any step    passed                         the next step; after the last, promoted
any step    inconclusive                   stays; a bandit may move its share
any step    failed, error                  rolled back
any step    inconclusive for too long      rolled back, or held where the plan asks a person
held        a person promotes              the step after the one it was held at
held        a person rolls back            rolled back
=========== ============================== ====================================================

While it is held the champion has all traffic. Every move is written before it is acted on, so a
killed release is resumed at the step it was in.

A version that served before, or the fallback rule, takes over in one switch: its plan has no step,
so it is promoted once it is ready. A drill is the reverse: a former version in one small step that
is rolled back whatever it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from setpoint.domain.findings import Outcome
from setpoint.errors import ReleaseError

Strategy = Literal["canary", "blue_green", "shadow", "ab", "bandit"]


class Stage(StrEnum):
    """Where a release is."""

    PENDING = "pending"
    SHADOW = "shadow"
    CANARY = "canary"
    AB = "ab"
    BANDIT = "bandit"
    HELD = "held"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


EXPERIMENTS = (Stage.AB, Stage.BANDIT)
"""Steps that are decided by outcomes, not by how the service behaves alone."""


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    Attributes:
        stage: Shadow, canary, ab or bandit.
        percent: Share of the traffic that the challenger answers, 0 to 100; a bandit's first.
    """

    stage: Stage
    percent: int

    @property
    def label(self) -> str:
        """For people: ``canary 25 %``."""
        return str(self.stage) if self.stage == Stage.SHADOW else f"{self.stage} {self.percent} %"


@dataclass(frozen=True)
class Period:
    """A time during which an experiment's shares stood still.

    Attributes:
        since: Event time at which it began, UTC.
        percent: Share of the traffic that the challenger answered.
    """

    since: datetime
    percent: int


def plan(
    strategy: Strategy, *, shadowing: bool, steps: Sequence[int] = (100,), share: int = 50
) -> tuple[Step, ...]:
    """The steps of a strategy.

    Args:
        strategy: Which one.
        shadowing: Whether mirrored traffic comes first; always so for ``shadow``.
        steps: Percents of a canary, rising, the last 100.
        share: Percent at which an experiment begins.
    """
    ramp = tuple(Step(Stage.CANARY, percent) for percent in steps)
    below = tuple(step for step in ramp if step.percent < share)
    whole = (Step(Stage.CANARY, 100),)
    walked = {
        "canary": ramp,
        "blue_green": whole,
        "shadow": whole,
        "ab": (*below, Step(Stage.AB, share), *whole),
        "bandit": (*below, Step(Stage.BANDIT, share), *whole),
    }[strategy]
    first = (Step(Stage.SHADOW, 0),) if shadowing or strategy == "shadow" else ()
    return (*first, *walked)


@dataclass(frozen=True)
class Rollout:
    """A release in progress.

    Attributes:
        challenger: Version that is released.
        champion: Version in service; ``None`` for the first release.
        plan: The steps it goes through.
        stage: Where it is.
        step: Index into ``plan`` from the first step on.
        periods: Of the experiment it is in, oldest first; empty outside one.
        reason: Why it was rolled back, or is held.
        cause: What it answers: an incident's id, ``first``, ``manual`` ...
        run: Id of the run that walks it.
        attempts: Runs that have walked it since it last came on; more than one if one was killed.
        settled: Whether production, registry and ledger are where it ended.
        back: Whether it takes over in one switch: a version that served before, or the rule.
        rule: Whether it is the fallback rule.
        drill: Whether it is a rehearsal of a roll-back, never promoted.
    """

    challenger: str
    champion: str | None
    plan: tuple[Step, ...]
    stage: Stage = Stage.PENDING
    step: int = 0
    periods: tuple[Period, ...] = ()
    reason: str = ""
    cause: str = ""
    run: str = ""
    attempts: int = 1
    settled: bool = False
    back: bool = False
    rule: bool = False
    drill: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.stage in (Stage.PROMOTED, Stage.ROLLED_BACK)

    @property
    def walking(self) -> bool:
        """Whether it goes on without a person."""
        return not self.ended and self.stage != Stage.HELD

    @property
    def entry(self) -> str:
        """Kind of the ledger entry that ends it."""
        if self.stage != Stage.PROMOTED:
            return "rolled_back"
        if self.rule:
            return "fell_back"
        return "roll_back" if self.back else "promoted"

    @property
    def percent(self) -> int:
        """Share of the traffic that the challenger answers now, percent."""
        if self.stage == Stage.PROMOTED:
            return 100
        if self.stage in EXPERIMENTS and self.periods:
            return self.periods[-1].percent
        inside = self.stage in (Stage.CANARY, *EXPERIMENTS)
        return self.plan[self.step].percent if inside else 0

    @property
    def label(self) -> str:
        """The stage for people: ``canary 25 %``."""
        inside = self.stage in (Stage.CANARY, *EXPERIMENTS)
        return Step(self.stage, self.percent).label if inside else str(self.stage)

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
            ReleaseError: The release has ended, or waits for a person.
        """
        self._require(self.walking)
        if outcome == Outcome.INCONCLUSIVE:
            return self
        if outcome != Outcome.PASSED:
            return self.roll_back(reason)
        if self.champion is None and not self.drill:
            return replace(self, stage=Stage.PROMOTED)
        return self._enter(0 if self.stage == Stage.PENDING else self.step + 1)

    def _enter(self, step: int) -> Rollout:
        if step >= len(self.plan) and self.drill:
            return self.roll_back("the drill is over")
        if step >= len(self.plan):
            return replace(self, stage=Stage.PROMOTED, periods=(), reason="")
        stage = self.plan[step].stage
        return replace(self, stage=stage, step=step, periods=(), reason="", attempts=1)

    def began(self, now: datetime) -> Rollout:
        """The same; an experiment that was not begun before begins its first period now."""
        if self.stage not in EXPERIMENTS or self.periods:
            return self
        return replace(self, periods=(Period(now, self.plan[self.step].percent),))

    def move_share(self, percent: int, now: datetime) -> Rollout:
        """A bandit with another share from now on; the same where it is the share it has.

        Raises:
            ReleaseError: It is in no bandit.
        """
        self._require(self.stage == Stage.BANDIT)
        if percent == self.percent:
            return self
        return replace(self, periods=(*self.periods, Period(now, percent)), attempts=1)

    def out_of_time(self, reason: str, *, ask: bool) -> Rollout:
        """What follows when a step stays inconclusive for too long.

        Args:
            reason: What could not be told.
            ask: Whether the plan asks a person instead of rolling back.

        Raises:
            ReleaseError: The release has ended, or waits for a person.
        """
        self._require(self.walking)
        if ask and self.stage != Stage.PENDING and not self.drill:
            return replace(self, stage=Stage.HELD, reason=reason)
        return self.roll_back(reason)

    def answered(self, *, promote: bool, reason: str) -> Rollout:
        """What a person said to a release that was held.

        Raises:
            ReleaseError: It is not held.
        """
        self._require(self.stage == Stage.HELD)
        return self._enter(self.step + 1) if promote else self.roll_back(reason)

    def roll_back(self, reason: str) -> Rollout:
        """All traffic back to the champion.

        Raises:
            ReleaseError: The release has ended.
        """
        self._require(not self.ended)
        return replace(self, stage=Stage.ROLLED_BACK, reason=reason, periods=())

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        content = asdict(self)
        for period in content["periods"]:
            period["since"] = period["since"].isoformat()
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Rollout:
        """The release that ``to_dict`` wrote."""
        plan = tuple(Step(Stage(one["stage"]), one["percent"]) for one in content["plan"])
        periods = tuple(
            Period(datetime.fromisoformat(one["since"]), one["percent"])
            for one in content["periods"]
        )
        kept = {**content, "plan": plan, "periods": periods, "stage": Stage(content["stage"])}
        return cls(**kept)

    def taken_over(self, run: str) -> Rollout:
        """The same release, walked on by another run."""
        return replace(self, run=run, attempts=self.attempts + 1)

    def _require(self, fits: bool) -> None:
        if fits:
            return
        state = "has ended" if self.ended else "is at another stage"
        raise ReleaseError(
            f"the release of {self.challenger} {state} ({self.label})",
            where="rollout",
            fix="start another release" if self.ended else "look at it with setpoint status",
        )


def served_before(promoted: Sequence[Rollout], champion: str) -> list[str]:
    """Versions that served before the champion, newest first.

    One that a former version or the rule took over from is left out, unless it was promoted again
    since; so is the rule.

    Args:
        promoted: All releases that were promoted, oldest first.
        champion: What is in service.
    """
    found: list[str] = []
    given_up = {champion}
    for rollout in reversed(promoted):
        if rollout.back and rollout.champion is not None and rollout.champion not in found:
            given_up.add(rollout.champion)
        if not rollout.rule and rollout.challenger not in (*given_up, *found):
            found.append(rollout.challenger)
    return found
