"""A refusal by fairness alone is no dead end, and mitigation opens no other gate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from setpoint.adapters.fairlearn_groups import group_rates
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.gates.judged import judge
from setpoint.domain.training import Parameters, Rows, TrainedModel, fit_pipeline, raw_scores
from setpoint.stages import mitigate
from setpoint.stages.gates.run import run_gates
from setpoint.stages.ingest import Ingested, ingest
from setpoint.stages.train import Training, assemble, fit, publish
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

FAIR = PROJECT.replace(
    "fairness: {floor: 0.5, min_group: 10}",
    "fairness: {metric: adverse_ratio, floor: 0.65, mitigation: reweigh}",
).replace("false_negative: 5", "false_negative: 2")
# What the model learned of the group from ``y`` is another gate's matter.
FAIR = FAIR.replace("gates: {", "gates: {explainability: {proxy_ceiling: 1}, ")


def make_unfair(rows: int = 8000) -> pd.DataFrame:
    """Women are called bad oftener than their ``x`` says, and ``y`` is how a model can tell."""
    frame = make_frame(rows)
    rng = np.random.default_rng(1)
    woman = frame["sex"] == "f"
    chance = 1 / (1 + np.exp(-(1.5 * frame["x"] - 1.2 + 2 * woman)))
    frame["y"] = rng.normal(size=rows) + np.where(woman, 1.5, -1.5)
    frame["bad"] = np.where(rng.random(rows) < chance, "1", "0")
    return frame


@dataclass(frozen=True)
class Refused:
    """The unfair project with its first candidate and what the gates said of it."""

    workspace: Workspace
    snapshot: Ingested
    training: Training
    verdict: Verdict


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    workspace = make_workspace(tmp_path_factory.mktemp("unfair"), FAIR)
    deliver(workspace, "1.parquet", make_unfair())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    verdict = run_gates(workspace, candidate, training, "first")
    return Refused(workspace, snapshot, training, verdict)


def test_the_plain_candidate_is_refused_and_the_reweighed_one_is_not(refused: Refused) -> None:
    workspace, training = refused.workspace, refused.training
    assert [f.name for f in refused.verdict if not f.passed] == ["fairness_sex", "rebuild"]
    assert refused.verdict.outcome == Outcome.FAILED
    assert mitigate.offered(workspace, training, refused.verdict)
    again = mitigate.reweighed(workspace, training)
    candidate = publish(workspace, again, refused.snapshot, "first")
    verdict = run_gates(workspace, candidate, again, "first")
    assert verdict.passed, verdict.summary()
    assert not mitigate.offered(workspace, again, refused.verdict)


def test_the_reweighed_candidate_is_recorded_so_that_it_can_be_trained_again(
    refused: Refused,
) -> None:
    workspace = refused.workspace
    again = mitigate.reweighed(workspace, refused.training)
    candidate = publish(workspace, again, refused.snapshot, "first")
    bundle = read_bundle(workspace.bundle(candidate.version))
    parameters = Parameters(**bundle.manifest.parameters)
    assert parameters == again.model.parameters
    assert parameters.balance == ("sex",)
    assert workspace.registry.tags(candidate.version)["mitigation"] == "reweighed by sex"
    rows = again.split.judge
    repeated = fit_pipeline(again.split.fit, parameters)
    assert np.array_equal(raw_scores(repeated, rows), raw_scores(again.model.pipeline, rows))


def _ratio(workspace: Workspace, model: TrainedModel, rows: Rows) -> float:
    judged = judge(rows, model.scores(rows), model.threshold, workspace.project.costs.matrix())
    rates = group_rates(judged.label, judged.acted, rows.columns["sex"], "adverse_ratio")
    return min(r.rate for r in rates) / max(r.rate for r in rates)


def test_reweighing_brings_the_groups_nearer_on_rows_that_judge(refused: Refused) -> None:
    workspace, rows = refused.workspace, refused.training.split.judge
    plain = _ratio(workspace, refused.training.model, rows)
    again = _ratio(workspace, mitigate.reweighed(workspace, refused.training).model, rows)
    assert again > plain + 0.1


def _found(name: str, outcome: Outcome) -> Finding:
    return Finding(name, outcome, 0.5, 0.7, "floor", 100, 0.05, "told")


BROKEN = _found("fairness_sex", Outcome.FAILED)
UNSEEN = _found("fairness_age", Outcome.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("findings", "offered"),
    [
        ([BROKEN], True),
        ([BROKEN, UNSEEN], True),
        ([BROKEN, _found("ranking", Outcome.PASSED)], True),
        ([BROKEN, _found("ranking", Outcome.INCONCLUSIVE)], False),
        ([BROKEN, _found("forbidden_drivers", Outcome.FAILED)], False),
        ([UNSEEN], False),
        ([_found("ranking", Outcome.FAILED)], False),
        ([_found("fairness_sex", Outcome.PASSED)], False),
        ([], False),
    ],
)
def test_mitigation_is_offered_where_fairness_alone_is_broken(
    refused: Refused, findings: list[Finding], offered: bool
) -> None:
    verdict = Verdict(tuple(findings))
    assert mitigate.offered(refused.workspace, refused.training, verdict) == offered


def test_no_mitigation_is_tried_that_the_project_file_does_not_ask_for(refused: Refused) -> None:
    project = refused.workspace.project
    rule = project.gates.fairness.model_copy(update={"mitigation": "none"})
    gates = project.gates.model_copy(update={"fairness": rule})
    silent = replace(refused.workspace, project=project.model_copy(update={"gates": gates}))
    assert not mitigate.offered(silent, refused.training, Verdict((BROKEN,)))
