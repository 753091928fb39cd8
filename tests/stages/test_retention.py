"""Decisions are kept as long as the project file says, and the ledger says what went."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from setpoint.ports import DecisionQuery
from setpoint.stages import retention
from setpoint.workspace import Workspace
from tests.adapters.test_decision_log import START, decision
from tests.stages.small import PROJECT, make_workspace

DAY = timedelta(days=1)


def _workspace(folder: Path, more: str) -> Workspace:
    workspace = make_workspace(folder, PROJECT + more)
    workspace.root.mkdir(parents=True, exist_ok=True)
    workspace.decisions.append([decision(i, event_time=START + i * DAY) for i in range(40)])
    return workspace


def _kept(workspace: Workspace) -> int:
    return int(workspace.decisions.read(DecisionQuery()).num_rows)


def test_unless_told_otherwise_decisions_are_kept_for_ever(tmp_path: Path) -> None:
    workspace = _workspace(tmp_path, "")
    assert retention.forget(workspace, START + 4000 * DAY) == 0
    assert _kept(workspace) == 40


def test_what_is_older_than_declared_is_dropped_once_a_day_and_the_ledger_says_so(
    tmp_path: Path,
) -> None:
    workspace = _workspace(tmp_path, "decisions: {keep: 30d}\n")
    now = START + 35 * DAY
    assert retention.forget(workspace, now) == 5
    assert retention.forget(workspace, now + DAY / 2) == 0
    assert retention.forget(workspace, now + DAY) == 1
    assert _kept(workspace) == 34
    entries = [e for e in workspace.state.ledger() if e.kind == "decisions_dropped"]
    before = [(START + day * DAY).isoformat() for day in (5, 6)]
    assert [entry.evidence for entry in entries] == [{"before": one} for one in before]


def test_where_nothing_is_old_the_ledger_is_left_alone(tmp_path: Path) -> None:
    workspace = _workspace(tmp_path, "decisions: {keep: 60d}\n")
    assert retention.forget(workspace, START + 40 * DAY) == 0
    assert workspace.state.ledger() == []
