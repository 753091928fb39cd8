"""Questions about the past are answered from the record, and say where it does not reach."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from setpoint.adapters.sqlite_state import StateStore
from setpoint.cli import app
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Outcome, Verdict, check_value
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Stage
from setpoint.errors import BundleError, DataError, StateError
from setpoint.ports import Decision
from setpoint.stages import account, release, sealing
from setpoint.stages.gates.run import JUDGING, record_verdict, run_gates
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.rebuild import read_record
from setpoint.stages.train import assemble, fit
from setpoint.workspace import StreamClock, Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace
from tests.tampering import attack, chain_again

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HELD = Verdict((check_value("held", 1.0, 0.0, "floor", sample=1),))


@dataclass(frozen=True)
class Story:
    """``v1`` served, ``v2`` took over for an incident, and ``v1`` was brought back."""

    workspace: Workspace
    first: Candidate
    second: Candidate
    incident: Incident


def open_place(folder: Path, text: str = PROJECT) -> Workspace:
    """A small project whose time is that of a stream, with traffic and processes in memory."""
    workspace = replace(make_workspace(folder, text), replay=True)
    workspace.__dict__.update(router=FakeRouter(), runtime=FakeRuntime())
    return workspace


def go_to(workspace: Workspace, hours: float) -> None:
    """Let it be so many hours after ``T0``."""
    StreamClock(workspace.state).advance(T0 + timedelta(hours=hours))


def train(workspace: Workspace, cause: str, **options: Any) -> Candidate:
    """A version of what is there, with the verdict of its gates in the ledger."""
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None, snapshot), **options)
    candidate = publish(workspace, training, snapshot, cause)
    run_gates(workspace, candidate, training, cause, JUDGING)
    record_verdict(workspace, candidate, HELD, cause)
    return candidate


def walk(workspace: Workspace, version: str, cause: str, hours: Sequence[float]) -> None:
    """Release a version; each step ends at its hour."""
    rollout = release.begin(workspace, version, cause, "run")
    for hour in hours:
        go_to(workspace, hour)
        if rollout.stage != Stage.PENDING:
            release.record_step(workspace, rollout, HELD, {})
        rollout = rollout.advance(Outcome.PASSED)
        workspace.state.save_release(rollout)
    release.settle(workspace, rollout, HELD)


def decided(number: int, hours: float, version: str, **changes: Any) -> Decision:
    """A decision so many hours after ``T0``."""
    return Decision(
        id=f"d{number}",
        event_time=T0 + timedelta(hours=hours),
        request={},
        features={},
        score=0.2,
        threshold=0.5,
        action=changes.pop("action", "approve"),
        reasons=(),
        version=version,
        bundle_digest="0" * 64,
        **changes,
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("account")
    workspace = open_place(folder)
    go_to(workspace, 0)
    deliver(workspace, "1.parquet", make_frame())
    first = train(workspace, "first")
    walk(workspace, "v1", "first", [1])
    opened = Incident(
        "", Cause.DRIFT, Severity.HIGH, Status.OPEN, T0 + timedelta(hours=20), "v1", (),
        headlines=("x moved up",),
    )  # fmt: skip
    incident, _ = workspace.state.open_incident(opened)
    go_to(workspace, 21)
    text = PROJECT.replace("[hour]", "[hour, weekday]").replace("seed: 3", "seed: 4")
    changed = open_place(folder, text)
    deliver(changed, "2.parquet", make_frame(400, seed=1, start=5000))
    second = train(changed, incident.id)
    steps = release.begin(changed, "v2", incident.id, "run").plan
    walk(changed, "v2", incident.id, [22 + hour for hour in range(len(steps) + 1)])
    go_to(changed, 40)
    back = release.begin(changed, "v1", "manual", "run", instead_of="v2")
    release.settle(changed, back.advance(Outcome.PASSED), HELD)
    changed.decisions.append(
        [decided(i, 2 + i / 10, "v1") for i in range(50)]
        + [decided(100 + i, 35 + i / 100, "v2") for i in range(30)]
        + [decided(200 + i, 35, "v2", action="review") for i in range(4)]
        + [decided(i, 3, "v2", shadow=True) for i in range(7)]
    )
    return Story(changed, first, second, incident)


def at(story: Story, hours: float) -> account.Standing:
    """What was so many hours after ``T0``."""
    return account.at(story.workspace, T0 + timedelta(hours=hours))


def test_before_the_first_promotion_nothing_was_in_service(story: Story) -> None:
    found = at(story, 0.5)
    assert found.service is None and found.entries == () and found.verdict == ""


@pytest.mark.parametrize("time", ["0001-01-01", "2026-03-01", "9999-12-31T23:00"])
def test_a_project_of_before_any_promotion_says_that_nothing_was_in_service(
    tmp_path: Path, time: str
) -> None:
    workspace = open_place(tmp_path)
    workspace.state.record(T0, "accepted", "small/v1", {"verdict": {"findings": []}})
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    result = CliRunner().invoke(app, ["account", "at", time, *where])
    assert result.exit_code == 0 and "nothing was in service" in result.output


def test_a_version_that_is_not_there_is_one_clear_error_of_a_rebuild(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no version v99"):
        read_record(open_place(tmp_path), "v99")


def test_what_was_in_service_is_told_with_its_cause_and_verdict(story: Story) -> None:
    early, late, back = at(story, 5), at(story, 36), at(story, 41)
    versions = [one.service and one.service.version for one in (early, late, back)]
    assert versions == ["v1", "v2", "v1"]
    assert early.incident == "" and early.service and early.service.cause == "first"
    assert late.incident.startswith(f"{story.incident.id}, drift, opened 2026-03-01 20:00")
    assert "x moved up" in late.incident and late.verdict.startswith("passed: 1 of 1")
    assert back.service and back.service.back


def test_what_came_later_is_not_told(story: Story) -> None:
    found = at(story, 5)
    assert found.entries and all(one.time <= found.time for one in found.entries)
    assert {one.kind for one in at(story, 41).entries} >= {"promoted", "roll_back"}
    assert "roll_back" not in {one.kind for one in found.entries}


def test_shares_of_a_release_are_told_beside_who_answered(story: Story) -> None:
    found = at(story, 23.5)
    assert found.service and found.service.version == "v1"
    assert found.releasing and found.releasing.version == "v2"
    assert found.releasing.cause == story.incident.id and found.releasing.percent is not None
    assert at(story, 5).releasing is None
    answered = {(one.version, one.action): one.decisions for one in at(story, 35.5).answered}
    assert answered == {("v2", "approve"): 30, ("v2", "review"): 4}


def test_a_version_is_told_from_its_data_to_its_decisions(story: Story) -> None:
    found = account.version(story.workspace, "v2")
    manifest = read_bundle(story.workspace.bundle("v2")).manifest
    assert (found.bundle, found.approved_by, found.verdict) == (
        story.second.digest, "policy", "passed"
    )  # fmt: skip
    assert [one.label for one in found.findings] == ["held"]
    assert found.data and found.data.digest == story.second.snapshot
    assert found.data.events == 1600 and [b[:7] for b in found.data.batches] == [
        *("events/", "events/", "labels/", "labels/")
    ]
    assert found.parameters == manifest.parameters and found.seeds == {"model": 4}
    assert found.conditions["commit"] == manifest.commit and found.conditions["threads"] == 1
    assert [one.decisions for one in found.decisions] == [30, 4]
    assert [one.decisions for one in found.mirrored] == [7]
    assert [(one.since < one.until) for one in found.served if one.until] == [True]
    assert found.missing == ()


def test_a_person_who_let_it_go_on_is_named(tmp_path: Path) -> None:
    text = PROJECT + "release: {inconclusive: ask}\n"
    workspace = open_place(tmp_path, text)
    go_to(workspace, 0)
    deliver(workspace, "1.parquet", make_frame(400))
    train(workspace, "first")
    walk(workspace, "v1", "first", [1])
    train(workspace, "manual")
    rollout = release.begin(workspace, "v2", "manual", "run").advance(Outcome.PASSED)
    held = rollout.out_of_time("nobody could tell", ask=True)
    workspace.state.save_release(held)
    release.answer(workspace, "v2", "ada", "I looked", promote=True)
    assert account.version(workspace, "v2").approved_by == ""  # not in service yet
    done = replace(workspace.state.release("v2"), stage=Stage.PROMOTED)  # type: ignore[type-var]
    release.settle(workspace, done, HELD)
    assert account.version(workspace, "v2").approved_by == "ada"
    assert account.version(workspace, "v1").approved_by == "policy"


def test_what_changed_between_two_versions(story: Story) -> None:
    found = account.compare(story.workspace, "v1", "v2")
    assert found.features == {"added": (None, ["weekday"])}
    assert found.parameters["seed"] == (3, 4)
    assert found.data["events"] == (1200, 1600) and len(found.data["batches that came"][1]) == 2
    assert {"digest", "snapshot"} <= set(found.data) and "roc_auc" in found.metrics
    assert "commit" not in found.conditions  # the same, so left out
    assert any(line.startswith("+") and "weekday" in line for line in found.project)
    assert found.uncovered == ()


def test_a_version_is_equal_to_itself(story: Story) -> None:
    found = account.compare(story.workspace, "v1", "v1")
    parts = (found.data, found.parameters, found.features, found.decision, found.conditions)
    assert parts == ({}, {}, {}, {}, {}) and found.metrics == {} and found.project == ()


@pytest.mark.parametrize(
    ("folder", "word"),
    [
        ("project", "the project file in the record of v1 was altered: project file: digest"),
        ("record", "the record of v1 was altered: digest"),
    ],
)
def test_an_altered_record_is_not_compared(
    story: Story, monkeypatch: pytest.MonkeyPatch, folder: str, word: str
) -> None:
    original = story.workspace.registry.artifact

    def planted(name: str, wanted: str) -> tuple[str, bytes]:
        file, content = original(name, wanted)
        return file, content + (b" " if (name, wanted) == ("v1", folder) else b"")

    monkeypatch.setattr(story.workspace.registry, "artifact", planted)
    with pytest.raises(StateError, match=word) as told:
        account.compare(story.workspace, "v1", "v2")
    assert "backup" in told.value.fix


def test_an_unknown_version_is_one_clear_error(story: Story) -> None:
    with pytest.raises(StateError, match="there is no version v9") as told:
        account.version(story.workspace, "v9")
    assert told.value.fix == "versions are v1, v2"


def test_a_version_without_a_record_says_so(story: Story) -> None:
    workspace = story.workspace
    run = workspace.registry.run("v1").id
    [file] = [f for f in workspace.root.rglob("record.json") if run in f.parts]
    away = file.rename(workspace.root / "away.json")
    try:
        found = account.version(workspace, "v1")
    finally:
        away.rename(file)
    assert found.data is None and found.missing == ("the record of v1 has no record",)


def test_the_bundle_of_another_version_answers_nothing(story: Story) -> None:
    workspace = story.workspace
    run = workspace.registry.log_run(parameters={}, metrics={}, tags={}, files={})
    version = workspace.registry.register(run, Path("pending"), {})
    workspace.registry.tag(version, "bundle_digest", story.first.digest)
    workspace.bundle(version).symlink_to(workspace.bundle("v1"))
    with pytest.raises(BundleError, match=f"the bundle of {version} was made as v1"):
        account.version(workspace, version)


def test_a_broken_ledger_answers_nothing(tmp_path: Path) -> None:
    workspace = open_place(tmp_path)
    go_to(workspace, 0)
    for number in range(3):
        workspace.state.record(T0, "promoted", f"small/v{number}", {})
    with sqlite3.connect(workspace.state.path) as db:
        db.execute("DROP TRIGGER ledger_keeps")
        db.execute("UPDATE ledger SET subject = 'small/v9' WHERE seq = 2")
    with pytest.raises(StateError, match="broken at entry 2"):
        account.at(workspace, T0)


@pytest.mark.parametrize("strip", [True, False], ids=["signatures taken away", "kept"])
def test_a_forged_ledger_whose_chain_was_made_again_answers_nothing(
    tmp_path: Path, strip: bool
) -> None:
    workspace = open_place(tmp_path)
    go_to(workspace, 0)
    for number in range(3):
        workspace.state.record(T0, "approved", f"small/v{number}", {"by": "policy"})
    attack(workspace.state.path, """UPDATE ledger SET evidence = '{"by":"ann"}' WHERE seq = 2""")
    chain_again(workspace.state.path, strip=strip)
    with pytest.raises(StateError, match=f"broken at entry {1 if strip else 2}"):
        account.at(workspace, T0)


def test_a_ledger_that_was_cut_off_answers_nothing(tmp_path: Path) -> None:
    workspace = open_place(tmp_path)
    go_to(workspace, 0)
    for number in range(3):
        workspace.state.record(T0, "promoted", f"small/v{number}", {})
    sealing.seal(workspace, T0)
    attack(workspace.state.path, "DELETE FROM ledger WHERE seq > 1")
    with pytest.raises(StateError, match=r"broken at entry 2: .*the end was cut off"):
        account.at(workspace, T0)


def test_what_a_revoked_key_signed_answers_with_a_caveat_and_hides_no_forgery(
    tmp_path: Path,
) -> None:
    workspace = open_place(tmp_path)
    go_to(workspace, 0)
    workspace.state.record(T0, "promoted", "small/v1", {})
    old, _ = workspace.state.rotate_key(T0, "ann")
    workspace.state.revoke_key(old, T0, T0, "ann")
    found = account.at(workspace, T0)
    assert found.service is not None and found.service.version == "v1"
    assert f"void at entry 1: signed by key {old}" in found.audit.told
    assert "not verified" not in found.audit.told
    attack(workspace.state.path, "UPDATE ledger SET subject = 'small/v9' WHERE seq = 3")
    with pytest.raises(StateError, match="broken at entry 3"):
        account.at(workspace, T0)


def test_entries_of_before_signatures_answer_with_a_caveat(tmp_path: Path) -> None:
    workspace = open_place(tmp_path)
    plain = StateStore(workspace.state.path, "small")
    plain.record(T0, "promoted", "small/v1", {})
    assert "entries 1 to 1 are unsigned" in account.at(workspace, T0).audit.told
    go_to(workspace, 0)
    workspace.state.record(T0 + timedelta(hours=2), "promoted", "small/v2", {})
    found = account.at(workspace, T0 + timedelta(hours=1))
    assert found.service is not None and found.service.version == "v1"
    assert "entries 1 to 1 are unsigned" in found.audit.told


def test_the_commands_answer_as_tables_and_as_json(story: Story) -> None:
    workspace = story.workspace
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    for asked, words in (
        (
            ["at", "2026-03-02T12:00"],
            ["v2 since", "drift", "0 seals verified", "review"],
        ),
        (["version", "v2"], ["approved by", "policy", "held", "1,600 events", "30", "mirrored"]),
        (["compare", "v1", "v2"], ["weekday", "seed", "batches that came"]),
    ):
        result = CliRunner().invoke(app, ["account", *asked, *where], env={"COLUMNS": "160"})
        assert result.exit_code == 0, result.output
        assert [word for word in words if word not in result.output] == [], result.output
        plain = CliRunner().invoke(app, ["account", *asked, "--json", *where])
        assert isinstance(json.loads(plain.output), dict)


def test_a_time_that_is_none_is_one_clear_error(story: Story) -> None:
    where = ["--project", str(story.workspace.project_file), "--root", str(story.workspace.root)]
    result = CliRunner().invoke(app, ["account", "at", "yesterday", *where])
    assert isinstance(result.exception, DataError) and "is no time" in str(result.exception)
