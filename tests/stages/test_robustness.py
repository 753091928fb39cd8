"""The robustness gate: of the bundle as served, with what a client can change, and never blind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from setpoint.domain.attack import evade, tree_cuts
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates.judged import judge
from setpoint.domain.gates.robustness import Limits, extreme_finding, missing_finding
from setpoint.domain.training import Floats, Rows
from setpoint.errors import ProjectFileError
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.robustness import robustness_findings
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.reach import reaches
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.domain.test_attack import FEW, score
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

WIDE = "gates: {robustness: {bounds: {x: {absolute: 2}, kind: {any: true}}}, "


@dataclass(frozen=True)
class Made:
    """A candidate before its gates, to be judged under other rules."""

    case: Case
    folder: Path

    def under(self, gates: str) -> dict[str, Finding]:
        """Findings by name where the project file has other gates."""
        text = PROJECT.replace("gates: {", gates)
        project = make_workspace(self.folder / "other", text).project
        case = replace(self.case, workspace=_with(self.case.workspace, project))
        return {f.name: f for f in robustness_findings(case)}


def _with(workspace: Workspace, project: object) -> Workspace:
    return Workspace(project, workspace.project_file, workspace.root, workspace.environment)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    # Once for the file: tracking database and training cost seconds.
    folder = tmp_path_factory.mktemp("small")
    workspace = make_workspace(folder)
    deliver(workspace, "1.parquet", make_frame())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    rows, model = training.split.judge, training.model
    judged = judge(rows, model.scores(rows), model.threshold, workspace.project.costs.matrix())
    return Made(Case(workspace, candidate, training, judged, "first"), folder)


def test_a_sound_model_passes_and_every_finding_says_what_it_rests_on(made: Made) -> None:
    found = made.under("gates: {")
    assert set(found) == {"small_changes", "evasion", "missing_input", "extreme_values"}
    assert all(f.outcome == Outcome.PASSED for f in found.values())
    for name in ("small_changes", "evasion", "missing_input"):
        finding = found[name]
        assert finding.interval is not None and finding.error_rate is not None
        assert finding.value is not None and finding.setpoint is not None and finding.sample > 0


def test_an_attacker_with_wide_bounds_gets_through_and_the_gate_stays_shut(made: Made) -> None:
    narrow, wide = made.under("gates: {")["evasion"], made.under(WIDE)["evasion"]
    assert wide.outcome == Outcome.FAILED
    assert (wide.value or 0) > (narrow.value or 0) + 0.3
    assert "x, y, kind" in wide.reason


def test_random_changes_within_wide_bounds_flip_actions_and_the_gate_stays_shut(made: Made) -> None:
    assert made.under(WIDE)["small_changes"].outcome == Outcome.FAILED


def test_a_small_budget_gets_fewer_through_than_a_large_one(made: Made) -> None:
    narrow = WIDE.replace("absolute: 2", "absolute: 0.3")
    wide = narrow.replace("{robustness: {", "{robustness: {budget: 1, ")
    one = made.under(wide)["evasion"].value or 0
    three = made.under(wide.replace("budget: 1", "budget: 3"))["evasion"].value or 0
    assert one < three


def test_adversarial_training_lets_fewer_through_on_the_same_rows(made: Made) -> None:
    text = PROJECT.replace("gates: {", "gates: {robustness: {bounds: {x: {absolute: 0.3}}}, ")
    through = {}
    plain = made.case.training
    for share in (0, 1):
        project = make_workspace(
            made.folder / f"share{share}", text.replace("seed: 3", f"seed: 3, adversarial: {share}")
        ).project
        workspace = _with(made.case.workspace, project)
        model = fit(workspace, *assemble(workspace, None)).model
        movable, rows = reaches(project, made.case.rows), made.case.rows
        caught = rows.take((rows.label == 1) & (plain.model.scores(rows) >= plain.model.threshold))
        cuts = tree_cuts(model.pipeline, rows.numbers.shape[1])
        _, after = evade(model.scores, caught, movable, 2, cuts)
        through[share] = float((after < model.threshold).mean())
        acted = model.scores(rows) >= model.threshold
        assert acted.mean() < 0.9  # it does not simply act on everything
    assert through[1] <= 0.6 * through[0]


def test_only_columns_of_the_request_can_be_attacked(made: Made) -> None:
    # hour comes of the event time; kind is a category that no bound lets change
    found = reaches(made.case.workspace.project, made.case.rows)
    assert [reach.name for reach in found] == ["x", "y"]


def test_a_candidate_that_cannot_be_read_is_an_error_and_no_pass(made: Made) -> None:
    case = replace(made.case, candidate=replace(made.case.candidate, digest="0" * 64))
    [finding] = robustness_findings(case)
    assert finding.outcome == Outcome.ERROR


def test_where_no_positive_is_acted_on_the_gate_does_not_open(made: Made) -> None:
    training, rows = made.case.training, made.case.rows
    split = replace(
        training.split,
        judge=rows.take(rows.label == 0),
        tune=training.split.tune.take(training.split.tune.label == 0),
    )
    scores = training.model.scores(split.judge)
    judged = replace(made.case.judged, score=scores)
    case = replace(made.case, training=replace(training, split=split), judged=judged)
    found = {f.name: f for f in robustness_findings(case)}
    assert found["evasion"].outcome == Outcome.INCONCLUSIVE


def test_the_gate_says_which_missing_input_changes_most_actions(made: Made) -> None:
    strict = made.under("gates: {robustness: {max_missing: 0.01}, ")["missing_input"]
    assert (strict.outcome, strict.slice) == (Outcome.FAILED, "x")


def test_what_is_not_to_be_judged_is_left_out(made: Made) -> None:
    rule = "gates: {robustness: {max_flips: null, max_evaded: null, max_missing: null}, "
    assert set(made.under(rule)) == {"extreme_values"}


def _broken(rows: Rows) -> Floats:
    """A model that has no score for what it never saw."""
    found = score(rows)
    found[~(np.abs(rows.numbers[:, 0]) < 5)] = np.nan
    return found


def test_a_score_that_is_no_probability_fails_whatever_the_actions() -> None:
    names = ("n0", "n1", "c0")
    limits = Limits(0.1, 0.5, 1.0, 1, 0.05, 10)
    assert missing_finding(score, 0.5, FEW, names, limits).outcome == Outcome.PASSED
    assert extreme_finding(score, FEW, names).outcome == Outcome.PASSED
    for finding in (
        missing_finding(_broken, 0.5, FEW, names, limits),
        extreme_finding(_broken, FEW, names),
    ):
        assert (finding.outcome, finding.slice) == (Outcome.FAILED, "n0")


@pytest.mark.parametrize(
    ("bound", "rule"),
    [
        ("sex: {any: true}", "is no input"),
        ("kind: {relative: 0.1}", "number or integer"),
        ("x: {any: true}", "category or id"),
        ("z: {relative: 0.1}", "is not in data.columns"),
        ("x: {relative: 0.1, any: true}", "a relative or absolute size"),
        ("x: {}", "a relative or absolute size"),
    ],
)
def test_a_bound_that_bounds_nothing_is_refused(tmp_path: Path, bound: str, rule: str) -> None:
    text = PROJECT.replace("gates: {", f"gates: {{robustness: {{bounds: {{{bound}}}}}, ")
    with pytest.raises(ProjectFileError, match=rule):
        make_workspace(tmp_path, text)
