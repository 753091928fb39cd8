"""A history on its way through the loop, and one policy's passage through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.backtest.figures import Tally, micros
from setpoint.backtest.log import Replayed
from setpoint.domain.arrivals import integers
from setpoint.domain.bundle import Bundle
from setpoint.domain.training import Rows, TrainedModel, as_rows
from setpoint.stages.assemble import History, final_labels, kept_columns
from setpoint.stages.broken import inside, spans
from setpoint.stages.gates.beside import bundle_scores
from setpoint.stages.ingest import Ingested
from setpoint.stages.train import Training
from setpoint.workspace import Workspace

Bools = npt.NDArray[np.bool_]
Tell = Callable[[str], None]
Learn = Callable[["Run", datetime, "datetime | None"], Training]


@dataclass(frozen=True)
class Served:
    """What decides: calibrated scores of rows, [n], and the threshold from which to act."""

    version: str
    scores: Callable[[Rows], npt.NDArray[np.float64]]
    threshold: float

    @classmethod
    def of_model(cls, version: str, model: TrainedModel) -> Served:
        """A model as it was trained."""
        return cls(version, model.scores, model.threshold)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Served:
        """A model as it is deployed."""
        version, threshold = bundle.manifest.version, bundle.decision.threshold
        return cls(version, lambda rows: bundle_scores(bundle, rows), threshold)


@dataclass(frozen=True)
class Replay:
    """A history to stream.

    Attributes:
        workspace: The project, with a replay's clock.
        snapshot: What the training data are.
        rows: Rows in event-time order, with final labels.
        table: The same as a decision log has them (see ``log.Replayed``).
        begin: From when on is streamed; what was before trains the first model.
        end: The last event.
        tell: Where progress goes, a line at a time.
        learn: Trains on what a run knows at a moment; the time from which on is judged, if not
            the project file's.
        deliver: Labels (int8, null: never) and when each becomes known, given the rows that were
            acted on, [n]; none: those of ``table``, whatever is decided.
    """

    workspace: Workspace
    snapshot: Ingested
    rows: Rows
    table: pa.Table
    begin: datetime
    end: datetime
    tell: Tell
    learn: Learn
    deliver: Callable[[Bools], tuple[pa.Array, pa.Array]] | None = None

    def first(self) -> Training:
        """The model that serves first: trained on what is known when the stream begins.

        Raises:
            TrainingError: The rows do not allow it.
            DataError: The label is constant.
        """
        nobody = Served("", lambda rows: np.zeros(len(rows)), 1.0)
        return self.learn(Run.start(self, nobody), self.begin, None)


def all_rows(workspace: Workspace, known: History) -> tuple[pa.Table, Rows]:
    """Rows of a whole history in event-time order, features as of each row's own arrival.

    Returns:
        The table of a decision log over them, and the rows.
    """
    from setpoint.adapters.duckdb_features import compute

    project = workspace.project
    spec = project.feature_spec()
    features = compute(spec, known.events, known.labels)
    label, told = final_labels(workspace, known)
    keep = pc.is_valid(label)
    events = known.events.append_column("label", label).append_column("label_known_at", told)
    wanted = kept_columns(workspace)
    order = pc.sort_indices(events.filter(keep)[spec.event_time])
    events, features = events.filter(keep).take(order), features.filter(keep).take(order)
    rows = as_rows(spec, features, events, project.sticky_column, wanted)
    columns = {
        "id": events[spec.event_id],
        "event_time": events[spec.event_time],
        "label": events["label"],
        "label_known_at": events["label_known_at"],
    }
    columns |= {n: events[n] for n in {*wanted, project.sticky_column} - set(columns)}
    columns |= {f"f_{n}": features[n] for n in spec.names}
    return pa.table(columns), rows


@dataclass
class Run:
    """One policy's passage through a replay.

    Attributes:
        replay: What is streamed.
        log: What was decided.
        serving: What decides from now on.
        until: Every row before this event time is decided.
        looks: How often was looked.
        pause: Event time until the next look.
        tally: What was done.
    """

    replay: Replay
    log: Replayed
    serving: Served
    until: datetime
    pause: timedelta
    looks: int = 0
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def start(cls, replay: Replay, serving: Served) -> Run:
        """A run that has decided nothing yet."""
        project, n = replay.workspace.project, len(replay.rows)
        actions = (project.actions.positive, project.actions.negative)
        nothing = (np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool), np.full(n, "", dtype=object))
        log = Replayed(replay.table, actions, *nothing)
        run = cls(replay, log, serving, replay.begin, project.watch.every)
        run.serve(serving)
        run._deliver()
        return run

    def serve(self, serving: Served) -> None:
        """Let another model decide from now on; it scores all that is to come at once."""
        self.serving = serving
        part = self.replay.rows.time >= micros(self.until)
        if part.any():
            self.log.score[part] = serving.scores(self.replay.rows.take(part))

    def decide(self, until: datetime) -> None:
        """Let what serves decide every row up to ``until``, exclusive."""
        time, log = self.replay.rows.time, self.log
        part = (time >= micros(self.until)) & (time < micros(until))
        log.threshold[part] = self.serving.threshold
        log.acted[part] = log.score[part] >= self.serving.threshold
        log.version[part] = self.serving.version
        self.until = until
        self._deliver()

    def _deliver(self) -> None:
        if self.replay.deliver is None:
            return
        label, told = self.replay.deliver(self.log.acted)
        for name, values in (("label", label), ("label_known_at", told)):
            place = self.log.table.column_names.index(name)
            self.log.table = self.log.table.set_column(place, name, values)

    def learn(self, now: datetime, since: datetime | None = None) -> Training:
        """Train on what is known at ``now``.

        Raises:
            TrainingError: The rows do not allow it.
            DataError: The label is constant.
        """
        return self.replay.learn(self, now, since)

    def known_rows(self, now: datetime) -> Rows:
        """Rows whose labels are complete at ``now``, with the labels that are known by then.

        What ``assemble.training_rows`` finds, without computing a feature again; of a label that
        was corrected, the correction alone is known.
        """
        project, rows = self.replay.workspace.project, self.replay.rows
        table = self.log.table
        told = pc.fill_null(pc.less_equal(table["label_known_at"], pa.scalar(now)), False)
        seen = np.asarray(pc.and_(told, pc.is_valid(table["label"])))
        ripe = micros(now - project.target.delay)
        keep = (rows.time <= ripe) & ~inside(spans(self.replay.workspace), rows.time)
        if project.train.history is not None:
            keep &= rows.time > ripe - project.train.history // timedelta(microseconds=1)
        if project.target.unlabelled == "drop":
            keep &= seen
        label = np.where(seen, integers(pc.fill_null(table["label"], 0)), 0).astype(np.int8)
        return replace(rows, label=label).take(keep)


def play(replay: Replay, policy: Callable[[Run, datetime], None], serving: Served) -> Run:
    """Stream the history under a policy, which has its say at each look and may set the next.

    Args:
        replay: The history.
        policy: Called with the run and the event time; it may let another model serve.
        serving: What decides first.
    """
    run, now = Run.start(replay, serving), replay.begin
    while now < replay.end:
        now = min(now + run.pause, replay.end + timedelta(seconds=1))
        run.decide(now)
        run.looks += 1
        policy(run, now)
    return run
