"""A version is trained again from its record in a clean process; what is not the same is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from setpoint.adapters.mlflow_registry import Registry
from setpoint.cli import app
from setpoint.domain.bundle import MODEL, canonical_json, read_bundle, write_bundle
from setpoint.domain.findings import Finding, Outcome, Verdict, check_value, not_measured
from setpoint.domain.gates.judged import judge
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.record import UNCOVERED
from setpoint.errors import StateError
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.rebuild import rebuild_findings
from setpoint.stages.gates.run import GATES, JUDGING, run_gates
from setpoint.stages.ingest import Ingested, ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.rebuild import read_record, rebuild
from setpoint.stages.train import Training, assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import APART, T0, deliver, make_frame, make_workspace

HELD = check_value("held", 1.0, 0.0, "floor", sample=1)


@dataclass(frozen=True)
class Made:
    """A project with one version."""

    workspace: Workspace
    snapshot: Ingested
    training: Training
    candidate: Candidate

    def case(self, *found: Finding) -> Case:
        """The candidate before the gate, after these findings."""
        rows, model = self.training.split.judge, self.training.model
        costs = self.workspace.project.costs.matrix()
        judged = judge(rows, model.scores(rows), model.threshold, costs)
        return Case(self.workspace, self.candidate, self.training, judged, "first", found)


def make(folder: Path, **options: Any) -> Made:
    """Data, training, publication."""
    workspace = make_workspace(folder)
    deliver(workspace, "1.parquet", make_frame())
    return again(workspace, ingest(workspace), **options)


def again(workspace: Workspace, snapshot: Ingested, **options: Any) -> Made:
    """One more version of what is there."""
    training = fit(workspace, *assemble(workspace, None, snapshot), **options)
    return Made(workspace, snapshot, training, publish(workspace, training, snapshot, "first"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("rebuild"))


def republish(made: Made, **changes: Any) -> str:
    """The same bundle as another version, with another record: whole, digested and registered."""
    workspace = made.workspace
    old = read_bundle(workspace.bundle(made.candidate.version))
    tags = workspace.registry.tags(made.candidate.version)
    version = workspace.registry.register(made.candidate.run_id, Path("pending"), tags)
    manifest = replace(old.manifest, version=version, **changes)
    written = write_bundle(
        workspace.bundle(version),
        old.model,
        old.features,
        old.table,
        old.decision,
        old.profile,
        **{
            name: getattr(manifest, name)
            for name in (
                *("project", "version", "created_at", "snapshot", "commit"),
                *("environment_digest", "seeds", "parameters"),
            )
        },
    )
    workspace.registry.tag(version, "bundle_digest", written.digest)
    return version


def altered(monkeypatch: pytest.MonkeyPatch, made: Made, change: Callable[[Any], None]) -> str:
    """A version whose record and its digest were both written anew after a change."""
    workspace, version = made.workspace, republish(made)
    original = workspace.registry.artifact
    content = json.loads(original(version, "record")[1])
    change(content)
    data = canonical_json(content, "record")
    workspace.registry.tag(version, "record", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(
        workspace.registry,
        "artifact",
        lambda v, f: ("record.json", data) if (v, f) == (version, "record") else original(v, f),
    )
    return version


def test_what_was_told_after_training_changes_nothing(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, APART)
    frame = make_frame(1600)
    labels = frame[["id", "at", "bad"]].rename(columns={"at": "known_at"})
    labels["known_at"] += timedelta(hours=6)
    deliver(workspace, "1.parquet", frame.drop(columns="bad")[:1200])
    deliver(workspace, "1.parquet", labels[:1200], "labels")
    made = again(workspace, ingest(workspace))
    # Newer events, their labels, and corrections of labels that trained.
    turned = labels[:1200].assign(bad=np.where(labels["bad"][:1200] == "1", "0", "1"))
    turned["known_at"] += timedelta(days=40)
    deliver(workspace, "2.parquet", frame.drop(columns="bad")[1200:])
    deliver(workspace, "2.parquet", labels[1200:], "labels")
    deliver(workspace, "3.parquet", turned, "labels")
    later = again(workspace, ingest(workspace))
    assert later.snapshot.labels_version > made.snapshot.labels_version
    first, second = (rebuild(workspace, m.candidate.version) for m in (made, later))
    assert first.equal and second.equal, (first.reason, second.reason)
    assert first.found[MODEL] != second.found[MODEL]


def test_nothing_of_today_reaches_a_rebuild(tmp_path: Path) -> None:
    since = T0 - timedelta(days=12)
    made = make(tmp_path, since=since)
    workspace, version = made.workspace, made.candidate.version
    assert read_record(workspace, version).record.judged_since == since
    # A fault that is found later, and another project file.
    fault = Incident("", Cause.FAULT, Severity.HIGH, Status.OPEN, T0 - timedelta(days=10), "v1", ())
    workspace.state.open_incident(fault)
    after = again(workspace, made.snapshot)
    assert len(after.training.split.fit) < len(made.training.split.fit)
    text = workspace.project_file.read_text("utf-8").replace("[hour]", "[weekday]")
    changed = make_workspace(tmp_path, text.replace("false_negative: 5", "false_negative: 9"))
    assert changed.project.feature_spec() != workspace.project.feature_spec()
    for one in (made, after):
        found = rebuild(changed, one.candidate.version)
        assert found.equal and not found.causes, found.reason


def test_rows_in_another_order_are_named_whether_the_bytes_show_it_or_not(made: Made) -> None:
    workspace, snapshot = made.workspace, made.snapshot
    rows, known = assemble(workspace, None, snapshot)
    order = np.random.default_rng(1).permutation(len(rows))
    training = fit(workspace, rows.take(order), known)
    found = rebuild(workspace, publish(workspace, training, snapshot, "unordered").version)
    assert [cause.endswith("in another order") for cause in found.causes] == [True, True]
    assert found.equal == (not found.differing)


def test_another_parameter_is_another_model_and_refused(made: Made) -> None:
    old = read_bundle(made.workspace.bundle(made.candidate.version)).manifest
    version = republish(made, parameters=old.parameters | {"learning_rate": 0.011})
    candidate = replace(made.candidate, version=version)
    [finding] = rebuild_findings(replace(made, candidate=candidate).case(HELD))
    assert finding.outcome == Outcome.FAILED and finding.value and finding.value >= 1
    assert "not equal; differs in model.onnx" in finding.reason


def test_a_seed_that_the_registry_does_not_know_is_an_error_and_no_pass(made: Made) -> None:
    version = republish(made, seeds={"model": 99})
    with pytest.raises(StateError, match="contradicts itself: seed 3, elsewhere 99"):
        rebuild(made.workspace, version)
    candidate = replace(made.candidate, version=version)
    [finding] = rebuild_findings(replace(made, candidate=candidate).case(HELD))
    assert finding.outcome == Outcome.ERROR and "contradicts itself" in finding.reason


def test_an_altered_record_is_an_error_and_no_pass(made: Made) -> None:
    version = republish(made)
    made.workspace.registry.tag(version, "record", "0" * 64)
    with pytest.raises(StateError, match="contradicts itself: record 0000"):
        rebuild(made.workspace, version)


def test_from_an_altered_project_file_nothing_is_rebuilt_and_it_is_named(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, original = republish(made), made.workspace.registry.artifact

    def planted(name: str, folder: str) -> tuple[str, bytes]:
        file, content = original(name, folder)
        added = b"\n# another byte \xff" if (name, folder) == (version, "project") else b""
        return file, content + added

    monkeypatch.setattr(made.workspace.registry, "artifact", planted)
    found = rebuild(made.workspace, version)
    assert not found.equal and not found.found
    assert found.reason.startswith("not trained again: project file: digest ")
    candidate = replace(made.candidate, version=version)
    [finding] = rebuild_findings(replace(made, candidate=candidate).case(HELD))
    assert finding.outcome == Outcome.FAILED and "not equal; not trained again" in finding.reason
    where = ["--project", str(made.workspace.project_file), "--root", str(made.workspace.root)]
    monkeypatch.setattr(Registry, "artifact", lambda _, *asked: planted(*asked))
    result = CliRunner().invoke(app, ["rebuild", version, *where])
    assert result.exit_code == 1 and "not equal to the record" in result.output


def test_a_record_of_before_the_digest_of_the_project_file_says_that_none_covers_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rebuild(made.workspace, altered(monkeypatch, made, lambda c: c.pop("project")))
    assert found.equal and found.causes == (UNCOVERED,)


def test_what_a_training_ran_on_is_named_and_not_held_against_equal_bytes(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"threads": 8, "environment": "f" * 64}
    version = altered(monkeypatch, made, lambda c: c["conditions"].update(changed))
    found = rebuild(made.workspace, version)
    assert found.equal
    assert "threads: 1, recorded 8" in found.reason and "versions of packages" in found.reason


def test_a_snapshot_of_another_digest_is_named_and_refused(made: Made) -> None:
    old = read_bundle(made.workspace.bundle(made.candidate.version)).manifest
    other = replace(old.snapshot, digest="a" * 64)
    version = republish(made, snapshot=other)
    made.workspace.registry.tag(version, "snapshot", "a" * 64)
    candidate = replace(made.candidate, version=version)
    [finding] = rebuild_findings(replace(made, candidate=candidate).case(HELD))
    assert finding.outcome == Outcome.FAILED
    assert "from other data: data: the snapshot has digest" in finding.reason


def test_a_snapshot_that_is_gone_is_an_error_and_no_pass(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = altered(monkeypatch, made, lambda c: c.update(events=77))
    candidate = replace(made.candidate, version=version)
    [finding] = rebuild_findings(replace(made, candidate=candidate).case(HELD))
    assert finding.outcome == Outcome.ERROR and "could not be run" in finding.reason
    assert "77" in finding.reason


def test_what_was_refused_before_is_not_rebuilt_and_does_not_read_as_passed(made: Made) -> None:
    refused = not_measured("fairness_sex", "nobody", outcome=Outcome.INCONCLUSIVE)
    [finding] = rebuild_findings(made.case(HELD, refused))
    assert finding.outcome == Outcome.INCONCLUSIVE and finding.value is None
    assert finding.reason == "not run: fairness_sex did not pass"
    assert not Verdict((HELD, finding)).passed


def test_the_rebuild_is_asked_last_and_a_replay_leaves_it_out(made: Made) -> None:
    assert GATES[-1] is rebuild_findings and GATES[: len(JUDGING)] == JUDGING
    arguments = (made.workspace, made.candidate, made.training, "first")
    whole, judged = run_gates(*arguments), run_gates(*arguments, gates=JUDGING)
    assert whole.findings[-1].name == "rebuild"
    assert whole.findings[: len(judged.findings)] == judged.findings
    expected = Outcome.PASSED if judged.passed else Outcome.INCONCLUSIVE
    assert whole.findings[-1].outcome == expected


def test_the_command_says_equal_or_where_not(made: Made) -> None:
    workspace = made.workspace
    bundle = read_bundle(workspace.bundle(made.candidate.version))
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    other = republish(made, parameters=bundle.manifest.parameters | {"l2": 9.0})
    for version, code, word in ((made.candidate.version, 0, "equal"), (other, 1, "differs")):
        result = CliRunner().invoke(app, ["rebuild", version, *where])
        assert (result.exit_code, word in result.output) == (code, True), result.output
