"""Explanations of a trained candidate: by slice, by two methods, against chance and champion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.domain.explanations import even_sample, shuffled
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates.judged import judge
from setpoint.domain.training import fit_pipeline
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.explainability import explainability_findings, monotone_findings
from setpoint.stages.gates.explanation import (
    second_opinion_findings,
    shuffled_labels_findings,
    stability_findings,
)
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from tests.stages.small import PROJECT, deliver, make_workspace
from tests.stages.test_mitigation import make_unfair

SLICED = PROJECT + "release: {segments: [kind]}\n"


@dataclass(frozen=True)
class Unfair:
    """The unfair project with a candidate; no version is in service."""

    case: Case

    def under(self, **rule: Any) -> Case:
        """The case under other rules for explanations."""
        project = self.case.workspace.project
        explainability = project.gates.explainability.model_copy(update=rule)
        gates = project.gates.model_copy(update={"explainability": explainability})
        changed = project.model_copy(update={"gates": gates})
        return replace(self.case, workspace=replace(self.case.workspace, project=changed))


@pytest.fixture(scope="module")
def unfair(tmp_path_factory: pytest.TempPathFactory) -> Unfair:
    workspace = make_workspace(tmp_path_factory.mktemp("explained"), SLICED)
    deliver(workspace, "1.parquet", make_unfair(4000))
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    rows, model = training.split.judge, training.model
    judged = judge(rows, model.scores(rows), model.threshold, workspace.project.costs.matrix())
    return Unfair(Case(workspace, candidate, training, judged, "first"))


def _told(findings: list[Finding]) -> dict[str, Finding]:
    return {f.label: f for f in findings}


def test_an_input_that_tells_the_protected_group_is_a_forbidden_driver(unfair: Unfair) -> None:
    found = _told(explainability_findings(unfair.case))["forbidden_drivers"]
    assert found.outcome == Outcome.FAILED
    assert "y (tells sex" in found.reason and found.value is not None and found.value > 0.1
    allowed = _told(explainability_findings(unfair.under(proxy_ceiling=1.0)))["forbidden_drivers"]
    assert allowed.passed and "nearest: y tells sex" in allowed.reason


def test_every_group_and_segment_names_its_largest_driver(unfair: Unfair) -> None:
    found = _told(explainability_findings(unfair.case))
    assert {"largest_driver", "largest_driver[sex]", "largest_driver[kind]"} <= set(found)
    assert {part.split(":")[0] for part in found["largest_driver[sex]"].reason.split(", ")} == {
        "f",
        "m",
    }
    whole, part = found["largest_driver"].value, found["largest_driver[sex]"].value
    assert whole is not None and part is not None and part >= whole - 1e-9


def test_two_methods_agree_on_a_sound_candidate(unfair: Unfair) -> None:
    [found] = second_opinion_findings(unfair.case)
    assert found.passed and found.interval is not None and found.interval[0] > 0.8
    [strict] = second_opinion_findings(unfair.under(second_opinion=1.0))
    assert strict.outcome == Outcome.INCONCLUSIVE


def test_models_of_shuffled_labels_are_explained_otherwise(unfair: Unfair) -> None:
    [found] = shuffled_labels_findings(unfair.case)
    assert found.passed and found.value is not None and found.value < 0.3


def test_a_candidate_of_shuffled_labels_has_no_explanation_of_its_own(unfair: Unfair) -> None:
    case = unfair.case
    training, model = case.training, case.training.model
    noise = fit_pipeline(
        shuffled(even_sample(training.split.fit, 4000), 3), replace(model.parameters, max_iter=20)
    )
    blind = replace(case, training=replace(training, model=replace(model, pipeline=noise)))
    [found] = shuffled_labels_findings(blind)
    # Seed 3 of the project is the first of the three shuffles: it is met again.
    assert found.value is not None
    assert found.value > shuffled_labels_findings(case)[0].value + 0.2  # type: ignore[operator]


def test_directions_hold_or_the_worst_row_is_told(unfair: Unfair) -> None:
    rules = {"monotone_slack": 0.5}  # so few rows make a rough model
    [held] = monotone_findings(unfair.under(monotone={"x": "increasing"}, **rules))
    assert held.passed and held.sample > 300
    [broken] = monotone_findings(unfair.under(monotone={"x": "decreasing"}, **rules))
    assert broken.outcome == Outcome.FAILED and (broken.value or 0.0) > 0.2
    assert "from x" in broken.reason and "declared decreasing" in broken.reason
    assert monotone_findings(unfair.case) == []


def test_the_first_release_has_nothing_to_be_stable_against(unfair: Unfair) -> None:
    assert stability_findings(unfair.case) == []


def test_the_champion_is_explained_on_the_same_rows(unfair: Unfair) -> None:
    workspace, candidate = unfair.case.workspace, unfair.case.candidate
    workspace.registry.point(CHAMPION, candidate.version)
    [found] = stability_findings(unfair.case)
    assert found.passed and found.value == pytest.approx(1.0, abs=1e-6)
    missing = workspace.registry.register(candidate.run_id, workspace.root, {})
    workspace.registry.point(CHAMPION, missing)
    [unread] = stability_findings(unfair.case)
    assert unread.outcome == Outcome.ERROR and "cannot be read" in unread.reason
