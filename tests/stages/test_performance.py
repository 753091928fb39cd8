"""What labels say of the model in service, as it is looked at again and again."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.ports import Decision, Label
from setpoint.stages import respond
from setpoint.stages.estimates import estimates
from setpoint.stages.ingest import current, ingest
from setpoint.stages.performance import performance
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import APART, T0, deliver, make_frame, make_workspace

DAY = timedelta(days=1)
PROJECT = (
    APART.replace('positive: "1", delay: 1d', 'positive: "1", delay: 1d, unlabelled: negative')
    .replace("ranking: {metric: roc_auc, floor: 0.6}", "caught: {metric: recall, floor: 0.3}")
    + "watch: {window: 6d, every: 1d, error_rate: 0.01}\n"
)  # fmt: skip
A_DAY = 200


@dataclass
class Served:
    """A version, and decisions of it as they come."""

    workspace: Workspace
    bundle: Bundle

    def day(self, day: int, missed: float, alike: bool = True) -> datetime:
        """A day of decisions with labels; so large a share of the positives is missed."""
        rng = np.random.default_rng(day)
        begin = T0 + day * DAY
        decisions, labels = [], []
        for i in range(A_DAY):
            positive = i % 4 == 0
            acted = positive and rng.random() >= missed
            when = begin + DAY * (i / A_DAY)
            one = Decision(
                id=f"{day}-{i}",
                event_time=when,
                request={"sex": "f" if alike or not positive or acted else "m"},
                features={"x": float(rng.normal()), "y": 0.0, "kind": "a", "hour": 3.0},
                score=0.8 if acted else 0.1,
                threshold=0.5,
                action="review" if acted else "approve",
                reasons=(),
                version=self.bundle.manifest.version,
                bundle_digest="0" * 64,
            )
            decisions.append(one)
            labels.append(Label(one.id, int(positive), when + timedelta(hours=1)))
        self.workspace.decisions.append(decisions)
        self.workspace.decisions.add_labels(labels)
        return begin + DAY

    def look(self, now: datetime) -> dict[str, Finding]:
        """Findings by name."""
        found = performance(self.workspace, self.workspace.decisions, self.bundle, now, 0.005)
        return {f.name: f for f in found}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A version whose labels came five hours late, if they came."""
    workspace = make_workspace(tmp_path_factory.mktemp("performance"), PROJECT)
    frame = make_frame(1500)
    deliver(workspace, "1.parquet", frame.drop(columns="bad"))
    labels = frame[["id", "bad"]].assign(known_at=frame["at"] + timedelta(hours=5))
    deliver(workspace, "1.parquet", labels[labels["bad"] == "1"], "labels")
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    made = publish(workspace, training, snapshot, "first")
    return Served(workspace, read_bundle(workspace.bundle(made.version)))


@pytest.fixture
def served(trained: Served) -> Served:
    """The same with nothing served yet."""
    trained.workspace.decisions.forget(T0 + 99 * DAY)
    with sqlite3.connect(trained.workspace.state.path) as state:
        state.execute("DELETE FROM facts WHERE name LIKE 'misses:%'")
        state.execute("DELETE FROM incidents")
    return trained


def test_training_leaves_what_the_watch_needs(served: Served) -> None:
    kept = served.bundle.profile
    assert kept["cost"]["rows"] == kept["misses"]["rows"] == kept["rows"]
    assert kept["label_ages"]["sample"] >= 50
    assert max(kept["label_ages"]["seconds"]) == pytest.approx(5 * 3600, rel=1e-3)
    assert len(kept["estimates"]["recall"]) == 10


def test_positives_that_were_reviewed_say_nothing_of_how_late_complaints_come(
    served: Served,
) -> None:
    workspace, frame = served.workspace, make_frame(1500)
    by_label = [frame["id"][frame["bad"] == bad][:100] for bad in "10"]
    reviewed = Decision("", T0, {}, {}, 0.8, 0.5, "review", (), "v1", "0" * 64)
    workspace.decisions.append([replace(reviewed, id=one) for ids in by_label for one in ids])
    training = fit(workspace, *assemble(workspace, None))
    made = publish(workspace, training, current(workspace), "again")
    kept = read_bundle(workspace.bundle(made.version)).profile["label_ages"]
    assert kept["sample"] == served.bundle.profile["label_ages"]["sample"] - 100


def test_a_rise_of_misses_is_found_over_several_looks_and_each_row_counts_once(
    served: Served,
) -> None:
    base = served.bundle.profile["misses"]
    rate = 4 * base["missed"] / base["rows"]
    seen, alarms = 0, []
    for day in range(24):
        now = served.day(day, missed=min(1.0, rate if day < 8 else 1.0))
        found = served.look(now)["misses"]
        if day >= 3:
            assert found.sample >= seen
        seen = found.sample
        alarms.append(found.outcome == Outcome.FAILED)
        if alarms[-1]:
            break
    assert not any(alarms[:8]) and alarms[-1]


def test_an_alarm_of_misses_is_over_a_window_later_if_they_are_rare_again(served: Served) -> None:
    states = []
    for day in range(20):
        now = served.day(day, missed=1.0 if day < 3 else 0.0)
        states.append(served.look(now)["misses"].outcome)
    assert Outcome.FAILED in states
    assert states[-1] == Outcome.PASSED


def _fault(served: Served, opened_at: datetime) -> Incident:
    finding = Finding("fault", Outcome.FAILED, 0.5, 0.25, "ceiling", 500, 0.001, "in cents")
    version = served.bundle.manifest.version
    fault = Incident(
        "", Cause.FAULT, Severity.HIGH, Status.NEEDS_PERSON, opened_at, version, (finding,)
    )
    return served.workspace.state.open_incident(fault)[0]


def _claimed(served: Served, missed: list[float], end: str) -> list[Finding]:
    """Looks a day, where the data of day 6 on are claimed broken on day 8 and ended on day 16."""
    found, fault = [], None
    for day, share in enumerate(missed):
        now = served.day(day, share)
        if day == 8 and end != "never claimed":
            fault = _fault(served, T0 + 8 * DAY)
        if day == 16 and fault is not None:
            if end == "sound":
                respond.by_person(served.workspace, fault.id, "a sale", retry=False, sound=True)
            else:
                ended = fault.move(Status.RESOLVED, at=T0 + 16 * DAY)
                served.workspace.state.move_incident(fault, ended, now)
        found.append(served.look(now)["misses"])
    return found


@pytest.mark.parametrize("missed", [[0.0] * 18, [0.0] * 11 + [1.0] * 7], ids=["calm", "rising"])
def test_rows_of_a_fault_that_was_taken_back_are_judged_once_as_if_it_had_never_been(
    served: Served, missed: list[float]
) -> None:
    taken_back = _claimed(served, missed, "sound")
    assert {f.sample for f in taken_back[8:16]} == {7 * A_DAY, 0}, "it waits, then nothing is ripe"
    assert {f.outcome for f in taken_back[8:16]} == {Outcome.INCONCLUSIVE}
    assert "wait for the end of a fault" in taken_back[9].reason
    with sqlite3.connect(served.workspace.state.path) as state:
        state.execute("DELETE FROM facts WHERE name LIKE 'misses:%'")
    plain = _claimed(served, missed, "never claimed")
    for one, other in zip(taken_back[16:], plain[16:], strict=True):
        assert (one.sample, one.outcome) == (other.sample, other.outcome)
        assert one.value == pytest.approx(other.value)
        assert one.outcome == (Outcome.FAILED if missed[-1] else Outcome.PASSED)


def test_rows_of_a_fault_that_was_mended_are_passed_over_once_it_is(served: Served) -> None:
    found = _claimed(served, [0.0] * 7 + [1.0] * 9 + [0.0] * 3, "mended")
    assert found[-1].outcome == Outcome.PASSED
    assert found[-1].sample == found[8].sample + 2 * A_DAY


def test_a_rise_that_was_over_long_before_its_fault_was_taken_back_opens_nothing(
    served: Served,
) -> None:
    missed = [0.0] * 7 + [1.0] * 2 + [0.0] * 10
    assert Outcome.FAILED not in {f.outcome for f in _claimed(served, missed, "sound")}
    assert served.look(T0 + len(missed) * DAY)["misses"].outcome == Outcome.PASSED
    with sqlite3.connect(served.workspace.state.path) as state:
        state.execute("DELETE FROM facts WHERE name LIKE 'misses:%'")
    plain = _claimed(served, missed, "never claimed")
    assert Outcome.FAILED in {f.outcome for f in plain}, "it was a rise"


def test_a_rise_that_was_over_while_nobody_looked_is_told_at_the_next_look(served: Served) -> None:
    for day in range(7):
        now = served.day(day, missed=0.0)
    assert served.look(now)["misses"].outcome != Outcome.FAILED
    for day in range(7, 9):
        served.day(day, missed=1.0)
    for day in range(9, 19):
        now = served.day(day, missed=0.0)
    assert served.look(now)["misses"].outcome == Outcome.FAILED


def test_a_clock_that_goes_back_has_no_row_judged_twice(served: Served) -> None:
    for day in range(5):
        now = served.day(day, missed=0.0)
    whole = served.look(now)["misses"]
    served.look(now - 3 * DAY)
    assert served.look(now)["misses"] == whole


def test_setpoint_loss_and_fairness_are_judged_on_the_same_ripe_rows(served: Served) -> None:
    now = T0
    for day in range(8):
        now = served.day(day, missed=0.9, alike=False)
    found = served.look(now)
    assert found["caught"].outcome == Outcome.FAILED
    assert found["loss_a_day"].outcome == Outcome.FAILED
    assert found["loss_a_day"].value is not None and found["loss_a_day"].value > 0
    assert found["fairness_sex"].outcome == Outcome.FAILED
    assert {f.error_rate for f in found.values() if f.error_rate} == {0.5 * 0.005 / 3}


def test_nothing_ripe_proves_nothing(served: Served) -> None:
    assert {f.outcome for f in served.look(T0).values()} == {Outcome.INCONCLUSIVE}


def test_estimates_without_trusted_scores_prove_nothing(served: Served) -> None:
    now = T0
    for day in range(8):
        now = served.day(day, missed=0.9)
    found = estimates(served.workspace, served.workspace.decisions, served.bundle, now, 0.01)
    told = {f.name: f for f in found}
    assert told["estimated_recall"].outcome == Outcome.INCONCLUSIVE
    assert "not to be trusted" in told["estimated_recall"].reason
    assert not [f for f in found if f.outcome == Outcome.FAILED]


def test_a_large_loss_shows_in_the_newest_part_before_it_fills_the_window(served: Served) -> None:
    for day in range(1, 6):
        now = served.day(day, missed=0.05)
    assert served.look(now + DAY)["loss_a_day"].outcome == Outcome.PASSED
    for day in range(6, 9):
        now = served.day(day, missed=1.0)
    found = served.look(now + DAY)["loss_a_day"]
    assert found.outcome == Outcome.FAILED
    assert found.sample < 6 * A_DAY and "by the newest" in found.reason
