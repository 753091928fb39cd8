"""Play a history through the whole loop in event time, and price it against doing less.

The first part trains; the rest is streamed as if live: each look sees only what was known then,
opens incidents, and a retrained model serves from that moment if its gates open. The same rows
are priced under two baselines: never retraining, and retraining every so many looks whatever
happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Outcome
from setpoint.domain.gates import judge
from setpoint.domain.incidents import Cause
from setpoint.domain.training import Rows, as_rows
from setpoint.errors import DataError
from setpoint.ports import Decision, DecisionQuery, Label
from setpoint.report import counted
from setpoint.stages import gate, ingest, respond, train, watch
from setpoint.stages.assemble import History, cost_columns, history
from setpoint.workspace import StreamClock, Workspace

Tell = Callable[[str], None]


@dataclass
class Replayed:
    """A decision log over rows that are all known beforehand: the replay's home of the port.

    Attributes:
        table: One row an event in event-time order: ``id, event_time, label, label_known_at``,
            request columns, and inputs as ``f_<name>``.
        score, acted, version: Filled in as rows are streamed, [n].
    """

    table: pa.Table
    actions: tuple[str, str]
    score: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    acted: npt.NDArray[np.bool_]
    version: npt.NDArray[np.object_]

    def read(self, query: DecisionQuery) -> pa.Table:
        """Decisions made so far that the query asks for."""
        keep = self.version != ""
        time_of = self.table["event_time"]
        if query.version is not None:
            keep &= self.version == query.version
        mask = pa.array(keep)
        if query.start is not None:
            mask = pc.and_(mask, pc.greater_equal(time_of, pa.scalar(query.start)))
        if query.end is not None:
            mask = pc.and_(mask, pc.less(time_of, pa.scalar(query.end)))
        names = ["id", "event_time", "label", "label_known_at", *query.request]
        names += [f"f_{n}" for n in query.features]
        chosen = self.table.select(list(dict.fromkeys(names))).filter(mask)
        rows = np.flatnonzero(np.asarray(mask))
        action = np.where(self.acted[rows], *self.actions)
        for name, values in (
            ("score", pa.array(self.score[rows])),
            ("threshold", pa.array(self.threshold[rows])),
            ("action", pa.array(action.tolist(), pa.string())),
            ("version", pa.array(self.version[rows].tolist(), pa.string())),
            ("propensity", pa.nulls(len(rows), pa.float64())),
        ):
            chosen = chosen.append_column(name, values)
        return chosen

    def append(self, decisions: Any) -> None:
        """Not used in a replay: rows are known beforehand."""
        raise NotImplementedError

    def find(self, ids: Any) -> dict[str, Decision]:
        """Not used in a replay."""
        raise NotImplementedError

    def add_labels(self, labels: list[Label] | Any) -> list[str]:
        """Not used in a replay: labels are known beforehand, with their time."""
        raise NotImplementedError


@dataclass
class Tally:
    """What a replay did.

    Attributes:
        alarms: Event time of each incident about performance.
        promoted: Event time of each promotion after an incident.
        trained: Number of retrainings.
        seconds: Wall seconds by name.
    """

    alarms: list[datetime] = field(default_factory=list)
    promoted: list[datetime] = field(default_factory=list)
    trained: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def run_backtest(
    workspace: Workspace, train_until: str | None, cron: int, tell: Tell
) -> dict[str, Any]:
    """Replay the project's data.

    Args:
        workspace: A workspace of its own; what it held of an earlier replay must be gone.
        train_until: Event time (ISO) up to which the first part trains; default: the first
            event time where there are few, else the first 40 % of the rows.
        cron: Looks between retrainings of the cron baseline.
        tell: Where progress goes, a line at a time.

    Returns:
        The keys of ``setpoint demo --summary`` and ``baselines``.

    Raises:
        DataError: The data cannot be read, or leave nothing to stream.
    """
    _fresh(workspace)
    snapshot = ingest.ingest(workspace)
    known = history(workspace, datetime.max.replace(tzinfo=UTC))
    log, rows = _prepare(workspace, known)
    begin = _begin(rows, train_until)
    end = _moment(int(rows.time.max()))
    tell(
        f"{len(rows):,} labelled rows; trains up to {begin:%Y-%m-%d %H:%M}, streams to "
        f"{end:%Y-%m-%d %H:%M}"
    )
    clock = StreamClock(workspace.state)
    clock.advance(begin)
    first, verdict = _train(workspace, snapshot, begin, "first", tell)
    workspace.registry.point(CHAMPION, first)
    champions = _serve(workspace, log, rows, first, begin, end)
    never = champions.copy()
    tally = Tally()
    now = begin
    while now < end:
        now = min(now + workspace.project.watch.every, end + timedelta(seconds=1))
        clock.advance(now)
        _look(workspace, log, rows, snapshot, now, end, tally, tell)
    cost = _cost(workspace, rows, log.acted)
    return _figures(workspace, rows, log, tally, begin, verdict.outcome == Outcome.PASSED) | {
        "baselines": {
            "never": _baseline(workspace, rows, never, begin, 0),
            "cron": _cron(workspace, rows, begin, end, cron, tell),
            "setpoint": {"cost": round(float(cost[_streamed(rows, begin)].sum()), 2),
                         "retrainings": tally.trained},
        }
    }  # fmt: skip


def _fresh(workspace: Workspace) -> None:
    if workspace.state.ledger():
        raise DataError(
            "the state folder holds an earlier replay",
            where=str(workspace.root),
            fix="delete it, or name another with --root",
        )


def _prepare(workspace: Workspace, known: History) -> tuple[Replayed, Rows]:
    """Features of the whole history, each row as of its own arrival, and an empty log over it."""
    from setpoint.adapters.duckdb_features import compute
    from setpoint.stages.assemble import final_labels

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


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)


def _micros(moment: datetime) -> int:
    return int((moment - datetime.fromtimestamp(0, UTC)) / timedelta(microseconds=1))


def _begin(rows: Rows, train_until: str | None) -> datetime:
    if train_until is not None:
        try:
            begin = datetime.fromisoformat(train_until)
        except ValueError as err:
            raise DataError(
                f"--train-until {train_until!r} is no time", fix="write it as 2016-01-01"
            ) from err
        begin = begin if begin.tzinfo else begin.replace(tzinfo=UTC)
    else:
        distinct = np.unique(rows.time)
        few = len(distinct) <= 50
        edge = distinct[0] if few else rows.time[int(len(rows) * 0.4)]
        begin = _moment(int(edge)) + timedelta(microseconds=1)
    if not rows.time.min() < _micros(begin) <= rows.time.max():
        raise DataError(
            f"training up to {begin:%Y-%m-%d %H:%M} leaves nothing to train on or to stream",
            where="backtest",
            fix=f"choose a time within {_moment(int(rows.time.min())):%Y-%m-%d} and "
            f"{_moment(int(rows.time.max())):%Y-%m-%d}",
        )
    return begin


def _streamed(rows: Rows, begin: datetime) -> npt.NDArray[np.bool_]:
    return rows.time >= _micros(begin)


def _train(
    workspace: Workspace,
    snapshot: Any,
    now: datetime,
    cause: str,
    tell: Tell,
    since: datetime | None = None,
) -> Any:
    rows, known = train.assemble(workspace, now)
    training = train.fit(workspace, rows, known, since)
    candidate = train.publish(workspace, training, snapshot, cause)
    verdict = gate.run_gates(workspace, candidate, training)
    gate.record_verdict(workspace, candidate, verdict, cause)
    tell(f"  {candidate.version} trained on {len(rows):,} rows; gates {verdict.summary()}")
    return candidate.version, verdict


def _serve(
    workspace: Workspace, log: Replayed, rows: Rows, version: str, start: datetime, end: datetime
) -> npt.NDArray[np.bool_]:
    """Let a version decide every row from ``start`` on; returns what it did, [n]."""
    bundle = read_bundle(workspace.bundle(version))
    part = rows.time >= _micros(start)
    score = gate.bundle_scores(bundle, rows.take(part))
    log.score[part] = score
    log.threshold[part] = bundle.decision.threshold
    log.acted[part] = score >= bundle.decision.threshold
    log.version[part] = version
    return log.acted.copy()


def _look(
    workspace: Workspace,
    log: Replayed,
    rows: Rows,
    snapshot: Any,
    now: datetime,
    end: datetime,
    tally: Tally,
    tell: Tell,
) -> None:
    version = workspace.registry.version_of(CHAMPION)
    window = watch.look(workspace, now, log, version)
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
        if taken is None:
            continue
        challenger, verdict = _train(
            workspace, snapshot, now, taken.id, tell, respond.began(workspace, taken)
        )
        tally.trained += 1
        if verdict.outcome != Outcome.PASSED:
            respond.failed(workspace, taken, f"{challenger} refused: {verdict.summary()}")
            continue
        workspace.registry.point(CHAMPION, challenger)
        respond.promoted(workspace, taken, challenger)
        _serve(workspace, log, rows, challenger, now, end)
        tally.promoted.append(now)
        tell(f"  {challenger} promoted")


def _cost(
    workspace: Workspace, rows: Rows, acted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    return workspace.project.costs.matrix().of(rows.label, acted, rows.columns)


def _baseline(
    workspace: Workspace, rows: Rows, acted: npt.NDArray[np.bool_], begin: datetime, trained: int
) -> dict[str, float]:
    cost = _cost(workspace, rows, acted)[_streamed(rows, begin)]
    return {"cost": round(float(cost.sum()), 2), "retrainings": trained}


def _cron(
    workspace: Workspace, rows: Rows, begin: datetime, end: datetime, every: int, tell: Tell
) -> dict[str, float]:
    """Retrain every so many looks and serve the result, whatever it is worth."""
    acted = np.zeros(len(rows), dtype=bool)
    now, trained, look = begin, 0, 0
    while now < end:
        if look % every == 0:
            known_rows, known = train.assemble(workspace, now)
            model = train.fit(workspace, known_rows, known).model
            part = rows.time >= _micros(now)
            decided = judge(
                rows.take(part), model.scores(rows.take(part)), model.threshold,
                workspace.project.costs.matrix(),
            )  # fmt: skip
            acted[part] = decided.acted
            trained += look > 0
            tell(f"cron at {now:%Y-%m-%d %H:%M}: trained on {len(known_rows):,} rows")
        look += 1
        now += workspace.project.watch.every
    return _baseline(workspace, rows, acted, begin, trained)


def _figures(
    workspace: Workspace, rows: Rows, log: Replayed, tally: Tally, begin: datetime, accepted: bool
) -> dict[str, Any]:
    streamed = _streamed(rows, begin)
    alarm = tally.alarms[0] if tally.alarms else None
    healed = next((p for p in tally.promoted if alarm and p >= alarm), None)
    spans: dict[str, tuple[datetime | None, datetime | None]] = {"before": (begin, alarm)}
    spans["during"] = (alarm, healed) if alarm else (None, None)
    spans["after"] = (healed, None) if healed else (None, None)
    cost = _cost(workspace, rows, log.acted)
    rate: dict[str, float | None] = {}
    money: dict[str, float | None] = {}
    for name, (start, stop) in spans.items():
        part = streamed.copy() if start else np.zeros(len(rows), dtype=bool)
        part &= rows.time >= _micros(start) if start else True
        part &= rows.time < _micros(stop) if stop else True
        positive = part & (rows.label == 1)
        caught = int((log.acted & positive).sum())
        rate[name] = round(caught / int(positive.sum()), 4) if positive.any() else None
        money[name] = round(float(cost[part].sum()), 2) if part.any() else None
    sent = int(streamed.sum())
    days = (healed - alarm).total_seconds() / 86_400 if alarm and healed else None
    return {
        "healed": healed is not None,
        "first_gates_passed": accepted,
        "retrainings": tally.trained,
        "alarms": [a.isoformat() for a in tally.alarms],
        "seconds_to_alarm": None,
        "seconds_to_heal": None,
        "event_time_to_alarm": (alarm - begin).total_seconds() / 86_400 if alarm else None,
        "event_time_to_heal": days,
        "requests": sent,
        "answered": int((log.version[streamed] != "").sum()),
        "lost": 0,
        "wrong_version": 0,
        "detection_rate": rate,
        "cost": money,
    }


def show_backtest(figures: dict[str, Any], console: Console) -> None:
    """What the loop would have done, and what it would have been worth."""
    table = Table(title="What it would have been worth", title_justify="left", header_style="bold")
    for name in ("policy", "cost", "retrainings", "against never"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    never = figures["baselines"]["never"]["cost"]
    for name, row in figures["baselines"].items():
        change = f"{(row['cost'] - never) / never:+.1%}" if never else "-"
        table.add_row(name, f"{row['cost']:,.0f}", str(int(row["retrainings"])), change)
    console.print(table)
    first = "passed" if figures["first_gates_passed"] else "were refused by"
    console.print(
        f"{counted(figures['requests'], 'decision')} streamed; "
        f"{counted(len(figures['alarms']), 'alarm')} about the setpoints, "
        f"{counted(figures['retrainings'], 'retraining')}; the first model {first} the gates",
        soft_wrap=True,
    )
