"""A field that comes in another unit opens one incident, for a person, and starts no retraining."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from setpoint.domain.features import MICROSECONDS
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.ports import Decision, DecisionQuery, Label
from setpoint.stages import broken, respond
from setpoint.stages.assemble import history, training_rows
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.ripe import ripe_decisions
from setpoint.stages.train import assemble, fit
from setpoint.stages.watch import look, respond_to
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, T0, deliver, make_frame, make_workspace

RETRAIN = PROJECT + "respond: {drift: retrain}\nwatch: {window: 6d}\n"
NOW = T0 + timedelta(days=10)
ROWS = 900


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A project that would retrain on any drift, and its first version."""
    workspace = make_workspace(tmp_path_factory.mktemp("faults"), RETRAIN)
    deliver(workspace, "1.parquet", make_frame(1200))
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    return workspace, made.version


def _serve(
    workspace: Workspace,
    version: str,
    folder: Path,
    times: float,
    plus: float,
    end: datetime = NOW,
) -> None:
    """Six days of decisions; ``x`` is changed in the last three."""
    rng = np.random.default_rng(1)
    made = []
    for i in range(ROWS):
        ago = 6 * (1 - i / ROWS)
        x = float(rng.normal())
        made.append(
            Decision(
                id=f"{folder.name}{end:%d}-{i}",
                event_time=end - timedelta(days=ago),
                request={},
                features={
                    "x": times * x + plus if ago < 3 else x,
                    "y": float(rng.normal()),
                    "kind": str(rng.choice(["a", "b"])),
                    "hour": float(i % 24),
                },
                score=0.2,
                threshold=0.5,
                action="approve",
                reasons=(),
                version=version,
                bundle_digest="0" * 64,
            )
        )
    workspace.decisions.append(made)


def _broken(workspace: Workspace, version: str, folder: Path) -> Incident:
    """A field in another unit is served, looked at, and an incident."""
    workspace.decisions.forget(NOW + timedelta(days=1))
    _serve(workspace, version, folder, times=100, plus=0)
    window = look(workspace, NOW, version=version)
    assert window is not None
    [(incident, _)] = respond_to(workspace, window)
    return incident


def test_a_field_in_another_unit_is_one_incident_for_a_person_and_nothing_is_retrained(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    _serve(workspace, version, tmp_path, times=100, plus=0)
    window = look(workspace, NOW, version=version)
    assert window is not None
    [fault] = window.faults
    assert fault.slice == "x" and "divided by 100" in fault.reason
    [(incident, new)] = respond_to(workspace, window)
    assert new and incident.cause == Cause.FAULT
    assert (incident.severity, incident.status) == (Severity.HIGH, Status.NEEDS_PERSON)
    assert incident.findings[0] == fault
    assert respond.waiting(workspace, NOW) == []
    respond.by_person(workspace, incident.id, "the feed is mended", retry=False)


def test_drift_of_the_same_size_is_left_to_the_policy(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    workspace.decisions.forget(NOW + timedelta(days=1))
    _serve(workspace, version, tmp_path, times=1, plus=3)
    window = look(workspace, NOW, version=version)
    assert window is not None and window.faults == ()
    found = {one.cause: one for one, _ in respond_to(workspace, window)}
    assert found[Cause.DRIFT].status == Status.OPEN
    moved = [line for line in found[Cause.DRIFT].headlines if line.startswith("moved most: ")]
    assert len(moved) == 1 and "x higher (PSI " in moved[0]
    assert moved[0] in workspace.state.incident(found[Cause.DRIFT].id).headlines


def test_what_was_decided_on_broken_data_is_neither_judged_nor_learned(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    incident = _broken(workspace, version, tmp_path)
    later = NOW + timedelta(days=9)
    ids = [f"{tmp_path.name}{NOW:%d}-{i}" for i in range(ROWS)]
    workspace.decisions.add_labels([Label(one, 0, NOW) for one in ids])
    everything = DecisionQuery(version=version)
    rows, log = training_rows(workspace, history(workspace, later)), workspace.decisions
    judged = ripe_decisions(workspace, log, everything, later)
    begin = NOW - timedelta(days=2)
    assert judged.num_rows == pytest.approx(ROWS * 4 / 6, abs=2)
    assert max(judged["event_time"].to_pylist()) < begin
    assert len(rows) > 0 and rows.time.max() < begin.timestamp() * MICROSECONDS
    known = broken.spans(workspace)
    respond.by_person(workspace, incident.id, "it was a sale", retry=False, sound=True)
    assert broken.spans(workspace) == known[:-1]


def test_what_a_fault_had_opened_before_it_was_told_from_drift_ends_with_it(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    workspace.decisions.forget(NOW + timedelta(days=1))
    finding = Finding("caught", Outcome.FAILED, 0.1, 0.6, "floor", 500, 0.001, "broken")
    opened = []
    for cause, ago in ((Cause.PERFORMANCE, 1), (Cause.UNUSUAL, 3)):
        at = NOW - timedelta(days=ago)
        one = Incident("", cause, Severity.HIGH, Status.OPEN, at, version, (finding,))
        opened.append(workspace.state.open_incident(one)[0])
    _serve(workspace, version, tmp_path, times=100, plus=0)
    window = look(workspace, NOW, version=version)
    assert window is not None
    [(fault, _)] = respond_to(workspace, window)
    soon, long_before = (workspace.state.incident(one.id) for one in opened)
    assert (soon.status, soon.note) == (
        Status.RESOLVED,
        f"explained by {fault.id}: the data were broken",
    )
    assert long_before.status == Status.OPEN
    respond.by_person(workspace, fault.id, "the feed is mended", retry=False)


def test_rows_of_a_fault_that_was_ended_drift_no_longer(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    fault = _broken(workspace, version, tmp_path)
    ended = fault.move(Status.RESOLVED, note="the feed is mended", at=NOW)
    workspace.state.move_incident(fault, ended, NOW)
    later = NOW + timedelta(days=5)
    _serve(workspace, version, tmp_path, times=1, plus=0, end=NOW + timedelta(days=6))
    window = look(workspace, later, version=version)
    assert window is not None
    [moved] = [f for f in window.drift if (f.name, f.slice) == ("psi", "x")]
    assert moved.sample == pytest.approx(ROWS * 5 / 6, abs=2)
    assert moved.outcome != Outcome.FAILED and moved.value is not None and moved.value < 0.1, moved
