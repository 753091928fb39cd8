"""The declared rule is a version of its own: registered, served, watched, and no candidate."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import CANDIDATE, CHAMPION
from setpoint.config import load_project
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import ProjectFileError, ReleaseError
from setpoint.ports import DecisionQuery
from setpoint.serving.scorer import Scorer
from setpoint.stages import respond, watch
from setpoint.stages.fallback import is_rule, prepare, version_of
from setpoint.stages.ingest import Ingested, ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import Training, assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, T0, deliver, make_frame, make_workspace, serve

RULE = PROJECT + "fallback: {column: x, above: 0.5}\nrespond: {performance: fall_back}\n"


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Workspace, Training, Ingested]:
    workspace = make_workspace(tmp_path, RULE)
    deliver(workspace, "one.parquet", make_frame())
    snapshot = ingest(workspace)
    rows, known = assemble(workspace, None)
    return workspace, fit(workspace, rows, known), snapshot


def test_the_rule_is_registered_once_and_is_no_candidate(
    trained: tuple[Workspace, Training, Ingested],
) -> None:
    workspace, training, snapshot = trained
    model = publish(workspace, training, snapshot, "first").version
    rule = prepare(workspace, training, snapshot)
    assert rule == "v2" == prepare(workspace, training, snapshot)
    assert workspace.registry.version_of(CANDIDATE) == model
    assert is_rule(workspace, rule) and not is_rule(workspace, model)
    assert "gates" not in workspace.registry.tags(rule)
    [entry] = [e for e in workspace.state.ledger() if e.kind == "fallback_ready"]
    assert entry.evidence["rule"] == "x above 0.5"


def test_another_rule_is_another_version(trained: tuple[Workspace, Training, Ingested]) -> None:
    workspace, training, snapshot = trained
    first = prepare(workspace, training, snapshot)
    workspace.project_file.write_text(RULE.replace("above: 0.5", "below: 0.5"), "utf-8")
    changed = replace(workspace, project=load_project(workspace.project_file))
    assert prepare(changed, training, snapshot) != first


def test_its_bundle_scores_by_the_rule_alone_and_names_the_column(
    trained: tuple[Workspace, Training, Ingested],
) -> None:
    workspace, training, snapshot = trained
    version = prepare(workspace, training, snapshot)
    assert version is not None
    scorer = Scorer(read_bundle(workspace.bundle(version), workspace.registry.digest(version)))
    rows = [([x, 0.0, 3.0], ["a"]) for x in (0.4, 0.6)]
    scores, raw = scorer.score(rows)
    assert scores.tolist() == [0.0, 1.0]
    assert scorer.adverse(rows, scores, raw, ["a", "b"]) == {1: ["x"]}


def test_a_rule_in_service_is_watched_as_a_model_is(
    trained: tuple[Workspace, Training, Ingested],
) -> None:
    workspace, training, snapshot = trained
    version = prepare(workspace, training, snapshot)
    assert version is not None
    serve(workspace, T0)
    served = workspace.decisions.find([f"d{i}" for i in range(300)]).values()
    workspace.decisions.append([replace(d, id=f"r{d.id}", version=version) for d in served])
    window = watch.look(workspace, T0 + timedelta(hours=1), version=version)
    assert window is not None and workspace.decisions.read(DecisionQuery(version=version)).num_rows
    drifted = [f.slice for f in window.drift if f.name == "psi" and f.outcome == Outcome.FAILED]
    assert "x" in drifted
    unseen = {f.name for f in window.findings if f.outcome == Outcome.ERROR}
    assert unseen <= {"estimated_precision"}  # the rule acted on none of these


def test_it_takes_over_from_the_champion_alone(
    trained: tuple[Workspace, Training, Ingested],
) -> None:
    workspace, training, snapshot = trained
    model = publish(workspace, training, snapshot, "first").version
    workspace.registry.point(CHAMPION, model)
    with pytest.raises(ReleaseError, match=r"no training has registered the rule x above 0\.5 yet"):
        version_of(workspace, model)
    rule = prepare(workspace, training, snapshot)
    assert version_of(workspace, model) == rule
    with pytest.raises(ReleaseError, match="took over from it meanwhile"):
        version_of(workspace, "v9")
    onnx = workspace.bundle(rule or "") / "model.onnx"
    onnx.write_bytes(onnx.read_bytes() + b" ")
    with pytest.raises(ReleaseError, match=r"model\.onnx was altered"):
        version_of(workspace, model)


def test_where_the_rule_serves_only_a_model_answers(
    trained: tuple[Workspace, Training, Ingested],
) -> None:
    workspace, training, snapshot = trained
    model = publish(workspace, training, snapshot, "first").version
    rule = prepare(workspace, training, snapshot)
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, model, ())
    workspace.registry.point(CHAMPION, model)
    assert respond.answer_to(workspace, incident) == "fall_back"
    workspace.registry.point(CHAMPION, rule)
    assert respond.answer_to(workspace, incident) == "retrain"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PROJECT + "respond: {drift: fall_back}\n", "needs a fallback"),
        (PROJECT + "fallback: {column: x}\n", "has one of above, below and values"),
        (PROJECT + "fallback: {column: x, above: 1, below: 0}\n", "has one of above"),
        (PROJECT + "fallback: {column: kind, above: 1}\n", "is no input of numbers"),
        (PROJECT + "fallback: {column: sex, values: [f]}\n", "is no input of text"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "setpoint.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ProjectFileError, match=told):
        load_project(file)
