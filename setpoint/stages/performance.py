"""What the labels say of the model in service: setpoints, money, rise of misses, fairness."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from setpoint.domain.arrivals import integers
from setpoint.domain.bundle import Bundle
from setpoint.domain.changes import Cusum, watch_errors
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.setpoints import setpoint_finding
from setpoint.domain.loss import LOSS, Reference, loss_a_day
from setpoint.errors import DataError
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.coverage import label_times, selected
from setpoint.stages.gates.performance import targets
from setpoint.stages.groups import compared, groups_beside
from setpoint.stages.maturity import known_ages
from setpoint.stages.ripe import acted_by_score, judged_decisions, ripe_decisions, ripe_window
from setpoint.workspace import Workspace

LOSS_SHARE = 0.5
"""Of the error rate, for the loss of money: it is what a retraining is weighed by."""
LOSS_PARTS = (1.0, 0.5, 0.25)
"""Newest parts of the window of which a loss is looked for; they share its error rate."""
MISSES = "misses"
"""Name of the finding that the rate of missed positives has risen."""


def performance(
    workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime, error_rate: float
) -> list[Finding]:
    """All that matured labels say of a version.

    Args:
        workspace: The project.
        log: Decisions.
        bundle: Of the version in service.
        now: Event time of the look.
        error_rate: Chance of a false alarm of any of them: ``LOSS_SHARE`` of it for money, the
            rest shared out evenly.
    """
    declared = targets(workspace)
    groups = compared(workspace.project)
    exploring = bundle.decision.exploration > 0
    each = (1 - LOSS_SHARE) * error_rate / (len(declared) + len(groups) + 1 + exploring)
    table = ripe_window(workspace, log, bundle.manifest.version, now)
    judged = judged_decisions(workspace, table, known_ages(bundle), now)
    found = [
        setpoint_finding(
            target,
            judged,
            reading="watch",
            error_rate=each,
            min_sample=workspace.project.watch.min_positives,
        )
        for target in declared
    ]
    found = selected(workspace, log, bundle, now, found, each)
    found.append(label_times(workspace, log, bundle.manifest.version, now))
    found.append(_loss(workspace, bundle, table, judged, now, LOSS_SHARE * error_rate))
    found.append(_misses(workspace, log, bundle, now, each, len(judged.label)))
    values = {
        name: np.asarray(table[name].to_pylist(), dtype=object)
        for name in workspace.project.data.protected
    }
    found += groups_beside(workspace.project, judged, values, each)
    return found


def _loss(
    workspace: Workspace,
    bundle: Bundle,
    table: pa.Table,
    judged: Judged,
    now: datetime,
    error_rate: float,
) -> Finding:
    """Of the whole window and of its newest parts: a large loss shows before it fills a window."""
    kept = bundle.profile.get("cost")
    if kept is None:
        return not_measured(LOSS, "the bundle says nothing of what its decisions cost in training")
    rule = workspace.project
    end, times = now - rule.label_age, integers(table["event_time"])
    found = []
    for part in LOSS_PARTS:
        span = rule.watch.window * part
        newest = times >= (end - span).timestamp() * MICROSECONDS
        one = loss_a_day(
            Reference.from_dict(kept),
            judged.cost[newest],
            days=span / timedelta(days=1),
            worth=rule.respond.retraining_cost / (rule.respond.horizon / timedelta(days=1)),
            least=rule.respond.least_loss,
            error_rate=error_rate / len(LOSS_PARTS),
        )
        found.append(replace(one, reason=f"{one.reason}, by the newest {_span(span)}"))
    return next((one for one in found if one.outcome == Outcome.FAILED), found[0])


def _span(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} days" if days >= 1 else f"{days * 24:g} hours"


def _misses(
    workspace: Workspace,
    log: DecisionLog,
    bundle: Bundle,
    now: datetime,
    error_rate: float,
    rows: int,
) -> Finding:
    """Goes on from look to look, row by row: a rise is found as soon as its rows are ripe."""
    version = bundle.manifest.version
    kept = bundle.profile.get("misses")
    if kept is None or not rows:
        why = "no decision is ripe" if kept else "the bundle says nothing of its misses in training"
        return not_measured(MISSES, why, outcome=Outcome.INCONCLUSIVE)
    try:
        test, until = _test(workspace, version, now, kept, rows / error_rate)
    except DataError as err:  # it missed so many in training that no rise can be told
        return not_measured(MISSES, err.what, outcome=Outcome.INCONCLUSIVE)
    fresh = ripe_decisions(workspace, log, DecisionQuery(start=until, version=version), now)
    acted = acted_by_score(fresh, workspace.project.actions.positive)
    missed = (fresh["label"].to_numpy() == 1) & ~acted
    after = test.after(missed)
    ripe = now - workspace.project.label_age
    alarmed = after.alarm_at is not None
    unseen = Outcome.PASSED if after.rows >= after.delay else Outcome.INCONCLUSIVE
    began = now if test.alarm_at is None else _alarmed(workspace, version)
    seen = {"test": asdict(after), "until": ripe.isoformat(), "alarmed": None}
    if alarmed and began is not None:
        seen["alarmed"] = began.isoformat()
    workspace.state.remember(f"misses:{version}", json.dumps(seen))
    reason = (
        f"evidence {after.evidence:.2f} of {after.threshold:.2f} for a rate of "
        f"{after.raised:.3%} instead of {after.base:.3%}"
    )
    if alarmed:
        reason = f"it rose {after.rows - after.since:,} rows ago; {reason}"
    elif unseen != Outcome.PASSED:
        reason = f"{after.rows:,} rows, {after.delay:,.0f} needed to see it; {reason}"
    return Finding(
        MISSES,
        Outcome.FAILED if alarmed else unseen,
        after.evidence,
        after.threshold,
        "ceiling",
        after.rows,
        error_rate,
        reason,
    )


def _test(
    workspace: Workspace,
    version: str,
    now: datetime,
    kept: dict[str, int],
    false_alarm_rows: float,
) -> tuple[Cusum, datetime | None]:
    """The test as the look before left it, and up to when it has seen decisions.

    An alarm stands for a window; then the test begins anew, so that it can be over.
    """
    fresh = watch_errors(kept["missed"], kept["rows"], max(false_alarm_rows, 2.0))
    text = workspace.state.recall(f"misses:{version}")
    if text is None:
        return fresh, None
    known = json.loads(text)
    alarmed = _alarmed(workspace, version)
    over = alarmed is not None and now - alarmed >= workspace.project.watch.window
    return fresh if over else Cusum(**known["test"]), datetime.fromisoformat(known["until"])


def _alarmed(workspace: Workspace, version: str) -> datetime | None:
    text = workspace.state.recall(f"misses:{version}")
    since = json.loads(text)["alarmed"] if text else None
    return datetime.fromisoformat(since) if since else None
