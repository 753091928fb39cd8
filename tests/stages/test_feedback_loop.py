"""A fraud that the model is blind to and nobody disputes: unseen by selective labels, found by an
audit, and learned from exploration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from setpoint.adapters.duckdb_features import compute
from setpoint.config import Environment, load_project
from setpoint.domain.arrivals import with_arrival
from setpoint.domain.exploration import explores
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates.setpoints import setpoint_finding
from setpoint.domain.selection import Selected, blind_spot, label_coverage, watch_recall
from setpoint.domain.training import Rows, TrainedModel, as_rows
from setpoint.domain.world import DEMO, Drift, World, generate
from setpoint.ports import Decision, Label
from setpoint.stages.assemble import History, training_rows
from setpoint.stages.coverage import selected_rows
from setpoint.stages.gates.performance import targets
from setpoint.stages.ripe import judged_decisions, ripe_window
from setpoint.stages.train import fit
from setpoint.stages.worldfiles import PROJECT
from setpoint.workspace import Workspace

HISTORY, BEGINS, SECOND, END = 40, 42, 82, 96
"""Days: the first model is trained, the new fraud begins, the second model, the world ends."""
SHARE = 0.03
DIGEST = "d" * 64
UNNOTICED = 5
ERROR_RATE = 0.005
EDGES = (0.01, 0.02)
LARGER = replace(DEMO, seed=3, days=END, customers=1200, terminals=2400)


@cache
def world() -> World:
    """Small online frauds that nobody disputes, besides all others, at twice their usual rate."""
    return generate(replace(LARGER, drift=Drift("blind_spot", BEGINS, 2.0)))


def moment(day: int) -> datetime:
    """Midnight of a day."""
    return world().config.start + timedelta(days=day)


def days() -> np.ndarray:
    """Day of each payment, a fraction included."""
    start = np.datetime64(world().config.start.replace(tzinfo=None), "us")
    return np.asarray((world().time - start) / np.timedelta64(1, "D"))


def workspace(folder: Path, share: float) -> Workspace:
    """The card project with a share that is explored."""
    text = PROJECT.read_text("utf-8").replace("trials: 4, max_iter: 60", "trials: 1, max_iter: 40")
    text = text.replace("window: 8d", "window: 30d") + f"\nexploration: {{share: {share}}}\n"
    file = folder / "setpoint.yaml"
    file.write_text(text, "utf-8")
    return Workspace(load_project(file), file, folder, Environment())


def known(place: Workspace, reviewed: np.ndarray, day: int) -> History:
    """What was known at a day, if so many payments were reviewed."""
    times = world().labels(reviewed)
    now = moment(day)
    told = np.flatnonzero(times <= np.datetime64(now.replace(tzinfo=None), "us"))
    told = told[np.argsort(times[told], kind="stable")]
    labels = pa.table(
        {
            "tx_id": world().events["tx_id"].take(pa.array(told)),
            "label": pa.array(world().fraud[told], pa.int8()),
            "known_at": pa.array(times[told]).cast(pa.timestamp("us", "UTC")),
        }
    )
    events = world().events
    events = events.filter(pc.less_equal(events["time"], pa.scalar(now)))
    return History(*with_arrival(place.project.feature_spec(), events, labels), now)  # type: ignore[arg-type]


def train(place: Workspace, history: History) -> TrainedModel:
    """A model of all that is known."""
    return fit(place, training_rows(place, history), history).model


@dataclass(frozen=True)
class First:
    """The first model, and all payments as it sees them."""

    model: TrainedModel
    rows: Rows

    @property
    def scores(self) -> np.ndarray:
        """Its scores of all payments."""
        return self.model.scores(self.rows)

    def true_recall(self) -> float:
        """Share of all frauds that it finds, the new ones too, while it serves."""
        part = (days() >= BEGINS) & (days() < SECOND) & (world().fraud == 1)
        return float((self.scores[part] >= self.model.threshold).mean())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """Trained on what is known before the new fraud begins."""
    place = workspace(tmp_path_factory.mktemp("first"), 0.0)
    nobody = np.zeros(len(world()), dtype=bool)
    spec = place.project.feature_spec()
    model = train(place, known(place, nobody, HISTORY))
    history = known(place, nobody, END)
    features = compute(spec, history.events, history.labels)
    events = history.events.append_column("label", pa.array(world().fraud, pa.int8()))
    return First(model, as_rows(spec, features, events, "customer_id", ["amount", "sex"]))


@dataclass(frozen=True)
class Played:
    """A world in which the first model decided until the second was trained.

    Attributes:
        first: The first model.
        place: The project, with the decisions.
        seen: Decisions of the last window, and what was told of them.
        second: The model that was trained then.
    """

    first: First
    place: Workspace
    seen: Selected
    second: TrainedModel

    def setpoint(self) -> Finding:
        """The recall as it is watched on labels as they come."""
        now = moment(SECOND)
        judged = judged_decisions(
            self.place, ripe_window(self.place, self.place.decisions, "v1", now)
        )
        [target] = [t for t in targets(self.place) if t.metric == "recall"]
        return setpoint_finding(
            target, judged, reading="watch", error_rate=ERROR_RATE, min_sample=20
        )

    def recall_of_the_pattern(self, model: TrainedModel) -> float:
        """The share of the new frauds that a model finds in days that it was not trained on."""
        return float(self._acted(model)[world().scenario[days() >= SECOND] == UNNOTICED].mean())

    def precision(self, model: TrainedModel) -> float:
        """The share of frauds among what it sends to review in those days."""
        return float(world().fraud[days() >= SECOND][self._acted(model)].mean())

    def _acted(self, model: TrainedModel) -> np.ndarray:
        return model.scores(self.first.rows.take(days() >= SECOND)) >= model.threshold


def play(first: First, place: Workspace, share: float) -> Played:
    """Forty days under the first model, then a second one."""
    above = first.scores >= first.model.threshold
    live = (days() >= HISTORY) & (days() < SECOND)
    drawn = [explores(one, DIGEST, share) for one in world().events["tx_id"].to_pylist()]
    reviewed = live & (above | np.array(drawn))
    _log(place, first, live, reviewed, share)
    second = train(place, known(place, reviewed, SECOND))
    seen = selected_rows(place, place.decisions, "v1", moment(SECOND))
    return Played(first, place, seen, second)


@pytest.fixture(scope="module")
def blind(first: First, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Without exploration."""
    return play(first, workspace(tmp_path_factory.mktemp("blind"), 0.0), 0.0)


@pytest.fixture(scope="module")
def seeing(first: First, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """With exploration."""
    return play(first, workspace(tmp_path_factory.mktemp("seeing"), SHARE), SHARE)


def _log(
    place: Workspace, first: First, live: np.ndarray, reviewed: np.ndarray, share: float
) -> None:
    scores, threshold = first.scores, first.model.threshold
    times = world().labels(reviewed)
    chosen = np.flatnonzero(live)
    table = world().events.take(pa.array(chosen)).to_pylist()
    place.decisions.append(
        [
            Decision(
                id=row["tx_id"],
                event_time=row["time"],
                request={"amount": row["amount"], "sex": row["sex"]},
                features={},
                score=float(scores[i]),
                threshold=threshold,
                action="review" if reviewed[i] else "approve",
                reasons=(),
                version="v1",
                bundle_digest=DIGEST,
                label_propensity=None if not share else 1.0 if scores[i] >= threshold else share,
            )
            for i, row in zip(chosen.tolist(), table, strict=True)
        ]
    )
    told = chosen[~np.isnat(times[chosen])]
    at = pa.array(times[told]).cast(pa.timestamp("us", "UTC")).to_pylist()
    place.decisions.add_labels(
        [
            Label(f"t{i:07d}", int(world().fraud[i]), when)
            for i, when in zip(told.tolist(), at, strict=True)
        ]
    )


def test_the_first_model_is_blind_to_the_new_fraud(blind: Played, first: First) -> None:
    assert blind.recall_of_the_pattern(first.model) < 0.1


def test_selective_labels_say_that_all_is_well_and_the_audit_that_nothing_is_known(
    blind: Played, first: First
) -> None:
    watched = blind.setpoint()
    assert watched.outcome == Outcome.PASSED
    assert watched.value is not None and watched.value > 1.8 * first.true_recall()
    coverage = label_coverage(blind.seen, EDGES, first.model.threshold)
    assert coverage.outcome == Outcome.FAILED and coverage.value == pytest.approx(0.9, abs=0.1)
    assert blind_spot(blind.seen, ERROR_RATE).outcome == Outcome.INCONCLUSIVE


def test_exploration_finds_the_blind_spot_and_the_true_recall(seeing: Played, first: First) -> None:
    assert blind_spot(seeing.seen, ERROR_RATE).outcome == Outcome.FAILED
    assert label_coverage(seeing.seen, EDGES, first.model.threshold).passed
    weighted = watch_recall(seeing.seen, "recall", 0.28, "floor", ERROR_RATE, 20)
    assert weighted.interval is not None
    assert weighted.interval[0] < first.true_recall() < weighted.interval[1]
    assert weighted.value == pytest.approx(first.true_recall(), abs=0.08)


def test_retraining_recovers_the_pattern_with_exploration(seeing: Played) -> None:
    assert seeing.recall_of_the_pattern(seeing.second) > 0.6
    assert seeing.precision(seeing.second) > 0.4


def test_retraining_without_exploration_learns_nothing_of_it(blind: Played) -> None:
    assert blind.recall_of_the_pattern(blind.second) < 0.1
