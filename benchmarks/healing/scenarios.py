"""What changes, and what is known of it when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from setpoint.domain.world import DEMO, Drift, WorldConfig

WARM_UP, HISTORY, STREAM, DRIFT_AFTER = 37, 70, 40, 10
"""Days: before anything trains, so that features over 30 days that ended 7 days ago are
whole; of what the first model knows; of the stream; of the stream before the drift."""
BEGIN = WARM_UP + HISTORY
DRIFT_DAY = BEGIN + DRIFT_AFTER
TRAINED_DAYS = 60
"""Every policy trains on so many days of complete labels: those of ``HISTORY``, ten days old."""
FAULT_DAYS = 15
"""Days until a fault's owner has repaired it, whoever asked for it."""

WORLD = replace(
    DEMO,
    customers=1200,
    terminals=2400,
    days=BEGIN + STREAM,
    compromised_terminals_per_day=2 * 3 / 3,
    compromised_customers_per_day=2 * 3 / 3,
)
"""The demo's world with its rate of fraud, a third smaller."""


@dataclass(frozen=True)
class Scenario:
    """One way in which a world changes.

    Attributes:
        name: Its name.
        drift: The change.
        world: Settings of the world that differ.
        repaired: Days after the stream's begin on which broken data are repaired, and a person
            ends the incidents about them; none: nothing breaks.
        selective: Labels are those of reviewed payments alone: they follow what a policy decides.
    """

    name: str
    drift: Drift | None = None
    world: Mapping[str, Any] = field(default_factory=dict)
    repaired: int | None = None
    selective: bool = False

    def config(self, seed: int) -> WorldConfig:
        """The world of a seed."""
        return replace(WORLD, seed=seed, drift=self.drift, **self.world)


SCENARIOS = (
    Scenario("none"),
    Scenario("covariate harmless", Drift("demographic", DRIFT_DAY)),
    Scenario("covariate harmful", Drift("covariate", DRIFT_DAY)),
    Scenario("prior", Drift("prior", DRIFT_DAY)),
    Scenario("concept sudden", Drift("concept", DRIFT_DAY)),
    Scenario("concept gradual", Drift("concept", DRIFT_DAY, shape="gradual", span_days=14)),
    # Ten days of the new fraud, ten of the old, ten of the new: as long as labels take.
    Scenario("concept recurring", Drift("concept", DRIFT_DAY, shape="recurring", span_days=20)),
    Scenario(
        "schema fault",
        Drift("schema_cents", DRIFT_DAY, shape="recurring", span_days=2 * FAULT_DAYS),
        repaired=DRIFT_AFTER + FAULT_DAYS,
    ),
    # Half of the fraud turns into what the model was never shown and nobody disputes. Frauds at
    # terminals are left out with the inputs that find them: those are made of labels, and would
    # differ by policy.
    Scenario(
        "feedback blindness",
        Drift("concept", DRIFT_DAY, strength=0.5),
        {
            "compromised_terminals_per_day": 0.0,
            "compromised_customers_per_day": 6.0,
            "never_disputed": 1.0,
        },
        selective=True,
    ),
)
"""Card worlds. A renamed category or an emptied column is not among them: what the declared schema
refuses at the door reaches no policy."""

PEOPLE = "employment_ma"
"""Real people, four years, inputs that drift and a model that does not get worse."""
NAMES = (*(s.name for s in SCENARIOS), PEOPLE)
HARMLESS = ("none", "covariate harmless", PEOPLE)
"""Where every retraining is one too many."""
