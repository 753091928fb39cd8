"""After too many failed windows nothing is promoted but the cure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.slo import QUALITY_BUDGET
from setpoint.domain.windows import WindowRecord
from setpoint.stages.gates.run import record_verdict, run_gates
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.train import Training, assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, T0, deliver, make_frame, make_workspace

BUDGET = "gates: {quality_budget: {windows: 6, failed: 2}, "


@dataclass
class Trained:
    """A candidate of the small project; ``fresh`` has nothing to be held against it."""

    workspace: Workspace
    training: Training
    candidate: Candidate
    fresh: Verdict

    def judged(self, cause: str) -> tuple[Verdict, Finding | None]:
        """The verdict of the gates, and what it says of the budget."""
        verdict = run_gates(self.workspace, self.candidate, self.training, cause)
        return verdict, next((f for f in verdict if f.name == QUALITY_BUDGET), None)

    def look(self, *outcomes: Outcome) -> None:
        """Windows of the last days, the newest now; a drift that failed is in all of them."""
        for i, outcome in enumerate(reversed(outcomes)):
            found = Finding("ranking", outcome, 0.5, 0.6, "floor", 90, 0.01, "because")
            drift = Finding("psi", Outcome.FAILED, 0.5, 0.25, "ceiling", 90, 0.01, "why", slice="x")
            record = WindowRecord(T0 - timedelta(days=i), "v1", (found, drift))
            self.workspace.state.keep_window(record)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _train(tmp_path_factory.mktemp("small"))


def _train(folder: Path) -> Trained:
    # Once for the file: tracking database and training cost seconds.
    workspace = make_workspace(folder, PROJECT.replace("gates: {", BUDGET))
    deliver(workspace, "1.parquet", make_frame())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    fresh = run_gates(workspace, candidate, training, "first")
    return Trained(workspace, training, candidate, fresh)


def test_before_anything_was_looked_at_no_budget_is_spoken_of(trained: Trained) -> None:
    assert QUALITY_BUDGET not in {f.name for f in trained.fresh}
    assert trained.fresh.passed, trained.fresh.summary()


def test_windows_that_nobody_could_judge_freeze_nothing(trained: Trained) -> None:
    trained.look(*[Outcome.INCONCLUSIVE, Outcome.ERROR] * 3)
    verdict, budget = trained.judged("manual")
    assert budget is None and verdict.passed


def test_up_to_the_budget_a_delivery_goes_on(trained: Trained) -> None:
    trained.look(Outcome.FAILED, *[Outcome.PASSED] * 4, *[Outcome.FAILED] * 2)
    verdict, budget = trained.judged("schedule")
    assert budget is not None and verdict.passed
    # the oldest of the seven does not count any more
    assert (budget.value, budget.setpoint, budget.sample) == (2, 2, 6)


@pytest.mark.parametrize("cause", ["manual", "schedule", "small-99"])
def test_a_spent_budget_refuses_what_heals_nothing(trained: Trained, cause: str) -> None:
    trained.look(*[Outcome.PASSED] * 3, *[Outcome.FAILED] * 3)
    verdict, budget = trained.judged(cause)
    assert verdict.outcome == Outcome.FAILED
    assert budget is not None and (budget.value, budget.setpoint) == (3, 2)
    assert "3 of the last 6 windows failed" in verdict.summary()


def test_a_closer_look_spends_no_more_of_the_budget(trained: Trained) -> None:
    trained.look(*[Outcome.PASSED] * 4, *[Outcome.FAILED] * 2)
    newest = WindowRecord(T0, "v1", trained.workspace.state.windows()[-1].findings)
    for hours in (6, 12, 18):
        record = replace(newest, end=T0 - timedelta(hours=hours))
        trained.workspace.state.keep_window(record)
    verdict, budget = trained.judged("manual")
    assert budget is not None and (budget.value, budget.sample) == (2, 6) and verdict.passed


def test_a_refusal_for_a_spent_budget_is_in_the_ledger(trained: Trained) -> None:
    trained.look(*[Outcome.PASSED] * 3, *[Outcome.FAILED] * 3)
    verdict, budget = trained.judged("manual")
    record_verdict(trained.workspace, trained.candidate, verdict, "manual")
    entry = trained.workspace.state.ledger()[-1]
    assert entry.kind == "refused" and budget is not None
    assert budget.to_dict() in entry.evidence["verdict"]["findings"]


def test_the_cure_of_an_open_incident_is_let_through_and_says_so(trained: Trained) -> None:
    trained.look(*[Outcome.PASSED] * 3, *[Outcome.FAILED] * 3)
    state = trained.workspace.state
    incident, _ = state.open_incident(
        Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", ())
    )
    verdict, budget = trained.judged(incident.id)
    assert verdict.passed and budget is not None and budget.value == 3
    assert f"not held against it: it is to heal the open incident {incident.id}" in budget.reason
    assert trained.judged("manual")[0].outcome == Outcome.FAILED

    assert state.move_incident(incident, incident.move(Status.RESOLVED, at=T0), T0)
    assert trained.judged(incident.id)[0].outcome == Outcome.FAILED
