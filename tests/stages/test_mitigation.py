"""A refusal by fairness alone is no dead end, and mitigation opens no other gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from setpoint.adapters.fairlearn_groups import group_rates
from setpoint.config.gates import Bound, Mitigation
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.gates.judged import judge
from setpoint.domain.training import Parameters, Rows, TrainedModel, fit_pipeline, raw_scores
from setpoint.serving.scorer import Scorer
from setpoint.stages import mitigate
from setpoint.stages.fitted import fitted
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.fairness import fairness_findings
from setpoint.stages.gates.run import JUDGING, run_gates
from setpoint.stages.ingest import Ingested, ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.rebuild import rebuild
from setpoint.stages.train import Training, assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

FAIR = PROJECT.replace(
    "fairness: {floor: 0.5, min_group: 10}",
    "fairness: {metric: adverse_ratio, floor: 0.65, mitigation: reweigh}",
).replace("false_negative: 5", "false_negative: 2")
# What the model learned of the group from ``y``, and its calibration, are other gates' matters.
FAIR = FAIR.replace(
    "gates: {", "gates: {explainability: {proxy_ceiling: 1}, calibration: {max_error: 0.3}, "
)


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
    candidate: Candidate
    verdict: Verdict


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    workspace = make_workspace(tmp_path_factory.mktemp("unfair"), FAIR)
    deliver(workspace, "1.parquet", make_unfair())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    verdict = run_gates(workspace, candidate, training, "first")
    return Refused(workspace, snapshot, training, candidate, verdict)


def test_the_plain_candidate_is_refused_and_the_reweighed_one_is_not(refused: Refused) -> None:
    workspace, training = refused.workspace, refused.training
    assert [f.name for f in refused.verdict if not f.passed] == ["fairness_sex", "rebuild"]
    assert refused.verdict.outcome == Outcome.FAILED
    assert mitigate.unfair_alone(refused.verdict)
    again = mitigate.mitigated(workspace.project, training, "reweigh")
    candidate = publish(workspace, again, refused.snapshot, "first")
    verdict = run_gates(workspace, candidate, again, "first")
    assert verdict.passed, verdict.summary()


def test_the_reweighed_candidate_is_recorded_so_that_it_can_be_trained_again(
    refused: Refused,
) -> None:
    workspace = refused.workspace
    again = mitigate.mitigated(workspace.project, refused.training, "reweigh")
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
    reweighed = mitigate.mitigated(workspace.project, refused.training, "reweigh")
    again = _ratio(workspace, reweighed.model, rows)
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
    findings: list[Finding], offered: bool
) -> None:
    assert mitigate.unfair_alone(Verdict(tuple(findings))) == offered


def with_rule(refused: Refused, **changes: Any) -> Refused:
    """The same candidate under another section ``gates.fairness``."""
    project = refused.workspace.project
    rule = project.gates.fairness.model_copy(update=changes)
    gates = project.gates.model_copy(update={"fairness": rule})
    workspace = replace(refused.workspace, project=project.model_copy(update={"gates": gates}))
    return replace(refused, workspace=workspace)


def first_of(refused: Refused) -> mitigate.Judged:
    """The refused candidate, as a delivery hands it over."""
    return mitigate.Judged(refused.training, refused.candidate, Verdict((BROKEN,)))


def tried(refused: Refused, verdicts: list[Verdict]) -> tuple[list[Parameters], mitigate.Judged]:
    """What is tried of a refused candidate where each is judged so, and what is left."""
    made: list[Parameters] = []

    def judge(training: Training) -> mitigate.Judged:
        made.append(training.model.parameters)
        candidate = replace(refused.candidate, version=f"m{len(made)}")
        return mitigate.Judged(training, candidate, verdicts[len(made) - 1])

    try_way = partial(mitigate.mitigated, refused.workspace.project)
    return made, mitigate.until_fair(refused.workspace, first_of(refused), try_way, judge)


UNFAIR = Verdict((BROKEN,))
FAIR_ENOUGH = Verdict((_found("fairness_sex", Outcome.PASSED),))
DEAR = Verdict((_found("saves", Outcome.INCONCLUSIVE),))


@pytest.mark.parametrize(
    ("ways", "verdicts", "parameters"),
    [
        ((), [], []),
        (("reweigh",), [UNFAIR], [(True, False)]),
        (("reweigh", "threshold"), [FAIR_ENOUGH], [(True, False)]),
        (("reweigh", "threshold"), [UNFAIR, FAIR_ENOUGH], [(True, False), (True, True)]),
        (("reweigh", "threshold"), [DEAR, FAIR_ENOUGH], [(True, False), (False, True)]),
        (("threshold", "reweigh"), [FAIR_ENOUGH], [(False, True)]),
    ],
)
def test_each_way_is_tried_in_its_order_on_the_newest_that_fairness_alone_refused(
    refused: Refused,
    ways: tuple[str, ...],
    verdicts: list[Verdict],
    parameters: list[tuple[bool, bool]],
) -> None:
    made, last = tried(with_rule(refused, mitigation=ways), verdicts)
    assert [(bool(p.balance), p.fair) for p in made] == parameters
    assert last.verdict == ([UNFAIR, *verdicts][-1])


def test_a_moved_threshold_alone_turns_the_refusal_into_a_pass(refused: Refused) -> None:
    unfair = with_rule(refused, mitigation=("threshold",))
    workspace, training = unfair.workspace, unfair.training
    again = mitigate.mitigated(workspace.project, training, "threshold")
    candidate = publish(workspace, again, unfair.snapshot, "first")
    verdict = run_gates(workspace, candidate, again, "first")
    assert verdict.passed, verdict.summary()
    assert next(f for f in verdict if f.name == "rebuild").passed
    assert again.model.pipeline is training.model.pipeline
    assert again.model.threshold < training.model.threshold
    tags = workspace.registry.tags(candidate.version)
    assert tags["mitigation"] == "threshold at which adverse_ratio holds 0.65"


def test_what_is_served_acts_on_the_same_rows_of_each_group_as_was_judged(
    refused: Refused,
) -> None:
    workspace, rows = refused.workspace, refused.training.split.judge
    again = mitigate.mitigated(workspace.project, refused.training, "threshold")
    candidate = publish(workspace, again, refused.snapshot, "first")
    bundle = read_bundle(workspace.bundle(candidate.version))
    judged = judge(
        rows, again.model.scores(rows), again.model.threshold, workspace.project.costs.matrix()
    )
    scorer = Scorer(bundle)
    inputs = list(zip(rows.numbers.tolist(), rows.categories.tolist(), strict=True))
    scores, raw = scorer.score(inputs)
    served = np.zeros(len(rows), dtype=bool)
    served[list(scorer.adverse(inputs, scores, raw, rows.ids.tolist()))] = True
    assert bundle.decision.threshold == again.model.threshold
    assert "sex" not in bundle.features.names
    for sex in ("f", "m"):
        of = rows.columns["sex"] == sex
        assert 0 < served[of].mean() < 1
        assert np.array_equal(served[of], judged.acted[of])


@pytest.mark.parametrize("ways", [("threshold",), ("reweigh", "threshold")])
def test_a_fair_threshold_is_rebuilt_with_equal_digests(
    refused: Refused, ways: tuple[Mitigation, ...]
) -> None:
    workspace, training = refused.workspace, refused.training
    for way in ways:
        training = mitigate.mitigated(workspace.project, training, way)
    candidate = publish(workspace, training, refused.snapshot, "first")
    made = rebuild(workspace, candidate.version)
    assert made.equal, made.reason


def test_a_reweighed_model_is_hardened_as_its_rebuild_is(refused: Refused) -> None:
    project = refused.workspace.project
    harder = project.model_copy(
        update={"train": project.train.model_copy(update={"adversarial": 0.5})}
    )
    bounds = {"x": Bound(absolute=0.5)}
    robust = harder.gates.robustness.model_copy(update={"bounds": bounds})
    gates = harder.gates.model_copy(update={"robustness": robust})
    harder = harder.model_copy(update={"gates": gates})
    again = mitigate.mitigated(harder, refused.training, "reweigh").model
    rows, split = refused.training.split.judge, refused.training.split
    repeated = fitted(harder, split, again.parameters)
    assert np.array_equal(repeated.scores(rows), again.scores(rows))
    plain = mitigate.mitigated(project, refused.training, "reweigh").model
    assert not np.array_equal(plain.scores(rows), again.scores(rows))


def test_where_no_threshold_is_fair_the_refusal_and_the_ledger_say_so(refused: Refused) -> None:
    both = ("adverse_ratio", "favourable_ratio")
    strict = with_rule(refused, mitigation=("threshold",), metric=both, floor=0.9)
    made, last = tried(strict, [])
    assert not made
    assert last.candidate == refused.candidate
    told = "no threshold is expected to pass the fairness gate"
    assert told in last.reason and "favourable_ratio of sex at" in last.reason
    state, registry = strict.workspace.state, strict.workspace.registry
    entry = state.ledger()[-1]
    assert (entry.kind, entry.subject) == ("not_mitigated", f"small/{refused.candidate.version}")
    assert told in str(entry.evidence)
    assert told in registry.tags(refused.candidate.version)["not_mitigated"]


def test_a_fair_threshold_that_costs_more_than_acting_on_nobody_is_refused(
    refused: Refused,
) -> None:
    dear = with_rule(refused, mitigation=("threshold",), floor=0.8)
    again = mitigate.mitigated(dear.workspace.project, dear.training, "threshold")
    candidate = publish(dear.workspace, again, dear.snapshot, "first")
    verdict = run_gates(dear.workspace, candidate, again, "first", JUDGING)
    assert [f.name for f in verdict if not f.passed] == ["beats_simpler"]


@pytest.mark.parametrize(
    ("ways", "rate"), [((), 0.05), (("reweigh",), 0.025), (("reweigh", "threshold"), 0.05 / 3)]
)
def test_candidates_on_the_same_rows_share_the_chance_that_an_unfair_one_passes(
    refused: Refused, ways: tuple[Mitigation, ...], rate: float
) -> None:
    declared = with_rule(refused, mitigation=ways)
    training, project = declared.training, declared.workspace.project
    judged = judge(
        training.split.judge,
        training.model.scores(training.split.judge),
        training.model.threshold,
        project.costs.matrix(),
    )
    case = Case(declared.workspace, declared.candidate, training, judged, "first")
    assert [f.error_rate for f in fairness_findings(case)] == [pytest.approx(rate)]
