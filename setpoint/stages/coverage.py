"""What is known of the decisions that nobody reviewed: recall by exploration, and two audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.arrivals import floats
from setpoint.domain.bundle import Bundle
from setpoint.domain.findings import Finding, Outcome, check_value, not_measured
from setpoint.domain.profile import Profile
from setpoint.domain.selection import Selected, blind_spot, label_coverage, watch_recall
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.gates.performance import targets
from setpoint.stages.ripe import known_labels
from setpoint.workspace import WallClock, Workspace

LABEL_TIMES = "label_times"
"""Name of the finding that labels are dated as no label can be."""
COLUMNS = ("score", "threshold", "action", "label", "label_known_at", "label_propensity")


def selected(
    workspace: Workspace,
    log: DecisionLog,
    bundle: Bundle,
    now: datetime,
    performance: Sequence[Finding],
    error_rate: float,
) -> list[Finding]:
    """A window's findings with what exploration tells.

    Args:
        workspace: The project.
        log: The decisions.
        bundle: Of the version looked at.
        now: Event time of the look.
        performance: Findings about the setpoints, on labels as they came.
        error_rate: Of each finding.

    Returns:
        The same, where the version explores with its recall by inverse propensity and the audit of
        blind spots; and what is known of the decisions that nobody reviewed.
    """
    rule, spec = workspace.project.watch, bundle.decision
    rows = selected_rows(workspace, log, bundle.manifest.version, now)
    coverage = label_coverage(rows, _edges(bundle), spec.threshold)
    if not spec.exploration:
        return [*performance, coverage]
    better = {
        t.name: watch_recall(rows, t.name, t.value, t.direction, error_rate, rule.min_positives)
        for t in targets(workspace)
        if t.metric == "recall"
    }
    found = [better.get(finding.name, finding) for finding in performance]
    return [*found, blind_spot(rows, error_rate), coverage]


def selected_rows(workspace: Workspace, log: DecisionLog, version: str, now: datetime) -> Selected:
    """Decisions of the newest window that is old enough for its labels, with what was told of them.

    Unlike the decisions that the setpoints are judged on, one without a label stays one.
    """
    project = workspace.project
    end = now - project.label_age
    window = DecisionQuery(end - project.watch.window, end, version, columns=COLUMNS)
    parts = [_part(batch, project.actions.positive, now) for batch in log.batches(window)]
    return Selected(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def label_times(workspace: Workspace, log: DecisionLog, version: str, now: datetime) -> Finding:
    """How many labels are dated before their event, or after the look: whoever tells them must say.

    What is dated before its event is taken as told, what is dated after the look as not known yet.
    A replay has its labels beforehand, so there the latter is no mistake.

    Args:
        workspace: The project.
        log: The decisions.
        version: The version looked at.
        now: Event time of the look.
    """
    project, before, after, labels = workspace.project, 0, 0, 0
    start = now - project.label_age - project.watch.window
    window = DecisionQuery(start, now, version, columns=("event_time", "label_known_at"))
    live = isinstance(workspace.clock, WallClock)
    for batch in log.batches(window):
        told = batch["label_known_at"]
        labels += len(told) - told.null_count
        before += pc.sum(pc.less(told, batch["event_time"])).as_py() or 0
        after += live and (pc.sum(pc.greater(told, pa.scalar(now))).as_py() or 0)
    if not labels:
        return not_measured(LABEL_TIMES, "there are no labels", outcome=Outcome.INCONCLUSIVE)
    found = check_value(LABEL_TIMES, before + after, 0, "ceiling", sample=labels)
    dated = f"{before} labels are dated before their event, {after} after the look"
    return replace(found, reason=f"{dated}; correct their known_at") if before + after else found


def _part(table: pa.Table, adverse: str, now: datetime) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    label = pc.fill_null(known_labels(table, now), pa.scalar(-1, pa.int8()))
    acted = pc.equal(table["action"], adverse)
    return (
        floats(table["score"]),
        floats(table["score"]) >= floats(table["threshold"]),
        acted.to_numpy(),
        label.to_numpy(),
        floats(table["label_propensity"]),
    )


def _edges(bundle: Bundle) -> tuple[float, ...]:
    """The deciles of the scores on which the version was judged."""
    [score] = [c for c in Profile.from_dict(bundle.profile["psi"]).columns if c.name == "score"]
    return score.edges
