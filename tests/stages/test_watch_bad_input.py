"""Bad input of the watch gives a finding or a clear error, and never a wrong verdict."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import StateError, ValidationFailed
from setpoint.ports import Decision, Label
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from setpoint.stages.watch import Window, look, respond_to
from setpoint.workspace import Workspace
from tests.stages.small import APART, T0, deliver, make_frame, make_workspace

PROJECT = (
    APART.replace("delay: 1d", "delay: 1d, unlabelled: negative")
    .replace("ranking: {metric: roc_auc, floor: 0.6}", "caught: {metric: recall, floor: 0.3}")
    + "watch: {window: 6d, every: 1d, error_rate: 0.02}\n"
)  # fmt: skip
NOW = T0 + timedelta(days=10)
DAY = timedelta(days=1)
ROWS = 1400
VERSION = "v1"
NOTHING = {Outcome.INCONCLUSIVE, Outcome.ERROR}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project with labels of their own, and its first version, in service."""
    workspace = make_workspace(tmp_path_factory.mktemp("bad"), PROJECT)
    frame = make_frame(1200)
    deliver(workspace, "1.parquet", frame.drop(columns="bad"))
    labels = frame[["id", "bad"]].assign(known_at=frame["at"] + pd.Timedelta("1h"))
    deliver(workspace, "1.parquet", labels, "labels")
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    workspace.registry.point("champion", made.version)
    assert made.version == VERSION
    return workspace


@pytest.fixture
def workspace(trained: Workspace) -> Workspace:
    """The same with nothing served and nothing looked at yet."""
    made = trained
    made.decisions.forget(NOW + 99 * DAY)
    with sqlite3.connect(made.state.path) as state:
        for table in ("facts", "windows", "incidents"):
            state.execute(f"DELETE FROM {table}")
    return made


def _decisions(rows: int = ROWS, **other: object) -> list[Decision]:
    """Seven days of decisions up to ``NOW``, by inputs like those of training."""
    rng = np.random.default_rng(1)
    made = []
    for i in range(rows):
        x = float(rng.normal())
        made.append(
            Decision(
                id=f"d{i}",
                event_time=NOW - 7 * DAY * (1 - i / rows),
                request={"sex": "fm"[i % 2]},
                features={"x": x, "y": float(rng.normal()), "kind": "ab"[i % 2], "hour": i % 24.0},
                score=0.9 if x > 0 else 0.1,
                threshold=0.5,
                action="review" if x > 0 else "approve",
                reasons=(),
                version=VERSION,
                bundle_digest="0" * 64,
            )
        )
    return [replace(one, **other) for one in made]  # type: ignore[arg-type]


def _labels(decisions: Sequence[Decision], after: timedelta = timedelta(hours=1)) -> list[Label]:
    """The truth: what was reviewed is positive, for the most part."""
    return [
        Label(one.id, int(one.action == "review" and i % 10 > 0), one.event_time + after)
        for i, one in enumerate(decisions)
        if one.event_time + after <= NOW
    ]


def _serve(workspace: Workspace, decisions: Sequence[Decision], labels: Sequence[Label]) -> None:
    workspace.decisions.append(decisions)
    workspace.decisions.add_labels(labels)


def _look(workspace: Workspace, now: datetime = NOW) -> Window:
    found = look(workspace, now)
    assert found is not None
    return found


def _of(window: Window, name: str) -> Finding:
    return next(f for f in window.findings if f.name == name)


def _watched(workspace: Workspace) -> Incident:
    """An incident that ends by itself once what opened it is seen to have passed."""
    finding = Finding("misses", Outcome.FAILED, 9.0, 2.0, "ceiling", 500, 0.001, "risen")
    one = Incident("", Cause.UNUSUAL, Severity.LOW, Status.WATCHING, NOW - DAY, VERSION, (finding,))
    return workspace.state.open_incident(one)[0]


def test_an_empty_window_proves_nothing_and_ends_nothing(workspace: Workspace) -> None:
    incident = _watched(workspace)
    window = _look(workspace)
    assert {f.outcome for f in window.findings} <= NOTHING
    assert respond_to(workspace, window) == []
    assert workspace.state.incident(incident.id).status == Status.WATCHING


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_one_row_or_a_few_prove_nothing_and_end_nothing(workspace: Workspace, rows: int) -> None:
    incident = _watched(workspace)
    served = [replace(one, event_time=NOW - 3 * DAY) for one in _decisions()]
    served = [one for one in served if one.action == "review"][:rows]
    _serve(workspace, served, [Label(one.id, 1, NOW - 2 * DAY) for one in served])
    window = _look(workspace)
    judged = [f for f in window.findings if f.name != "label_times"]
    assert {f.outcome for f in judged} <= NOTHING, judged
    assert respond_to(workspace, window) == []
    assert workspace.state.incident(incident.id).status == Status.WATCHING


def test_another_input_that_is_sound_does_not_end_what_is_watched_in_one(
    workspace: Workspace,
) -> None:
    moved = Finding("psi", Outcome.FAILED, 0.5, 0.25, "ceiling", 500, 0.001, "moved", slice="x")
    watched = Incident("", Cause.DRIFT, Severity.LOW, Status.WATCHING, T0, "v1", (moved,))
    opened, _ = workspace.state.open_incident(watched)
    other = replace(moved, outcome=Outcome.PASSED, slice="y")
    for days, outcome, status in (
        (1, Outcome.INCONCLUSIVE, Status.WATCHING),
        (2, Outcome.PASSED, Status.RESOLVED),
    ):
        drift = (replace(moved, outcome=outcome), other)
        respond_to(workspace, Window(T0 + timedelta(days=days), "v1", drift, ()))
        assert workspace.state.incident(opened.id).status == status


def test_inputs_that_are_all_null_are_broken_data_and_nothing_is_retrained(
    workspace: Workspace,
) -> None:
    served = _decisions(features=dict.fromkeys(("x", "y", "kind", "hour")))
    _serve(workspace, served, _labels(served))
    window = _look(workspace)
    assert {f.slice for f in window.faults} == {"x", "y", "kind"}
    assert all("missing in 100% of the newest rows" in f.reason for f in window.faults)
    [(incident, _)] = respond_to(workspace, window)
    assert (incident.cause, incident.status) == (Cause.FAULT, Status.NEEDS_PERSON)


def test_groups_that_are_all_null_are_not_compared(workspace: Workspace) -> None:
    served = _decisions(request={"sex": None})
    _serve(workspace, served, _labels(served))
    assert _of(_look(workspace), "fairness_sex").outcome == Outcome.INCONCLUSIVE


def test_a_label_that_is_known_only_after_the_look_is_not_judged_and_told(
    workspace: Workspace,
) -> None:
    served = _decisions()
    _serve(workspace, served, [Label(one.id, 1, NOW + DAY) for one in served])
    window = _look(workspace)
    assert _of(window, "caught").outcome in NOTHING
    told = _of(window, "label_times")
    assert (told.outcome, told.value, told.sample) == (Outcome.FAILED, ROWS, ROWS)
    assert f"{ROWS} after the look" in told.reason
    assert Cause.COVERAGE not in {one.cause for one, _ in respond_to(workspace, window)}
    replayed = replace(workspace, replay=True)
    assert _of(_look(replayed), "label_times").outcome == Outcome.PASSED


def test_a_label_that_is_dated_before_its_event_counts_and_is_told(workspace: Workspace) -> None:
    served = _decisions()
    early = [one.id for one in served[:3]]
    _serve(workspace, served, _labels(served))
    right = _look(workspace)
    assert _of(right, "label_times").outcome == Outcome.PASSED
    wrong = [
        replace(one, known_at=one.known_at - timedelta(minutes=61)) if one.id in early else one
        for one in _labels(served)
    ]
    workspace.decisions.forget(NOW + 99 * DAY)
    _serve(workspace, served, wrong)
    told = _of(_look(workspace), "label_times")
    assert (told.outcome, told.value) == (Outcome.FAILED, 3)
    assert "3 labels are dated before their event" in told.reason
    assert _of(_look(workspace), "caught").value == _of(right, "caught").value


def test_a_batch_of_labels_from_the_future_is_refused(workspace: Workspace) -> None:
    batch = pd.DataFrame({"id": ["e0"], "bad": ["1"]})
    batch["known_at"] = pd.Timestamp("2199-01-01", tz="UTC")
    file = deliver(workspace, "future.parquet", batch, "labels")
    with pytest.raises(ValidationFailed, match=r"column known_at: not in the future.*2199-01-01"):
        ingest(workspace)
    file.unlink()


def test_a_clock_that_went_backwards_is_a_clear_error_and_no_row_counts_twice(
    workspace: Workspace,
) -> None:
    served = _decisions()
    _serve(workspace, served, _labels(served))
    window = _look(workspace)
    respond_to(workspace, window)
    with pytest.raises(StateError, match=r"2026-02-10.* after one at 2026-02-11.*backwards"):
        look(workspace, NOW - DAY)
    again = _look(workspace)
    assert [f for f in again.findings if f.name == "misses"] == [_of(window, "misses")]
    assert [record.end for record in workspace.state.windows()] == [NOW]


def test_a_decision_that_is_logged_twice_counts_once_as_it_was_first(workspace: Workspace) -> None:
    served = _decisions()
    _serve(workspace, served, _labels(served))
    once = _look(workspace)
    other = {"x": 19.0, "y": 19.0, "kind": "b", "hour": 1.0}
    workspace.decisions.append(served)
    workspace.decisions.append([replace(one, features=other, score=0.99) for one in served])
    assert _look(workspace).findings == once.findings


def test_a_label_that_is_sent_again_changes_nothing_and_takes_back_no_correction(
    workspace: Workspace,
) -> None:
    served = _decisions()
    first = _labels(served)
    corrected = [replace(one, label=0, known_at=one.known_at + timedelta(hours=1)) for one in first]
    _serve(workspace, served, first)
    before = _look(workspace)
    workspace.decisions.add_labels(first)
    assert _look(workspace).findings == before.findings
    workspace.decisions.add_labels(corrected[: ROWS // 2])
    after = _look(workspace)
    assert _of(after, "caught").sample < _of(before, "caught").sample
    workspace.decisions.add_labels(first[: ROWS // 2])
    assert _of(_look(workspace), "caught") == _of(after, "caught")


def test_events_that_come_late_are_judged_where_they_belong(workspace: Workspace) -> None:
    served = _decisions()
    _serve(workspace, served, _labels(served))
    window = _look(workspace)
    respond_to(workspace, window)
    # a week late, and wrong throughout: none of their time belongs to the newest window
    late = [
        replace(one, id=f"late{one.id}", event_time=one.event_time - 10 * DAY, action="approve")
        for one in served
    ]
    _serve(workspace, late, [Label(one.id, 1, NOW - 3 * DAY) for one in late])
    assert _look(workspace).findings == window.findings
    [kept] = workspace.state.windows()
    assert kept.findings == window.findings
    # a day late, within the window: the next look counts them
    soon = [replace(one, id=f"soon{one.id}") for one in served[:200]]
    _serve(workspace, soon, _labels(soon))
    assert _of(_look(workspace, NOW), "caught").sample > _of(window, "caught").sample
