"""A simulated card world: customers pay, fraud happens, labels come late, and the world changes.

The base world follows the public simulator of the Fraud Detection Handbook (chapter 3), so that
results on it compare with published ones. Added to it: people (age band, sex, region), payment
channels, late events, late and partial labels, and drift by name, start, strength and shape.

``config`` says what to build, ``base`` draws customers, terminals and payments, ``fraud`` commits
the fraud, ``drift`` changes the world from a start on and nothing before it, ``reporting`` turns
the result into the table that a caller sees, ``truth`` holds that table beside what it hides.

    world = generate(replace(DEMO, drift=Drift("concept", start_day=60)))
"""

from __future__ import annotations

from setpoint.domain.world.base import AGE_BANDS, CHANNELS, REGIONS, SEXES
from setpoint.domain.world.config import (
    DEMO,
    DRIFT_NAMES,
    DRIFT_SHAPES,
    Drift,
    DriftName,
    DriftShape,
    WorldConfig,
    steady_fraud_rate,
)
from setpoint.domain.world.generate import generate
from setpoint.domain.world.truth import World, cost, stream_days

__all__ = [
    "AGE_BANDS",
    "CHANNELS",
    "DEMO",
    "DRIFT_NAMES",
    "DRIFT_SHAPES",
    "REGIONS",
    "SEXES",
    "Drift",
    "DriftName",
    "DriftShape",
    "World",
    "WorldConfig",
    "cost",
    "generate",
    "steady_fraud_rate",
    "stream_days",
]
