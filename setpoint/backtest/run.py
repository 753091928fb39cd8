"""Stream a history: each look sees only what was known then.

The first part trains; the rest is streamed as if live: looks open incidents, and a retrained
model serves from that moment if its gates open. The same rows are streamed under two other
policies: never retraining, and retraining every so many looks whatever happens.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from setpoint.backtest.figures import baseline, figures, micros, moment
from setpoint.backtest.policies import Setpoint, every, never
from setpoint.backtest.replay import Learn, Replay, Run, Served, Tell, all_rows, play
from setpoint.domain.calendar import parse_utc
from setpoint.domain.training import Rows
from setpoint.errors import DataError, StateError
from setpoint.stages import ingest, train
from setpoint.stages.assemble import history
from setpoint.stages.train import Training
from setpoint.workspace import StreamClock, Workspace

FEW_TIMES = 50
"""Up to so many different event times, e.g. years, the first of them trains by default."""
CRON_RETRAININGS = 4
FIRST_SHARE = 0.4
"""Else this share of the rows does."""


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
    replay = prepare(workspace, asked, tell, _learn)
    first = replay.first()
    model = Served.of_model("first", first.model)
    loop = Setpoint(replay, first)
    played = play(replay, loop, loop.serving)
    runs = {
        "never": play(replay, never, model),
        "cron": play(replay, every(cron or _often(replay)), model),
        "setpoint": played,
    }
    begin, rows = replay.begin, replay.rows
    return figures(workspace, rows, played.log, played.tally, begin, loop.first) | {
        "baselines": {
            name: baseline(workspace, rows, run.log.acted, begin, run.tally.trained)
            for name, run in runs.items()
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


def prepare(workspace: Workspace, asked: datetime | None, tell: Tell, learn: Learn) -> Replay:
    """Take the project's data in and make a replay of them.

    Args:
        workspace: A workspace of its own, with a replay's clock.
        asked: When the stream begins; default: as ``run_backtest``.
        tell: Where progress goes.
        learn: How a model is trained.

    Raises:
        DataError: The data cannot be read, or leave nothing to stream.
    """
    snapshot = ingest.ingest(workspace)
    table, rows = all_rows(workspace, history(workspace, datetime.max.replace(tzinfo=UTC)))
    begin, end = _begin(rows, asked), moment(int(rows.time.max()))
    tell(
        f"{len(rows):,} labelled rows; trains up to {begin:%Y-%m-%d %H:%M}, streams to "
        f"{end:%Y-%m-%d %H:%M}"
    )
    StreamClock(workspace.state).advance(begin)
    return Replay(workspace, snapshot, rows, table, begin, end, tell, learn)


def _learn(run: Run, now: datetime, since: datetime | None) -> Training:
    """From the snapshots, as the flows do."""
    rows, known = train.assemble(run.replay.workspace, now)
    return train.fit(run.replay.workspace, rows, known, since)


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


def _often(replay: Replay) -> int:
    looks = (replay.end - replay.begin) / replay.workspace.project.watch.every
    return max(1, round(looks / CRON_RETRAININGS))
