"""Packages that changed since the champion was trained are told, in the verdict and the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.domain.findings import Outcome
from setpoint.domain.gates.judged import judge
from setpoint.stages.gates import dependencies
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.dependencies import dependencies_findings
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from tests.stages.small import deliver, make_frame, make_workspace


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A candidate ``v2`` beside the champion ``v1``."""
    workspace = make_workspace(tmp_path)
    deliver(workspace, "one.parquet", make_frame())
    snapshot = ingest(workspace)
    rows, known = assemble(workspace, None)
    training = fit(workspace, rows, known)
    publish(workspace, training, snapshot, "first")
    workspace.registry.point(CHAMPION, "v1")
    candidate = publish(workspace, training, snapshot, "manual")
    model, judged_rows = training.model, training.split.judge
    costs = workspace.project.costs.matrix()
    judged = judge(judged_rows, model.scores(judged_rows), model.threshold, costs)
    return Case(workspace, candidate, training, judged, "manual")


def test_the_same_packages_are_told_and_are_no_entry(case: Case) -> None:
    [found] = dependencies_findings(case)
    assert (found.outcome, found.value) == (Outcome.PASSED, 0.0) and found.sample > 50
    assert "dependencies_changed" not in [e.kind for e in case.workspace.state.ledger()]


def test_another_version_of_a_package_is_named_and_is_an_entry(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = (*(p for p in dependencies.environment_packages() if not p.startswith("numpy==")),)
    monkeypatch.setattr(dependencies, "environment_packages", lambda: (*now, "numpy==99.0"))
    [found] = dependencies_findings(case)
    assert (found.outcome, found.value) == (Outcome.PASSED, 1.0) and "numpy" in found.reason
    entry = case.workspace.state.ledger()[-1]
    assert (entry.kind, entry.subject) == ("dependencies_changed", "small/v2")
    assert "numpy==99.0" in entry.evidence["differ"]


def test_of_a_champion_whose_packages_nobody_wrote_down_it_is_told_that_they_may_differ(
    case: Case,
) -> None:
    run = case.workspace.registry.log_run(parameters={}, metrics={}, tags={}, files={})
    old = case.workspace.registry.register(run, Path("pending"), {})
    case.workspace.registry.point(CHAMPION, old)
    case.__dict__.pop("beside", None)
    [found] = dependencies_findings(case)
    assert found.value is None and f"may be others than those of {old}" in found.reason
    assert case.workspace.state.ledger()[-1].kind == "dependencies_changed"
