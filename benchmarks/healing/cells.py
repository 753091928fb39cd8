"""One world under every policy: what each costs by the truth, and how often it retrains.

Features are computed once for a world and all models are trained by the stage that the flows call,
on rows known at that moment; the same rows train one model, whichever policy asks. Labels are
delivered one way whatever is decided (disputes alone, nothing reviewed), for they are judged at an
age of ten days, when disputes have come; only where blindness is the matter do they follow what
each policy reviews.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.healing.scenarios import BEGIN, DRIFT_AFTER, TRAINED_DAYS, Scenario
from benchmarks.healing.summary import DAILY, OURS
from setpoint.adapters.mlflow_registry import CHAMPION, Registry
from setpoint.backtest.figures import micros, moment
from setpoint.backtest.policies import Policy, Setpoint, every, never, on_psi
from setpoint.backtest.replay import Replay, Run, Served, all_rows, play
from setpoint.backtest.run import prepare
from setpoint.config import Environment, Project, load_project
from setpoint.domain.arrivals import with_arrival
from setpoint.domain.incidents import Cause
from setpoint.domain.split import hash_share
from setpoint.domain.training import Rows
from setpoint.domain.validation import check_label
from setpoint.domain.world import World, generate
from setpoint.errors import TrainingError
from setpoint.stages import respond, train
from setpoint.stages.assemble import History
from setpoint.stages.broken import NEWEST
from setpoint.stages.ingest import Ingested
from setpoint.stages.worldfiles import PROJECT
from setpoint.workspace import StreamClock, Workspace

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "employment_ma.yaml"
PEOPLE_FILES = ("reference", "analysis", "analysis_target")
PEOPLE_SHARE = 0.1
"""Each seed is another sample of a tenth of the people."""
CALENDAR, RISKS = ("weekend", "night"), tuple(timedelta(days=d) for d in (1, 7, 30))
"""Inputs of the card worlds: the example's, and some that carry little, as a team's first file."""
TRIALS, TREES = 3, 30
"""Of each search: the defaults, recent rows counting most, and rows since the change alone."""
Money = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float64]]


class Memo:
    """Trains, once for the same rows."""

    def __init__(self) -> None:
        self._kept: dict[str, train.Training] = {}

    def __call__(self, run: Run, now: datetime, since: datetime | None) -> train.Training:
        """Train as the flows do, on what the run knows.

        Raises:
            TrainingError: No label is complete, or the rows do not allow it.
            DataError: The label is constant.
        """
        workspace = run.replay.workspace
        rows = run.known_rows(now)
        if not len(rows):
            raise TrainingError("no label is complete", where="training data", fix="wait")
        check_label(pa.table({"label": rows.label}), "label", workspace.project.target.column)
        known = _known(run, now)
        key = _digest(workspace.project, rows, since)
        if key not in self._kept:
            self._kept[key] = train.fit(workspace, rows, known, since)
        return replace(self._kept[key], known=known)

    def forget_after(self, moment: datetime) -> None:
        """Keep what other worlds of the seed share: models of before their drift."""
        self._kept = {k: t for k, t in self._kept.items() if t.known.now <= moment}


def _known(run: Run, now: datetime) -> History:
    """Events and labels that are known; without inputs, for features are not computed again."""
    data, table = run.replay.workspace.project.data, run.log.table
    told = pc.fill_null(pc.less_equal(table["label_known_at"], pa.scalar(now)), False)
    labels = table.filter(told)
    return History(
        pa.table({data.event_id: table["id"], data.event_time: table["event_time"]}),
        pa.table(
            {
                data.event_id: labels["id"],
                "label": labels["label"],
                "known_at": labels["label_known_at"],
            }
        ),
        now,
    )


def _digest(project: Project, rows: Rows, since: datetime | None) -> str:
    found = hashlib.blake2b(f"{since} {project.feature_spec()} {project.train}".encode())
    weight = () if rows.weight is None else (rows.weight,)
    arrays = (rows.time, rows.numbers, rows.label, *weight, *rows.columns.values())
    for array in arrays:
        found.update((array.astype(str) if array.dtype == "O" else array).tobytes())
    found.update("\0".join([*rows.ids.tolist(), *rows.categories.ravel().tolist()]).encode())
    return found.hexdigest()


def play_cards(scenario: Scenario, seed: int, memo: Memo) -> dict[str, Any]:
    """Every policy on one card world."""
    with tempfile.TemporaryDirectory() as folder:
        replay, money = cards(scenario, seed, Path(folder), memo)
        repaired = None
        if scenario.repaired is not None:
            repaired = replay.begin + timedelta(days=scenario.repaired)
        played = _played(replay, money, {DAILY: 1, "weekly": 7}, repaired)
        delay = replay.workspace.project.target.delay
        memo.forget_after(replay.begin + timedelta(days=DRIFT_AFTER) + delay)
    return played


def play_people(seed: int, folder: Path) -> dict[str, Any]:
    """Every policy on a sample of people; looks are a year apart, so daily is yearly there."""
    with tempfile.TemporaryDirectory() as root:
        _sample(folder, Path(root), seed)
        file = Path(root) / EXAMPLE.name
        shutil.copy(EXAMPLE, file)
        project = _quick(load_project(file), seed)
        workspace = Workspace(project, file, Path(root) / "state", Environment(), replay=True)
        workspace.root.mkdir()
        replay = prepare(workspace, None, lambda _: None, Memo())
        costs, rows = project.costs.matrix(), replay.rows
        return _played(
            replay, lambda acted: costs.of(rows.label, acted, rows.columns), {"daily": 1}
        )


def _sample(source: Path, folder: Path, seed: int) -> None:
    for name in PEOPLE_FILES:
        table = pq.read_table(source / f"employment_MA_{name}.parquet")
        # by id, so that people and what became of them are drawn alike
        drawn = [hash_share(f"{seed} {one}") < PEOPLE_SHARE for one in table["id"].to_pylist()]
        pq.write_table(table.filter(pa.array(drawn)), folder / f"employment_MA_{name}.parquet")


def _quick(project: Project, seed: int) -> Project:
    """The project with short searches, the seed, and nothing built beside the bundle."""
    training = project.train.model_copy(update={"trials": TRIALS, "max_iter": TREES, "seed": seed})
    return project.model_copy(update={"train": training})


def cards(scenario: Scenario, seed: int, root: Path, memo: Memo) -> tuple[Replay, Money]:
    """A card world to replay, and what decisions cost by its truth, of streamed rows alone."""
    project = _quick(load_project(PROJECT), seed)
    history = timedelta(days=TRAINED_DAYS)
    training = project.train.model_copy(update={"history": history})
    risks = tuple(r.model_copy(update={"over": RISKS}) for r in project.features.risks)
    risks = () if scenario.selective else risks
    features = project.features.model_copy(update={"calendar": CALENDAR, "risks": risks})
    held = {n: s for n, s in project.setpoints.items() if s.metric != "precision"}
    project = project.model_copy(
        update={"train": training, "features": features, "setpoints": held}
    )
    workspace = Workspace(project, PROJECT, root, Environment(), replay=True)
    world = generate(scenario.config(seed))
    begin = world.config.start + timedelta(days=BEGIN)
    StreamClock(workspace.state).advance(begin)
    (root / "mlflow.db").write_bytes(_empty_registry())
    table, rows = all_rows(workspace, _history(project, world))
    place = np.array([int(one[1:]) for one in rows.ids.tolist()])  # row of the world
    deliver = _reviewed(world, place, begin) if scenario.selective else None
    snapshot = Ingested(
        hashlib.sha256(repr(world.config).encode()).hexdigest(), 0, 0, len(rows), ()
    )
    end = moment(int(rows.time.max()))
    replay = Replay(workspace, snapshot, rows, table, begin, end, lambda _: None, memo, deliver)
    costs = project.costs.matrix()

    def money(acted: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return costs.of(world.fraud[place], acted, {"amount": world.amount[place]})

    return replay, money


@cache
def _empty_registry() -> bytes:
    """MLflow's database before anything is in it: to make its tables takes it seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        Registry(f"sqlite:///{file}", Path(folder), "none").version_of(CHAMPION)
        return file.read_bytes()


def _history(project: Project, world: World) -> History:
    """All payments, and frauds as they are disputed; as the snapshots of the project have them."""
    known = world.labels(np.zeros(len(world), dtype=bool))
    rows = np.flatnonzero(~np.isnat(known))
    labels = pa.table(
        {
            "tx_id": world.events["tx_id"].take(pa.array(rows)),
            "label": pa.array(world.fraud[rows], pa.int8()),
            "known_at": pa.array(known[rows]).cast(pa.timestamp("us", "UTC")),
        }
    ).sort_by([("known_at", "ascending")])
    events, numbered = with_arrival(project.feature_spec(), world.events, labels)
    return History(events, numbered, world.config.start + timedelta(days=world.config.days))


def _reviewed(
    world: World, place: npt.NDArray[np.int64], begin: datetime
) -> Callable[[npt.NDArray[np.bool_]], tuple[pa.Array, pa.Array]]:
    """Labels of reviewed payments; before the stream begins all were."""
    before = world.time[place] < np.datetime64(begin.replace(tzinfo=None), "us")
    fraud = pa.array(world.fraud[place], pa.int8())

    def deliver(acted: npt.NDArray[np.bool_]) -> tuple[pa.Array, pa.Array]:
        known = world.label_times(place, acted | before)
        never_told = pa.array(np.isnat(known))
        told = pa.array(known).cast(pa.timestamp("us", "UTC"))
        return pc.if_else(never_told, pa.scalar(None, pa.int8()), fraud), told

    return deliver


def _played(
    replay: Replay, money: Money, crons: Mapping[str, int], repaired: datetime | None = None
) -> dict[str, Any]:
    """Money of every policy over the streamed rows, in all and by day, and its retrainings."""
    told: list[str] = []
    first = replay.first()
    model = Served.of_model("first", first.model)
    policies: dict[str, Policy] = {"never": never}
    policies |= {name: every(looks) for name, looks in crons.items()}
    policies["psi alarm"] = on_psi(first)
    found = {
        name: _figures(play(replay, policy, model), money) for name, policy in policies.items()
    }
    loop = Setpoint(replace(replay, tell=told.append), first)
    run = play(replay, _with_owner(loop, repaired), loop.serving)
    return found | {
        OURS: _figures(run, money)
        | {
            "alarms": [str(a) for a in run.tally.alarms],
            "promoted": [str(p) for p in run.tally.promoted],
            "told": told,
        }
    }


def _figures(run: Run, money: Money) -> dict[str, Any]:
    replay = run.replay
    since = replay.rows.time - micros(replay.begin)
    streamed = since >= 0
    spent = money(run.log.acted)[streamed]
    every_look = replay.workspace.project.watch.every // timedelta(microseconds=1)
    return {
        "money": round(float(spent.sum()), 2),
        "retrainings": run.tally.trained,
        "by_look": np.bincount(since[streamed] // every_look, weights=spent).round(1).tolist(),
    }


def _with_owner(loop: Setpoint, repaired: datetime | None) -> Policy:
    """The loop, and the owner of the data, who ends incidents about them once they are repaired
    and the newest decisions show it.
    """

    def policy(run: Run, now: datetime) -> None:
        loop(run, now)
        workspace = run.replay.workspace
        if repaired is None or now < repaired + workspace.project.watch.window / NEWEST:
            return
        for incident in workspace.state.incidents(only_open=True):
            if incident.cause == Cause.FAULT:
                respond.by_person(workspace, incident.id, "the data are repaired", retry=False)

    return policy
