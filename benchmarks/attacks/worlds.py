"""The world that attacks are played on, what the check says of its sources, and the rows told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from setpoint.adapters.duckdb_features import compute
from setpoint.config import Project, load_project
from setpoint.domain.arrivals import with_arrival
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates.judged import judge
from setpoint.domain.poisoning import Trust, poisoning_findings, trust
from setpoint.domain.split import split_rows
from setpoint.domain.training import (
    Parameters,
    Rows,
    TrainedModel,
    as_rows,
    finish,
    fit_pipeline,
)
from setpoint.domain.world import DEMO, Drift, generate
from setpoint.stages.worldfiles import PROJECT

PARAMETERS = Parameters(max_iter=60)
HOLDOUT = 0.3
DAYS, TRUSTED, SPAN, DRIFT_DAY = 85, 50, 5, 60.0
POISONED = "days 65 to 70"

Row = dict[str, Any]
Attack = Callable[[int], Iterator[Row]]
"""Plays one kind of attack on so many worlds and tells what it came to."""


@dataclass(frozen=True)
class Cards:
    """Rows of a world with complete labels, and the day of each.

    Attributes:
        rows: With the labels that disputes leave.
        day: Event time, days since the start, [n].
    """

    rows: Rows
    day: np.ndarray

    @property
    def trusted(self) -> Rows:
        """Those before any source that is looked at."""
        return self.rows.take(self.day < TRUSTED)

    @property
    def new(self) -> tuple[Rows, np.ndarray]:
        """Those after, and their sources."""
        later = self.day >= TRUSTED
        first = (self.day[later] // SPAN * SPAN).astype(int)
        names = [f"days {d} to {d + SPAN}" for d in first.tolist()]
        return self.rows.take(later), np.array(names, dtype=object)


def project() -> Project:
    """The card project."""
    return load_project(PROJECT)


@lru_cache(maxsize=20)
def cards(seed: int, drift: str = "none") -> Cards:
    """A world of ``DAYS`` days; the drift begins on ``DRIFT_DAY``."""
    change = Drift(drift, DRIFT_DAY) if drift != "none" else None  # type: ignore[arg-type]
    world = generate(replace(DEMO, seed=seed, days=DAYS, drift=change))
    spec = project().feature_spec()
    known = world.labels(np.zeros(len(world), dtype=bool))
    told = np.flatnonzero(~np.isnat(known))
    labels = pa.table(
        {
            "tx_id": world.events["tx_id"].take(pa.array(told)),
            "label": pa.array(world.fraud[told].astype(np.int8)),
            "known_at": pa.array(known[told]).cast(pa.timestamp("us", "UTC")),
        }
    ).sort_by("known_at")
    events, labels = with_arrival(spec, world.events, labels)
    features = compute(spec, events, labels)
    label = np.zeros(len(world), dtype=np.int8)
    label[told] = world.fraud[told]
    by_id = dict(zip(world.events["tx_id"].to_pylist(), label.tolist(), strict=True))
    column = pa.array([by_id[i] for i in events["tx_id"].to_pylist()], pa.int8())
    rows = as_rows(spec, features, events.append_column("label", column), "customer_id", ["amount"])
    start = int(world.config.start.timestamp()) * 1_000_000
    return Cards(rows, (rows.time - start) / 86_400e6)


def model_of(rows: Rows) -> TrainedModel:
    """Trained, calibrated and with the threshold of least cost; customers that judge left out."""
    split = split_rows(rows, HOLDOUT, 0.7)
    pipeline = fit_pipeline(split.fit, PARAMETERS)
    return finish(pipeline, PARAMETERS, split.tune, project().costs.matrix())


def clean(seed: int) -> Rows:
    """Recent rows with their own labels, of customers that train no model."""
    return split_rows(cards(seed).rows, HOLDOUT, 0.7).judge


@lru_cache(maxsize=8)
def trusted_of(seed: int) -> Trust:
    """What is trusted of a world, the same whatever happens later."""
    trusted = trust(cards(seed).trusted)
    assert trusted is not None
    return trusted


def looked_at(seed: int, rows: Rows, source: np.ndarray) -> list[Finding]:
    """What the check finds in new rows of a world."""
    rule, spec = project().train.poisoning, project().feature_spec()
    return poisoning_findings(
        trusted_of(seed),
        rows,
        source,
        (*spec.numbers, *spec.categories),
        max_flipped=rule.max_flipped,
        error_rate=rule.error_rate,
    )


def suspects(findings: list[Finding]) -> set[str]:
    """Sources that stop a training."""
    return {f.slice for f in findings if f.outcome == Outcome.FAILED}


def cost_of(model: TrainedModel, rows: Rows) -> float:
    """Money a decision."""
    return float(
        judge(rows, model.scores(rows), model.threshold, project().costs.matrix()).cost.mean()
    )


def told(attack: str, mitigation: str, measure: str, off: float, on: float, sample: int) -> Row:
    """One row of the figures; of a measure a smaller value is better."""
    return {
        "attack": attack,
        "mitigation": mitigation,
        "measure": measure,
        "off": round(off, 4),
        "on": round(on, 4),
        "sample": sample,
    }
