"""How good the model in service is by its own scores, before labels; and when that is blind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from setpoint.domain.bundle import Bundle
from setpoint.domain.estimation import (
    MIN_CHUNKS,
    calibration,
    estimate_parts,
    judge_estimate,
    limits,
)
from setpoint.domain.findings import Finding, Outcome, Verdict, not_measured
from setpoint.domain.metrics import CostArrays
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.assemble import cost_columns
from setpoint.stages.broken import window_start
from setpoint.stages.maturity import ESTIMATED
from setpoint.stages.ripe import acted_by_score, judged_decisions, ripe_window
from setpoint.workspace import Workspace

NAMES = (*ESTIMATED, "cost_per_decision")


def estimates(
    workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime, error_rate: float
) -> list[Finding]:
    """Label-free estimates of the newest window, and whether scores still mean what they say.

    Args:
        workspace: The project.
        log: Decisions.
        bundle: Of the version in service.
        now: Event time of the look.
        error_rate: Chance of a false alarm of any of them; a half for the calibration.
    """
    kept = bundle.profile.get("estimates")
    if kept is None:
        return [not_measured("estimates", "the bundle has no estimates of its training rows")]
    version = bundle.manifest.version
    ripe = judged_decisions(workspace, ripe_window(workspace, log, version, now))
    trust = calibration(ripe.score, ripe.label, error_rate / 2)
    window = DecisionQuery(
        start=window_start(workspace, now),
        end=now,
        version=version,
        columns=("score", "action", "label_propensity"),
        request=tuple(sorted(cost_columns(workspace))),
    )
    values, rows = _values(workspace, log.batches(window))
    each = error_rate / 2 / len(NAMES)
    found = [_judged(name, values, rows, kept, each, trust) for name in NAMES]
    return [*found, *_told(trust)]


def _values(workspace: Workspace, batches: Iterable[pa.Table]) -> tuple[dict[str, float], int]:
    found = estimate_parts(_part(workspace, batch) for batch in batches)
    values = {name: getattr(found, name) for name in ESTIMATED}
    values["cost_per_decision"] = found.cost / found.sample if found.sample else math.nan
    return values, found.sample


def _part(workspace: Workspace, table: pa.Table) -> tuple[Any, Any, CostArrays]:
    columns = {
        name: np.asarray(table[name].to_numpy(), dtype=np.float64)
        for name in cost_columns(workspace)
    }
    costs = workspace.project.costs.matrix().arrays(columns, table.num_rows)
    acted = acted_by_score(table, workspace.project.actions.positive)
    return table["score"].to_numpy(), acted, costs


def _judged(
    name: str,
    values: dict[str, float],
    rows: int,
    kept: dict[str, Any],
    error_rate: float,
    trust: Verdict,
) -> Finding:
    before = [one for one in kept[name] if one is not None]
    if len(before) < MIN_CHUNKS or not rows:
        why = f"{rows} decisions, {len(before)} pieces of the training rows have an estimate"
        return not_measured(f"estimated_{name}", why, outcome=Outcome.INCONCLUSIVE)
    # judge_estimate fails on one side alone: the two-sided limits may take twice the rate
    inside = limits(before, 2 * error_rate, kept["rows"] / rows)
    higher = name != "cost_per_decision"
    return judge_estimate(
        name, values[name], rows, inside, 2 * error_rate, trust, higher_is_better=higher
    )


def _told(trust: Verdict) -> list[Finding]:
    """Calibration for people: that it is lost is no failure of its own, for labels judge then."""
    return [
        replace(f, outcome=Outcome.INCONCLUSIVE, reason=f"estimates are blind: {f.reason}")
        if f.outcome == Outcome.FAILED
        else f
        for f in trust.findings
    ]
