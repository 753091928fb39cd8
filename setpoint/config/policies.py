"""What the loop holds to: setpoints, training, packaging, release, watching, response."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from setpoint.config.fields import (
    Duration,
    ErrorRate,
    Fault,
    Number,
    PositiveDuration,
    Section,
    Share,
    Whole,
    refuse,
)
from setpoint.domain.features import duration_label
from setpoint.domain.incidents import ALWAYS_ASK, Cause, Policy

_MONEY = "cost_per_decision"


class Setpoint(Section):
    """One thing the model must hold."""

    metric: Literal["recall", "precision", "roc_auc", "alert_rate", "cost_per_decision"]
    floor: Number | None = None
    ceiling: Number | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.floor is None) == (self.ceiling is None):
            raise ValueError("a setpoint has either a floor or a ceiling")
        sides = {"floor": self.floor, "ceiling": self.ceiling}
        rule = f"{self.metric} is a share: 0 to 1"
        shares = {} if self.metric == _MONEY else {n: v for n, v in sides.items() if v is not None}
        refuse("Setpoint", [Fault((n,), v, rule) for n, v in shares.items() if not 0 <= v <= 1])
        return self


class Poisoning(Section):
    """How new data are held against trusted ones before they train."""

    max_flipped: Share = Field(0.02, description="Share of flipped labels of a source.")
    error_rate: ErrorRate = Field(
        0.01, description="Chance that sound sources stop a training, all together."
    )
    doubt: Literal["train", "stop"] = Field(
        "train", description="What follows where only a person can tell poison from a change."
    )
    trust: tuple[str, ...] = Field((), description="Sources that a person has looked at.")
    leave_out: tuple[str, ...] = Field((), description="Sources that neither train nor judge.")


class Train(Section):
    """How a model is trained."""

    history: PositiveDuration | None = Field(None, description="How far back; none: everything.")
    holdout: Annotated[Number, Field(ge=0.05, le=0.5)] = Field(
        0.3, description="Share of entities that never train a model and judge all of them."
    )
    judge_recent: Annotated[Share, Field(gt=0)] = Field(
        0.3, description="Latest share of the event time on which models are judged."
    )
    every: PositiveDuration | None = Field(
        None, description="Wall time between trainings, whatever the watch says; none: never."
    )
    labelled_batch: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="Train again once so many labels have come since; none: never."
    )
    trials: Annotated[Whole, Field(ge=1, le=500)] = Field(6, description="Optuna trials.")
    max_iter: Annotated[Whole, Field(ge=10, le=2000)] = Field(120, description="Trees, at most.")
    seed: Whole = 0
    adversarial: Share = Field(
        0.0, description="Weight of disguised positives against the positives that they are of."
    )
    poisoning: Poisoning = Poisoning()


class Experiment(Section):
    """How an A/B test or a bandit is decided, by what decisions cost once their truth is known."""

    share: Annotated[Whole, Field(ge=1, le=99)] = Field(
        50, description="Percent of the traffic that the challenger gets; a bandit's first share."
    )
    floor: Annotated[Whole, Field(ge=1, le=50)] = Field(
        10, description="Percent that a bandit leaves to either version."
    )
    every: PositiveDuration = Field(
        timedelta(hours=1), description="Event time between looks, and between a bandit's moves."
    )
    min_outcomes: Annotated[Whole, Field(ge=30)] = Field(
        500, description="Decisions of each version whose truth is known."
    )
    planned: Annotated[Whole, Field(ge=100)] = Field(
        10_000, description="Decisions of both at which the test is sharpest; it is valid at any."
    )
    min_gain: Annotated[Share, Field(gt=0)] = Field(
        0.05, description="Saving worth a change, share of the champion's cost a decision."
    )
    longest: PositiveDuration = Field(
        timedelta(days=60), description="Event time after which there was not enough data."
    )


class Release(Section):
    """How a challenger takes over."""

    strategy: Literal["canary", "blue_green", "shadow", "ab", "bandit"] = Field(
        "canary",
        description="By steps; all at once with the old version kept warm; after a shadow alone; "
        "by the outcomes of an even split; by outcomes that move the split.",
    )
    shadow_requests: Annotated[Whole, Field(ge=0)] = Field(
        200, description="Mirrored requests, decided by both, before anyone is answered."
    )
    steps: tuple[Annotated[Whole, Field(ge=1, le=100)], ...] = (5, 25, 50, 100)
    step_requests: Annotated[Whole, Field(ge=1)] = Field(
        100, description="Requests the challenger answers at each step before it is judged."
    )
    warm: Duration = Field(
        timedelta(0),
        description="Wall time at 100 % during which the old version stands by to take over again.",
    )
    max_error_share: Share = Field(0.01, description="Failed answers allowed.")
    max_slow_share: Share = Field(0.01, description="Answers slower than 50 ms allowed.")
    max_alert_ratio: Annotated[Number, Field(gt=1)] = Field(
        3.0,
        description="Adverse actions over what its training data showed, or that over them.",
    )
    max_score_shift: Share = Field(
        0.2, description="Mean distance of its scores from the champion's."
    )
    max_action_shift: Share = Field(
        0.3, description="Distance of its share of adverse actions from the champion's."
    )
    max_flips: Share = Field(
        0.3, description="Mirrored requests on which the action may differ, in any segment."
    )
    segments: tuple[str, ...] = Field(
        (), description="Columns by which a shadow is told apart beside the protected ones."
    )
    experiment: Experiment = Experiment()
    error_rate: ErrorRate = 0.01
    step_timeout: PositiveDuration = Field(
        timedelta(minutes=10), description="Wall time after which an inconclusive step is given up."
    )
    inconclusive: Literal["roll_back", "ask"] = Field(
        "roll_back", description="What follows then, and after an experiment's longest time."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)) or self.steps[-1:] != (100,):
            rule = "steps rise and end with 100, e.g. [5, 25, 50, 100]"
            refuse("Release", [Fault(("steps",), list(self.steps), rule)])
        if self.strategy == "shadow" and self.shadow_requests == 0:
            rule = "strategy shadow is decided by mirrored requests: at least 1"
            refuse("Release", [Fault(("shadow_requests",), 0, rule)])
        return self


class Package(Section):
    """What is built of a version beside its bundle."""

    image: Literal["auto", "never", "require"] = Field(
        "auto", description="Container image: where a Docker engine answers, never, or always."
    )
    base_image: str | None = Field(None, description="Base of the image; none: the default.")
    max_p99_ms: Annotated[Number, Field(gt=0)] = Field(
        50.0, description="Milliseconds that 99 of 100 answers of the image must keep to."
    )
    max_bundle_mb: Annotated[Number, Field(gt=0)] = Field(
        50.0, description="Megabytes that the bundle of a version may have on disk."
    )
    latency_requests: Annotated[Whole, Field(ge=300, le=100_000)] = Field(
        1000, description="Recent events whose answers are timed, one at a time."
    )
    repository: str | None = Field(
        None, description="Where the image is pushed to, without a tag; none: it stays here."
    )


class Bands(Section):
    """PSI bands: below ``watch`` safe, from ``act`` on an incident."""

    watch: Annotated[Number, Field(gt=0)] = 0.1
    act: Annotated[Number, Field(gt=0)] = 0.25

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.watch >= self.act:
            refuse("Bands", [Fault(("watch",), self.watch, f"must be below act, {self.act:g}")])
        return self


class Watch(Section):
    """What is looked at, and how often."""

    every: PositiveDuration = Field(timedelta(days=1), description="Event time between looks.")
    window: PositiveDuration = Field(timedelta(days=7), description="Event time of a window.")
    schedule: PositiveDuration = Field(
        timedelta(hours=1), description="Wall time between runs of the watching flow."
    )
    psi: Bands = Bands()
    error_rate: ErrorRate = Field(0.001, description="False alarms a window, all findings.")
    min_positives: Annotated[Whole, Field(ge=5)] = Field(
        30, description="Positives a window needs before recall is judged."
    )
    skew_sample: Annotated[Whole, Field(ge=0, le=100_000)] = Field(
        200, description="Decisions of a window whose features are recomputed; 0: none."
    )
    max_skew: Share = Field(
        0.01,
        description="Share of their values that may come out otherwise: those of events that were "
        "served in another order than they happened do.",
    )
    label_age: Duration | None = Field(
        None, description="Age from which decisions are judged; none: the target's delay."
    )

    @model_validator(mode="after")
    def _seen_whole(self) -> Self:
        if self.window < self.every:
            window, every = (
                duration_label(int(d.total_seconds())) for d in (self.window, self.every)
            )
            rule = f"must be every, {every}, or longer: what lies between is never looked at"
            refuse("Watch", [Fault(("window",), window, rule)])
        return self


Action = Literal["retrain", "roll_back", "fall_back", "watch", "watch_closer", "ask", "nothing"]


class Respond(Section):
    """What an incident leads to, and how often."""

    performance: Action = Field(
        "retrain", description="Setpoints or money, by labels that have arrived."
    )
    drift: Action = Field("watch", description="Drift that does not hurt the setpoints.")
    estimate: Action = Field("watch", description="Performance as scores alone estimate it.")
    fairness: Action = "ask"
    coverage: Action = Field("nothing", description="Nothing is known of what the model lets pass.")
    unusual: Action = Field("watch", description="A figure that is watched left its usual range.")
    retraining_cost: Annotated[Number, Field(ge=0)] = Field(
        0.0, description="Money that a retraining and its release cost."
    )
    horizon: PositiveDuration = Field(
        timedelta(days=30), description="Event time in which a retraining must earn its cost."
    )
    least_loss: Share = Field(
        0.1, description="Loss worth a retraining, share of what decisions cost in training."
    )
    follow_ups: Annotated[Whole, Field(ge=0, le=10)] = Field(
        5, description="Trainings after a heal, as the rows since the change grow."
    )
    cooldown: Duration = Field(timedelta(days=7), description="Event time between responses.")
    attempts: Annotated[Whole, Field(ge=1, le=20)] = Field(
        3, description="Retrainings for one incident before a person is asked."
    )
    retry_after: Duration = Field(
        timedelta(days=2), description="Event time before a refused retraining is tried again."
    )

    def policy(self) -> Policy:
        """What each cause leads to that does not always ask a person."""
        declared = {cause: getattr(self, cause) for cause in Cause if cause not in ALWAYS_ASK}
        return Policy(declared, self.cooldown)
