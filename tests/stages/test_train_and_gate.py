"""A small project from data to verdict: the same bundle again, and no gate that opens blindly."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from setpoint.adapters.mlflow_registry import CANDIDATE, CHAMPION
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.gates.setpoints import Target, setpoint_finding
from setpoint.domain.holdout import spent_rate
from setpoint.domain.training import Rows, TrainedModel
from setpoint.errors import DataError
from setpoint.stages.gates.beside import Beside, bundle_scores, champion_beside
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.champion import LOOKED, champion_findings
from setpoint.stages.gates.fairness import fairness_findings
from setpoint.stages.gates.performance import performance_findings
from setpoint.stages.gates.robustness import robustness_findings
from setpoint.stages.gates.run import JUDGING, record_verdict, run_gates
from setpoint.stages.gates.slices import slices_findings
from setpoint.stages.ingest import Ingested, ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.train import Training, assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import T0, deliver, make_frame, make_workspace
from tests.tampering import attack, copied

AGAINST = "saves_against_champion"


@dataclass(frozen=True)
class Trained:
    """The small project with its first version, and its verdict while nothing was in service."""

    workspace: Workspace
    snapshot: Ingested
    training: Training
    candidate: Candidate
    first: Verdict


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    # Once for the file: tracking database and training cost seconds.
    workspace = make_workspace(tmp_path_factory.mktemp("small"))
    deliver(workspace, "1.parquet", make_frame())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    return Trained(
        workspace, snapshot, training, candidate, run_gates(workspace, candidate, training, "first")
    )


def _decided(trained: Trained) -> Judged:
    rows, model = trained.training.split.judge, trained.training.model
    costs = trained.workspace.project.costs.matrix()
    return judge(rows, model.scores(rows), model.threshold, costs)


def _findings(verdict: Verdict) -> dict[str, Outcome]:
    return {f.name: f.outcome for f in verdict}


def test_a_published_bundle_is_readable_and_scores_as_the_model_did(trained: Trained) -> None:
    workspace, candidate = trained.workspace, trained.candidate
    bundle = read_bundle(workspace.bundle(candidate.version))
    assert bundle.manifest.digest == candidate.digest
    assert bundle.features == workspace.project.feature_spec()
    assert bundle.decision.threshold == trained.training.model.threshold
    rows = trained.training.split.judge
    assert np.allclose(bundle_scores(bundle, rows), trained.training.model.scores(rows), atol=1e-4)


def test_the_registry_knows_the_version_by_its_bundle(trained: Trained) -> None:
    registry, candidate = trained.workspace.registry, trained.candidate
    tags = registry.tags(candidate.version)
    assert tags["bundle_digest"] == candidate.digest
    assert tags["snapshot"] == trained.snapshot.digest
    assert tags["risk_tier"] == trained.workspace.project.risk_tier
    assert registry.version_of(CANDIDATE) is not None


def test_the_first_version_is_judged_without_a_champion(trained: Trained) -> None:
    found = _findings(trained.first)
    assert AGAINST not in found
    assert {"ranking", "fairness_sex", "largest_driver", "explanation_additivity"} <= set(found)
    assert {"beats_simpler", "overfit", "calibration"} <= set(found)
    assert found["ranking"] == Outcome.PASSED
    assert (found["overfit"], found["calibration"]) == (Outcome.PASSED, Outcome.PASSED)
    assert all(f.value is not None for f in trained.first if f.outcome == Outcome.PASSED)


def test_rows_younger_than_the_label_delay_are_left_out(trained: Trained) -> None:
    split, now = trained.training.split, trained.training.known.now
    newest = max(part.time.max() for part in (split.fit, split.tune, split.judge))
    assert newest <= (now - trained.workspace.project.target.delay).timestamp() * 1_000_000


def test_the_same_data_and_seed_give_the_same_model(trained: Trained) -> None:
    workspace = trained.workspace
    again = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, again, trained.snapshot, "again")
    first, second = (
        read_bundle(workspace.bundle(v)) for v in (trained.candidate.version, candidate.version)
    )
    assert second.manifest.version != first.manifest.version
    assert second.model == first.model
    assert second.decision == first.decision
    assert second.profile == first.profile
    assert candidate.metrics == trained.candidate.metrics


def test_an_equal_challenger_is_not_promoted(trained: Trained) -> None:
    workspace, version = trained.workspace, trained.candidate.version
    workspace.registry.point(CHAMPION, version)
    verdict = run_gates(workspace, trained.candidate, trained.training, "manual")
    assert _findings(verdict)[AGAINST] in (Outcome.INCONCLUSIVE, Outcome.FAILED)
    assert not verdict.passed


def test_champion_and_challenger_are_compared_on_the_same_rows(trained: Trained) -> None:
    workspace, version = trained.workspace, trained.candidate.version
    workspace.registry.point(CHAMPION, version)
    verdict = run_gates(workspace, trained.candidate, trained.training, "manual")
    [against] = [f for f in verdict if f.name == AGAINST]
    # The same model on the same rows: not one difference.
    assert against.value == 0.0
    assert against.sample == len(trained.training.split.judge)


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_a_champion_that_cannot_be_read_is_an_error_and_no_pass(
    trained: Trained, damage: str
) -> None:
    workspace = trained.workspace
    version = workspace.registry.register(trained.candidate.run_id, workspace.root, {})
    folder = workspace.bundle(version)
    if damage == "altered":
        shutil.copytree(workspace.bundle(trained.candidate.version), folder)
        with (folder / "model.onnx").open("ab") as file:
            file.write(b"\0")
    workspace.registry.point(CHAMPION, version)
    verdict = run_gates(workspace, trained.candidate, trained.training, "manual")
    assert _findings(verdict)[AGAINST] == Outcome.ERROR
    assert not verdict.passed


def test_a_second_candidate_on_the_same_rows_is_judged_at_a_smaller_error_rate(
    trained: Trained,
) -> None:
    workspace, training = trained.workspace, trained.training
    workspace.registry.point(CHAMPION, trained.candidate.version)
    looked = len({e.evidence["version"] for e in workspace.state.ledger_of(LOOKED)})
    rates = []
    one, other = (workspace.registry.register(trained.candidate.run_id, workspace.root, {})
                  for _ in range(2))  # fmt: skip
    for version in (one, other, other):  # the gates of one that are asked again: no other look
        candidate = replace(trained.candidate, version=version)
        case = Case(workspace, candidate, training, _decided(trained), "manual")
        [against] = [f for f in champion_findings(case) if f.name == AGAINST]
        rates.append(against.error_rate)
    stated = workspace.project.gates.error_rate
    first = 1 + looked  # other tests asked before
    rates_of = [spent_rate(stated, number) for number in (first, first + 1, first + 1)]
    assert rates == rates_of
    told = f"candidate {first + 1} on these rows: error rate {spent_rate(stated, first + 1):.2g}"
    assert told in against.reason


def test_rows_that_judged_too_many_candidates_judge_no_more(trained: Trained) -> None:
    workspace, training = trained.workspace, trained.training
    workspace.registry.point(CHAMPION, trained.candidate.version)
    time = training.split.judge.time
    for i in range(workspace.project.gates.reuse.candidates):
        look = {"version": f"w{i}", "first": int(time.min()), "last": int(time.max())}
        workspace.state.record(T0, LOOKED, "small/holdout", look)
    spent = len(workspace.state.ledger())
    case = Case(workspace, trained.candidate, training, _decided(trained), "manual")
    [against] = [f for f in champion_findings(case) if f.name == AGAINST]
    assert against.outcome == Outcome.INCONCLUSIVE and "needs fresh rows" in against.reason
    assert len(workspace.state.ledger()) == spent


def test_looks_at_the_judging_rows_that_were_altered_leave_no_budget(
    trained: Trained, tmp_path: Path
) -> None:
    workspace = copied(trained.workspace, tmp_path)
    workspace.registry.point(CHAMPION, trained.candidate.version)
    look = {"version": "w0", "first": 0, "last": 2**60}
    entry = workspace.state.record(T0, LOOKED, "small/holdout", look)
    workspace.state.record(T0, "overridden", "small/holdout", {"action": "review"})
    changed = "json_set(evidence, '$.last', 1)"
    attack(workspace.state.path, f"UPDATE ledger SET evidence = {changed} WHERE seq = {entry.seq}")
    case = Case(workspace, trained.candidate, trained.training, _decided(trained), "manual")
    with pytest.raises(DataError, match=f"entry {entry.seq} was altered"):
        champion_findings(case)


@dataclass
class _Blind:
    """The model, but for some scores that are no numbers."""

    model: TrainedModel

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)

    def scores(self, rows: Rows) -> npt.NDArray[np.float64]:
        scores = self.model.scores(rows)
        scores[:3] = np.nan
        return scores


def test_scores_that_are_no_numbers_are_refused_by_every_gate_that_looks_at_them(
    trained: Trained,
) -> None:
    workspace, candidate = trained.workspace, trained.candidate
    blind = cast(TrainedModel, _Blind(trained.training.model))
    verdict = run_gates(workspace, candidate, replace(trained.training, model=blind), "manual")
    found = _findings(verdict)
    assert {found[n] for n in ("scores", "ranking", "overfit", "calibration")} == {Outcome.ERROR}
    [told] = [f.reason for f in verdict if f.name == "scores"]
    assert "3 of" in told and "are no numbers" in told
    assert "largest_driver" in found and "bundle_mb" in found  # the others went on
    record_verdict(workspace, candidate, verdict, "manual")
    assert workspace.state.ledger()[-1].kind == "refused"


@pytest.mark.parametrize("metric", ["alert_rate", "cost_per_decision", "recall", "roc_auc"])
def test_no_setpoint_passes_on_scores_that_are_no_numbers(trained: Trained, metric: str) -> None:
    judged = _decided(trained)
    score = np.full(len(judged.score), np.nan)
    blind = replace(judged, score=score, acted=np.zeros(len(score), bool))
    target = Target("one", metric, "ceiling", 1e9)
    found = setpoint_finding(target, blind, reading="gate", error_rate=0.05, min_sample=20)
    assert found.outcome == Outcome.ERROR


def test_what_nothing_is_declared_for_is_told_and_is_no_pass(trained: Trained) -> None:
    workspace = trained.workspace
    data = workspace.project.data.model_copy(update={"protected": ()})
    robustness = workspace.project.gates.robustness.model_copy(update={"max_evaded": None})
    gates = workspace.project.gates.model_copy(update={"robustness": robustness})
    project = workspace.project.model_copy(update={"data": data, "gates": gates})
    silent = replace(workspace, project=project)
    asked = (performance_findings, fairness_findings, robustness_findings)
    verdict = run_gates(silent, trained.candidate, trained.training, "manual", asked)
    assert [name for name, _ in verdict.undeclared] == ["fairness", "evasion"]
    assert verdict.passed and verdict.summary().endswith("; not declared: fairness, evasion")
    assert [row["outcome"] for row in verdict.table()][-2:] == ["not declared"] * 2
    assert Verdict.from_dict(verdict.to_dict()) == verdict
    assert not Verdict((), verdict.undeclared).passed
    record_verdict(workspace, trained.candidate, verdict, "manual")
    kept = workspace.state.ledger()[-1].evidence["verdict"]["undeclared"]
    assert [one["name"] for one in kept] == ["fairness", "evasion"]
    assert [name for name, _ in trained.first.undeclared] == ["advisories"]


def test_a_gate_that_the_data_keep_from_looking_is_an_error_and_the_others_go_on(
    trained: Trained,
) -> None:
    def broken_findings(case: Case) -> list[Finding]:
        raise DataError("nothing can be told", where="here", fix="look elsewhere")

    gates = (broken_findings, performance_findings)
    args = (trained.workspace, trained.candidate, trained.training, "manual")
    verdict = run_gates(*args, gates=gates)
    assert _findings(verdict) == {"broken": Outcome.ERROR, "ranking": Outcome.PASSED}
    assert "nothing can be told" in verdict.summary()


def test_a_declared_slice_is_judged_beside_the_champion(trained: Trained) -> None:
    workspace = trained.workspace
    workspace.registry.point(CHAMPION, trained.candidate.version)
    gates = workspace.project.gates
    slices = gates.slices.model_copy(update={"columns": ("sex",), "min_group": 20})
    declared = gates.model_copy(update={"slices": slices})
    project = workspace.project.model_copy(update={"gates": declared})
    case = Case(
        replace(workspace, project=project),
        trained.candidate,
        trained.training,
        _decided(trained),
        "manual",
    )
    [found] = slices_findings(case)
    # The same model twice costs the same everywhere.
    assert found.outcome == Outcome.PASSED and found.value == 0.0
    assert "worst of 2 slices: sex=" in found.reason


def test_the_champion_is_scored_once_for_all_gates(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.workspace.registry.point(CHAMPION, trained.candidate.version)
    scored = []

    def counted(*given: Workspace | Training) -> Beside:
        scored.append(given)
        return champion_beside(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("setpoint.stages.gates.case.champion_beside", counted)
    run_gates(trained.workspace, trained.candidate, trained.training, "manual", JUDGING)
    assert len(scored) == 1


def test_a_refusal_is_written_to_the_ledger_with_its_evidence(trained: Trained) -> None:
    workspace, candidate = trained.workspace, trained.candidate
    record_verdict(workspace, candidate, Verdict(), "nothing was checked")
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.subject) == ("refused", f"small/{candidate.version}")
    assert entry.evidence["bundle"] == candidate.digest
    assert entry.evidence["snapshot"] == trained.snapshot.digest
    assert not workspace.state.audit_ledger(()).breaks
