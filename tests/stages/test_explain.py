"""The page about an incident."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import DataError
from setpoint.stages import explain, ingest, train
from setpoint.stages import publish as publishing
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace, serve

OPENED = datetime(2026, 2, 10, tzinfo=UTC)
WITH_PERSONAL = PROJECT.replace("columns: [x, y, kind]", "columns: [x, y, kind, sex]")


def make_incident() -> Incident:
    finding = Finding("psi", Outcome.FAILED, 0.4, 0.25, "ceiling", 300, 0.001, "act", slice="x")
    return Incident("small-1", Cause.DRIFT, Severity.LOW, Status.WATCHING, OPENED, "v1", (finding,))


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, WITH_PERSONAL)
    deliver(workspace, "0.parquet", make_frame())
    snapshot = ingest.ingest(workspace)
    rows, known = train.assemble(workspace, None)
    publishing.publish(workspace, train.fit(workspace, rows, known, None), snapshot, "first")
    return workspace


def test_the_page_compares_training_rows_with_the_window_and_shows_nothing_personal(
    trained: Workspace,
) -> None:
    serve(trained, OPENED)
    page = explain.drift_page(trained, make_incident())
    text = page.read_text("utf-8")
    assert page == trained.root / "reports" / "small-1.html"
    assert all(f'"{name}"' in text for name in ("x", "kind"))
    assert '"sex"' not in text


def test_a_window_without_decisions_is_said_so_and_leaves_no_page(trained: Workspace) -> None:
    with pytest.raises(DataError, match="current side has no rows"):
        explain.drift_page(trained, make_incident())
    assert not (trained.root / "reports").exists()
