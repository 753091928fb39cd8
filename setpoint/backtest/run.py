"""Stream a history: each look sees only what was known then.

The first part trains; the rest is streamed as if live: looks open incidents, and a retrained
model serves from that moment if its gates open. The same rows are priced under two baselines:
never retraining, and retraining every so many looks whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.backtest.figures import Tally, baseline, figures, micros, moment
from setpoint.backtest.log import Replayed
from setpoint.domain.bundle import read_bundle
from setpoint.domain.calendar import parse_utc
from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.gates import judge
from setpoint.domain.incidents import Cause, Incident, Status
from setpoint.domain.training import Rows, as_rows
from setpoint.errors import BundleError, DataError, StateError, TrainingError
from setpoint.stages import gate, ingest, respond, train, watch
from setpoint.stages.assemble import History, cost_columns, final_labels, history
from setpoint.workspace import StreamClock, Workspace

Tell = Callable[[str], None]

UNTRAINABLE = (TrainingError, DataError, BundleError)
"""What ends a retraining and not the replay."""

FEW_TIMES = 50
"""Up to so many different event times, e.g. years, the first of them trains by default."""
CRON_RETRAININGS = 4
FIRST_SHARE = 0.4
"""Else this share of the rows does."""


@dataclass
class Replay:
    """A history on its way through the loop."""

    workspace: Workspace
    snapshot: ingest.Ingested
    log: Replayed
    rows: Rows
    begin: datetime
    end: datetime
    tell: Tell
    tally: Tally = field(default_factory=Tally)


def run_backtest(
    workspace: Workspace, train_until: str | None, cron: int | None, tell: Tell
) -> dict[str, Any]:
    """Replay the project's data; nothing outside the state folder is written.

    Args:
        workspace: A workspace of its own; what it held of an earlier replay must be gone.
        train_until: Event time (ISO) up to which the first part trains; default: the first
            event time where there are few, else the first 40 % of the rows.
        cron: Looks between retrainings of the cron baseline, >= 1; default: so many that it
            retrains about four times.
        tell: Where progress goes, a line at a time.

    Returns:
        See ``setpoint.backtest.figures.figures``; and ``baselines``: money in all over the
        streamed rows, and retrainings, of ``never``, ``cron`` and ``setpoint``.

    Raises:
        DataError: The data cannot be read, or leave nothing to stream.
        StateError: The state folder is in use.
        TrainingError: The first part trains no model.
    """
    asked = None if train_until is None else parse_utc(train_until, "--train-until")
    workspace = _apart(workspace)
    replay = _prepare(workspace, asked, tell)
    version, verdict = _train(replay, replay.begin, "first")
    if not verdict.passed:
        tell(f"  served here all the same: {verdict.summary()}")
    workspace.registry.point(CHAMPION, version)
    never = _serve(replay, version, replay.begin)
    now = replay.begin
    while now < replay.end:
        now = min(now + workspace.project.watch.every, replay.end + timedelta(seconds=1))
        StreamClock(workspace.state).advance(now)
        _look(replay, now)
    begin, rows, tally = replay.begin, replay.rows, replay.tally
    return figures(workspace, rows, replay.log, tally, begin, verdict) | {
        "baselines": {
            "never": baseline(workspace, rows, never, begin, 0),
            "cron": _cron(replay, cron or _often(replay)),
            "setpoint": baseline(workspace, rows, replay.log.acted, begin, tally.trained),
        }
    }


def _apart(workspace: Workspace) -> Workspace:
    """The workspace with its registry and snapshots in the state folder, and a replay's clock.

    Raises:
        StateError: The state folder is a platform's, or holds an earlier replay.
    """
    used = ""
    if workspace.platform().get("ports"):
        used = "the state folder is a platform's"
    elif workspace.state.ledger():
        used = "the state folder holds an earlier replay"
    if used:
        raise StateError(
            used, where=str(workspace.root), fix="name another folder with --root, or delete it"
        )
    project = workspace.project
    data = project.data.model_copy(update={"snapshots": None})
    return replace(
        workspace,
        project=project.model_copy(update={"data": data}),
        environment=workspace.environment.model_copy(update={"tracking_uri": ""}),
        replay=True,
    )


def _prepare(workspace: Workspace, asked: datetime | None, tell: Tell) -> Replay:
    snapshot = ingest.ingest(workspace)
    log, rows = _all_rows(workspace, history(workspace, datetime.max.replace(tzinfo=UTC)))
    begin, end = _begin(rows, asked), moment(int(rows.time.max()))
    tell(
        f"{len(rows):,} labelled rows; trains up to {begin:%Y-%m-%d %H:%M}, streams to "
        f"{end:%Y-%m-%d %H:%M}"
    )
    StreamClock(workspace.state).advance(begin)
    return Replay(workspace, snapshot, log, rows, begin, end, tell)


def _all_rows(workspace: Workspace, known: History) -> tuple[Replayed, Rows]:
    """Features of the whole history, each row as of its own arrival, and an empty log over it."""
    from setpoint.adapters.duckdb_features import compute

    project = workspace.project
    spec = project.feature_spec()
    features = compute(spec, known.events, known.labels)
    label, told = final_labels(workspace, known)
    keep = pc.is_valid(label)
    events = known.events.append_column("label", label).append_column("label_known_at", told)
    wanted = sorted({*project.data.protected, *cost_columns(workspace)})
    order = pc.sort_indices(events.filter(keep)[spec.event_time])
    events, features = events.filter(keep).take(order), features.filter(keep).take(order)
    rows = as_rows(spec, features, events, project.sticky_column, wanted)
    columns = {
        "id": events[spec.event_id],
        "event_time": events[spec.event_time],
        "label": events["label"],
        "label_known_at": events["label_known_at"],
    }
    columns |= {n: events[n] for n in wanted} | {f"f_{n}": features[n] for n in spec.names}
    n = len(rows)
    actions = (project.actions.positive, project.actions.negative)
    empty = np.full(n, "", dtype=object)
    log = Replayed(pa.table(columns), actions, np.zeros(n), np.zeros(n), np.zeros(n, bool), empty)
    return log, rows


def _begin(rows: Rows, asked: datetime | None) -> datetime:
    begin = asked
    if begin is None:
        distinct = np.unique(rows.time)
        few = len(distinct) <= FEW_TIMES
        edge = distinct[0] if few else rows.time[int(len(rows) * FIRST_SHARE)]
        begin = moment(int(edge)) + timedelta(microseconds=1)
    if not rows.time.min() < micros(begin) <= rows.time.max():
        raise DataError(
            f"training up to {begin:%Y-%m-%d %H:%M} leaves nothing to train on or to stream",
            where="backtest",
            fix=f"choose a time within {moment(int(rows.time.min())):%Y-%m-%d} and "
            f"{moment(int(rows.time.max())):%Y-%m-%d} with --train-until",
        )
    return begin


def _train(
    replay: Replay, now: datetime, cause: str, since: datetime | None = None
) -> tuple[str, Verdict]:
    workspace = replay.workspace
    rows, known = train.assemble(workspace, now)
    training = train.fit(workspace, rows, known, since)
    candidate = train.publish(workspace, training, replay.snapshot, cause)
    verdict = gate.run_gates(workspace, candidate, training)
    gate.record_verdict(workspace, candidate, verdict, cause)
    replay.tell(f"  {candidate.version} trained on {len(rows):,} rows; gates {verdict.outcome}")
    return candidate.version, verdict


def _serve(replay: Replay, version: str, start: datetime) -> npt.NDArray[np.bool_]:
    """Let a version decide every row from ``start`` on; returns what it did, [n]."""
    bundle = read_bundle(replay.workspace.bundle(version))
    log, part = replay.log, replay.rows.time >= micros(start)
    log.score[part] = gate.bundle_scores(bundle, replay.rows.take(part))
    log.threshold[part] = bundle.decision.threshold
    log.acted[part] = log.score[part] >= bundle.decision.threshold
    log.version[part] = version
    return log.acted.copy()


def _look(replay: Replay, now: datetime) -> None:
    workspace, tally, tell = replay.workspace, replay.tally, replay.tell
    window = watch.look(workspace, now, replay.log)
    if window is None:
        return
    worst = "; ".join(f"{f.name} {f.outcome}" for f in window.performance)
    drifted = sum(f.outcome == Outcome.FAILED for f in window.drift)
    tell(f"look at {now:%Y-%m-%d %H:%M}: {worst}; {drifted} inputs drift")
    for incident, new in watch.respond_to(workspace, window):
        if new:
            tell(f"  incident {incident.id}: {incident.cause}, {incident.status}")
            tally.alarms += [now] if incident.cause == Cause.PERFORMANCE else []
    for incident in respond.waiting(workspace, now):
        taken = respond.take(workspace, incident.id, "backtest")
        if taken is not None:
            _respond(replay, taken, now)


def _respond(replay: Replay, taken: Incident, now: datetime) -> None:
    """What the respond flow would have done, without a release: the gates decide alone."""
    workspace, tally, tell = replay.workspace, replay.tally, replay.tell
    try:
        challenger, verdict = _train(replay, now, taken.id, respond.began(workspace, taken))
        tally.trained += 1
        refusal = "" if verdict.passed else f"{challenger} refused: {verdict.summary()}"
    except UNTRAINABLE as err:
        refusal = f"not trained: {err.what}"
    if refusal:
        tell(f"  {refusal}")
        after = respond.failed(workspace, taken, refusal)
        if after.status == Status.NEEDS_PERSON:
            tally.gave_up.append(f"{after.id} since {now:%Y-%m-%d %H:%M}: {after.note}")
            tell(f"  {after.id} needs a person")
        return
    workspace.registry.point(CHAMPION, challenger)
    respond.promoted(workspace, taken, challenger)
    _serve(replay, challenger, now)
    tally.promoted.append(now)
    tell(f"  {challenger} promoted")


def _often(replay: Replay) -> int:
    looks = (replay.end - replay.begin) / replay.workspace.project.watch.every
    return max(1, round(looks / CRON_RETRAININGS))


def _cron(replay: Replay, every: int) -> dict[str, float]:
    """Retrain every so many looks and serve the result, whatever it is worth."""
    workspace, rows, tell = replay.workspace, replay.rows, replay.tell
    costs = workspace.project.costs.matrix()
    acted = np.zeros(len(rows), dtype=bool)
    now, trained, look = replay.begin, 0, 0
    while now < replay.end:
        if look % every == 0:
            part = rows.time >= micros(now)
            try:
                known_rows, known = train.assemble(workspace, now)
                model = train.fit(workspace, known_rows, known).model
            except UNTRAINABLE as err:  # its last model goes on, as a cron job's would
                tell(f"cron at {now:%Y-%m-%d %H:%M}: not trained: {err.what}")
            else:
                streamed_rows = rows.take(part)
                score = model.scores(streamed_rows)
                acted[part] = judge(streamed_rows, score, model.threshold, costs).acted
                trained += look > 0
                tell(f"cron at {now:%Y-%m-%d %H:%M}: trained on {len(known_rows):,} rows")
        look += 1
        now += workspace.project.watch.every
    return baseline(workspace, rows, acted, replay.begin, trained)
