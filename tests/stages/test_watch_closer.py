"""What is watched closer is looked at four times as often, until it has passed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Severity, Status
from setpoint.stages import watch
from setpoint.stages.watch import Window
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, T0, make_workspace

CLOSER = PROJECT + "respond: {drift: watch_closer}\nwatch: {every: 4h}\n"
HOUR = timedelta(hours=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, CLOSER)


def _looked(workspace: Workspace, at: datetime, outcome: Outcome) -> Window:
    finding = Finding("psi", outcome, 0.5, 0.25, "ceiling", 500, 0.001, "as measured", slice="x")
    window = Window(at, "v1", (finding,), ())
    watch.respond_to(workspace, window)
    return window


def test_looks_come_four_times_as_often_until_it_has_passed(workspace: Workspace) -> None:
    _looked(workspace, T0, Outcome.PASSED)
    assert not watch.due(workspace, T0 + HOUR)
    _looked(workspace, T0, Outcome.FAILED)
    [opened] = workspace.state.incidents(only_open=True)
    assert (opened.severity, opened.status) == (Severity.LOW, Status.WATCHING)
    assert watch.due(workspace, T0 + HOUR) and not watch.due(workspace, T0 + HOUR / 2)
    _looked(workspace, T0 + HOUR, Outcome.INCONCLUSIVE)
    assert watch.due(workspace, T0 + 2 * HOUR)
    _looked(workspace, T0 + 2 * HOUR, Outcome.PASSED)
    assert workspace.state.incident(opened.id).status == Status.RESOLVED
    assert not watch.due(workspace, T0 + 3 * HOUR) and watch.due(workspace, T0 + 6 * HOUR)
