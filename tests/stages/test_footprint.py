"""A bundle that scores too slowly, or is too large, does not pass its gates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from setpoint.domain.findings import Outcome
from setpoint.domain.gates.judged import judge
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.footprint import footprint_findings
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from tests.stages.small import deliver, make_frame, make_workspace


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A candidate before its gates."""
    workspace = make_workspace(tmp_path_factory.mktemp("footprint"))
    deliver(workspace, "one.parquet", make_frame(2500))
    snapshot = ingest(workspace)
    rows, known = assemble(workspace, None)
    training = fit(workspace, rows, known)
    candidate = publish(workspace, training, snapshot, "first")
    model, judged = training.model, training.split.judge
    decided = judge(judged, model.scores(judged), model.threshold, workspace.project.costs.matrix())
    return Case(workspace, candidate, training, decided, "first")


def _with(case: Case, **limits: float) -> dict[str, Outcome]:
    project = case.workspace.project
    package = project.package.model_copy(update=limits)
    workspace = replace(case.workspace, project=project.model_copy(update={"package": package}))
    return {f.name: f.outcome for f in footprint_findings(replace(case, workspace=workspace))}


def test_a_small_bundle_that_scores_at_once_passes(case: Case) -> None:
    found = _with(case, max_p99_ms=10_000.0)
    assert found == {"scoring_slow": Outcome.PASSED, "bundle_mb": Outcome.PASSED}


def test_one_that_is_slower_than_the_limit_fails(case: Case) -> None:
    assert _with(case, max_p99_ms=1e-6)["scoring_slow"] == Outcome.FAILED


def test_one_that_is_larger_than_the_limit_fails(case: Case) -> None:
    assert _with(case, max_bundle_mb=1e-6)["bundle_mb"] == Outcome.FAILED


def test_one_that_cannot_be_read_is_an_error_and_no_pass(case: Case, tmp_path: Path) -> None:
    gone = replace(case, candidate=replace(case.candidate, bundle=str(tmp_path / "gone")))
    assert {f.outcome for f in footprint_findings(gone)} == {Outcome.ERROR}
