"""What the labels say of the model in service: setpoints, money, rise of misses, fairness."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from setpoint.domain.arrivals import integers
from setpoint.domain.bundle import Bundle
from setpoint.domain.changes import Cusum, caught_up, watch_errors
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.setpoints import setpoint_finding
from setpoint.domain.loss import LOSS, Reference, loss_a_day
from setpoint.errors import DataError
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.broken import undecided
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
_JUDGED = ("event_time", "action", "label", "label_known_at", "label_propensity")
_MICROSECOND = timedelta(microseconds=1)


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
    """Goes on from look to look, row by row: a rise is found as soon as its rows are ripe.

    Each row is judged once, so no row is passed over that may yet have to be: while a fault is open
    the test waits where its rows begin. Once a person has ended the fault it goes on there, with
    these rows if they were right and without them if they were broken; ``changes.caught_up`` says
    what becomes of an alarm of rows that waited. Nothing is lost by it: all rows since a fault
    began are the fault's as long as it is open.
    """
    version = bundle.manifest.version
    kept = bundle.profile.get("misses")
    if kept is None or not rows:
        why = "no decision is ripe" if kept else "the bundle says nothing of its misses in training"
        return not_measured(MISSES, why, outcome=Outcome.INCONCLUSIVE)
    try:
        anew = watch_errors(kept["missed"], kept["rows"], max(rows / error_rate, 2.0))
    except DataError as err:  # it missed so many in training that no rise can be told
        return not_measured(MISSES, err.what, outcome=Outcome.INCONCLUSIVE)
    was = _recalled(workspace, version, anew)
    fault, ripe = undecided(workspace), now - workspace.project.label_age
    until = ripe if fault is None else min(ripe, fault)
    until = until if was.until is None else max(until, was.until)
    after = _after(workspace, log, version, anew, was, until, now)
    waits = fault is not None and until < ripe
    said = {
        "test": asdict(after.test),
        "until": until.isoformat(),
        "alarmed": None if after.alarmed is None else after.alarmed.isoformat(),
        "waited": waits,
    }
    workspace.state.remember(f"misses:{version}", json.dumps(said))
    return _finding(after, error_rate, fault if waits else None)


@dataclass(frozen=True)
class _Seen:
    """The test, up to which event time it has seen decisions, and when its alarm was told.

    ``waited``: whether rows after that waited for the end of a fault.
    """

    test: Cusum
    until: datetime | None
    alarmed: datetime | None
    waited: bool = False


def _recalled(workspace: Workspace, version: str, anew: Cusum) -> _Seen:
    """As the look before left it."""
    text = workspace.state.recall(f"misses:{version}")
    if text is None:
        return _Seen(anew, None, None)
    known = json.loads(text)
    since = known["alarmed"]
    return _Seen(
        Cusum(**known["test"]),
        datetime.fromisoformat(known["until"]),
        datetime.fromisoformat(since) if since else None,
        bool(known.get("waited")),
    )


def _after(
    workspace: Workspace,
    log: DecisionLog,
    version: str,
    anew: Cusum,
    was: _Seen,
    until: datetime,
    now: datetime,
) -> _Seen:
    """After the ripe decisions up to ``until``; an alarm stands for a window."""
    query = DecisionQuery(start=was.until, end=until, version=version, columns=_JUDGED)
    fresh = ripe_decisions(workspace, log, query, now)
    acted = acted_by_score(fresh, workspace.project.actions.positive)
    missed = (fresh["label"].to_numpy() == 1) & ~acted
    look = _micros(now)
    ripe = integers(fresh["event_time"]) + workspace.project.label_age // _MICROSECOND
    test, told = caught_up(
        was.test,
        anew,
        missed,
        ripe if was.waited else np.full(len(ripe), look),  # what nobody looked at is told
        look,
        told=None if was.alarmed is None else _micros(was.alarmed),
        stands=workspace.project.watch.window // _MICROSECOND,
        between=workspace.project.watch.every // _MICROSECOND,
    )
    return _Seen(test, until, None if told is None else now - (look - told) * _MICROSECOND)


def _finding(seen: _Seen, error_rate: float, waits: datetime | None) -> Finding:
    """What the test says; without an alarm nothing is proven of rows that wait since ``waits``."""
    test, alarmed = seen.test, seen.alarmed is not None
    short = test.rows < test.delay
    reason = (
        f"evidence {test.evidence:.2f} of {test.threshold:.2f} for a rate of "
        f"{test.raised:.3%} instead of {test.base:.3%}"
    )
    if alarmed:
        reason = f"it rose {test.rows - test.since:,} rows ago; {reason}"
    elif waits is not None:
        reason = f"decisions since {waits:%Y-%m-%d %H:%M} wait for the end of a fault; {reason}"
    elif short:
        reason = f"{test.rows:,} rows, {test.delay:,.0f} needed to see it; {reason}"
    unseen = Outcome.INCONCLUSIVE if short or waits is not None else Outcome.PASSED
    return Finding(
        MISSES,
        Outcome.FAILED if alarmed else unseen,
        test.evidence,
        test.threshold,
        "ceiling",
        test.rows,
        error_rate,
        reason,
    )


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * MICROSECONDS)
