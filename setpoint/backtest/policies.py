"""When a model is retrained: policies to play a history under.

A policy is called after each look with the run and the event time. ``never``, ``every`` and
``on_psi`` are what teams do without a loop: train on all that is known, serve the result whatever
it is worth. ``Setpoint`` is the loop: incidents decide when, gates decide what serves.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.backtest.figures import micros
from setpoint.backtest.replay import Replay, Run, Served
from setpoint.domain.bundle import read_bundle
from setpoint.domain.drift import psi
from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.follow_up import FollowUp
from setpoint.domain.incidents import Cause, Incident, Status
from setpoint.domain.profile import Profile, build_profile, count
from setpoint.domain.rollout import Rollout, Stage
from setpoint.domain.training import Rows
from setpoint.errors import BundleError, DataError, ReleaseError, TrainingError
from setpoint.stages import fallback, follow_up, mitigate, respond, watch
from setpoint.stages import publish as publishing
from setpoint.stages.gates import run as gate
from setpoint.stages.roll_back import last_good
from setpoint.stages.train import Training
from setpoint.workspace import StreamClock

Policy = Callable[[Run, datetime], None]

UNTRAINABLE = (TrainingError, DataError, BundleError)
"""What ends a retraining and not the replay."""


def never(run: Run, now: datetime) -> None:
    """The first model serves to the end."""


def every(looks: int) -> Policy:
    """Retrain every so many looks, as a cron job does."""

    def policy(run: Run, now: datetime) -> None:
        if run.looks % looks == 0:
            _retrain(run, now, "cron")

    return policy


def on_psi(first: Training, limit: float = 0.25) -> Policy:
    """Retrain when PSI of any input is above a limit, whatever the sample and the labels say.

    The window is the project file's; the reference is what the serving model was trained and
    judged on.

    Args:
        first: The model that serves first.
        limit: PSI; .25 is the usual one (see ``domain.drift``).
    """
    profile = _profile(first)

    def policy(run: Run, now: datetime) -> None:
        nonlocal profile
        worst, where = _worst_psi(run, profile, now)
        if worst > limit:
            training = _retrain(run, now, f"PSI of {where} is {worst:.2f}")
            profile = profile if training is None else _profile(training)

    return policy


def _retrain(run: Run, now: datetime, why: str) -> Training | None:
    """Train on all that is known and serve it; ``None`` where that is not possible."""
    if now >= run.replay.end:
        return None  # it would decide nothing
    told = f"{why} at {now:%Y-%m-%d %H:%M}"
    try:
        training = run.learn(now)
    except UNTRAINABLE as err:  # its last model goes on, as a cron job's would
        run.replay.tell(f"{told}: not trained: {err.what}")
        return None
    run.serve(Served.of_model(now.isoformat(), training.model))
    run.tally.trained += 1
    run.replay.tell(f"{told}: trained")
    return training


def _profile(training: Training) -> Profile:
    split = training.split
    parts = (split.fit, split.tune, split.judge)
    return build_profile(
        {
            name: np.concatenate([values[name] for values in map(_columns, parts)])
            for name in _columns(split.fit)
        }
    )


def _columns(rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """Inputs by place; a profile does not ask for more."""
    numbers = {f"number {i}": column for i, column in enumerate(rows.numbers.T)}
    return numbers | {f"category {i}": column for i, column in enumerate(rows.categories.T)}


def _worst_psi(run: Run, profile: Profile, now: datetime) -> tuple[float, str]:
    """Largest PSI of any input over the window, and of which; 0 where there are no rows."""
    rows, window = run.replay.rows, run.replay.workspace.project.watch.window
    newest = rows.take((rows.time >= micros(now - window)) & (rows.time < micros(now)))
    if not len(newest):
        return 0.0, ""
    counts = count(profile, _columns(newest))
    names = run.replay.workspace.project.feature_spec().names
    found = [psi(one, counts.cells[one.name]) for one in profile.columns]
    worst = int(np.argmax(found))
    return found[worst], names[worst]


class Setpoint:
    """The loop itself, without a release: incidents decide when, and the gates alone what serves.

    Args:
        replay: The history; its workspace's state, registry and bundles are written.
        first: The model that serves first, whatever its gates say.
    """

    def __init__(self, replay: Replay, first: Training) -> None:
        self._replay = replay
        version, self.first = self._publish(first, "first")
        fallback.prepare(replay.workspace, first, replay.snapshot)
        if not self.first.passed:
            replay.tell(f"  served here all the same: {self.first.summary()}")
        self.serving = self._promote(version, "first")

    def __call__(self, run: Run, now: datetime) -> None:
        """Look, open incidents, respond to those that wait."""
        workspace, tell = self._replay.workspace, self._replay.tell
        StreamClock(workspace.state).advance(now)
        window = watch.look(workspace, now, run.log)
        if window is None:
            return
        worst = "; ".join(f"{f.name} {f.outcome}" for f in window.performance)
        drifted = sum(f.outcome == Outcome.FAILED for f in window.drift)
        tell(f"look at {now:%Y-%m-%d %H:%M}: {worst}; {drifted} inputs drift")
        for incident, new in watch.respond_to(workspace, window):
            if new:
                tell(f"  incident {incident.id}: {incident.cause}, {incident.status}")
                run.tally.alarms += [now] if incident.cause == Cause.PERFORMANCE else []
        for incident in respond.waiting(workspace, now):
            taken = respond.take(workspace, incident.id, "backtest")
            if taken is not None:
                answer = respond.answer_to(workspace, taken)
                if answer in respond.SWITCHES:
                    self._switch(run, taken, now, rule=answer == "fall_back")
                else:
                    self._respond(run, taken, now)
        due = follow_up.due(workspace, now)
        if due is not None and now < self._replay.end:
            follow_up.take(workspace, due.cause, now)
            self._follow(run, due, now)
        run.pause = watch.pause(workspace)

    def _respond(self, run: Run, taken: Incident, now: datetime) -> None:
        """What the respond flow would have done, without a release."""
        workspace, tally, tell = self._replay.workspace, run.tally, self._replay.tell
        since = respond.began(workspace, taken, now, run.log)
        try:
            training = run.learn(now, since)
            challenger, verdict = self._publish(training, taken.id)
            tally.trained += 1
            refusal = "" if verdict.passed else f"{challenger} refused: {verdict.summary()}"
        except UNTRAINABLE as err:
            refusal = f"not trained: {err.what}"
        if refusal:
            tell(f"  {refusal}")
            after = respond.failed(workspace, taken, refusal, since)
            if after.status == Status.NEEDS_PERSON:
                tally.gave_up.append(f"{after.id} since {now:%Y-%m-%d %H:%M}: {after.note}")
                tell(f"  {after.id} needs a person")
            return
        run.serve(self._promote(challenger, taken.id))
        respond.promoted(workspace, taken, challenger)
        tally.promoted.append(now)
        tell(f"  {challenger} promoted")

    def _switch(self, run: Run, taken: Incident, now: datetime, *, rule: bool) -> None:
        """What the respond flow would have done where another version is switched to."""
        workspace, tell = self._replay.workspace, self._replay.tell
        choose = fallback.version_of if rule else last_good
        try:
            version = choose(workspace, taken.version)
        except ReleaseError as err:
            after = respond.held(workspace, taken, err.what)
        else:
            run.serve(self._promote(version, taken.id, back=True, rule=rule))
            rollout = workspace.state.promoted_releases()[-1]
            after = respond.switched(workspace, taken, rollout)
            run.tally.promoted.append(now)
        tell(f"  {after.note}")
        if after.status == Status.NEEDS_PERSON:
            run.tally.gave_up.append(f"{after.id} since {now:%Y-%m-%d %H:%M}: {after.note}")
            tell(f"  {after.id} needs a person")

    def _follow(self, run: Run, due: FollowUp, now: datetime) -> None:
        """What the deliver flow would have done after a heal, without a release."""
        try:
            training = run.learn(now, due.since)
            challenger, verdict = self._publish(training, due.cause)
        except UNTRAINABLE as err:
            self._replay.tell(f"  {due.cause} not trained: {err.what}")
            return
        run.tally.trained += 1
        if verdict.passed:
            run.serve(self._promote(challenger, due.cause))
        self._replay.tell(f"  {challenger}, {due.cause}: {verdict.summary()}")

    def _publish(self, training: Training, cause: str) -> tuple[str, Verdict]:
        """The version that came of a training, and of what its project file has tried after it."""
        workspace = self._replay.workspace
        judge = partial(self._judged, cause=cause)
        try_way = partial(mitigate.mitigated, workspace.project)
        best = mitigate.until_fair(workspace, judge(training), try_way, judge)
        if best.impossible:
            self._replay.tell(f"  {best.impossible}")
        return best.candidate.version, best.verdict

    def _judged(self, training: Training, cause: str) -> mitigate.Judged:
        workspace = self._replay.workspace
        candidate = publishing.publish(workspace, training, self._replay.snapshot, cause)
        verdict = gate.run_gates(workspace, candidate, training, cause, gate.JUDGING)
        gate.record_verdict(workspace, candidate, verdict, cause)
        told = f"  {candidate.version} trained on {len(training.split.fit):,} rows"
        self._replay.tell(f"{told}; gates {verdict.outcome}")
        return mitigate.Judged(training, candidate, verdict)

    def _promote(
        self, version: str, cause: str, *, back: bool = False, rule: bool = False
    ) -> Served:
        workspace = self._replay.workspace
        before = workspace.champion()
        done = Rollout(
            version, before, (), Stage.PROMOTED, cause=cause, back=back, rule=rule, settled=True
        )
        workspace.state.begin_release(done)
        workspace.registry.point(CHAMPION, version)
        return Served.of_bundle(read_bundle(workspace.bundle(version)))
