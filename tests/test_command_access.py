"""Which permission each command needs, and what a refusal leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from setpoint.adapters.sqlite_state import StateStore
from setpoint.cli import app
from setpoint.config import read_login
from setpoint.domain.access import PERMISSIONS
from setpoint.domain.approval import Request
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import AccessError, ReleaseError
from setpoint.stages import attention
from setpoint.workspace import open_workspace
from tests.stages.small import PROJECT, T0

NOTE = ["--note", "why"]
NEEDS: dict[str, tuple[list[str], str]] = {
    "score": (["score", "data", "out.parquet"], "score"),
    "up": (["up"], "admin"),
    "down": (["down"], "admin"),
    "deliver": (["deliver"], "train"),
    "drill": (["drill"], "release"),
    "acknowledge": (["acknowledge", "small-1"], "admin"),
    "snooze": (["snooze", "small-1", "--for", "1d"], "admin"),
    "resolve": (["resolve", "small-1", *NOTE], "admin"),
    "resolve --retry": (["resolve", "small-1", "--retry", *NOTE], "train"),
    "resolve --sound": (["resolve", "small-1", "--sound", *NOTE], "train"),
    "answer --promote": (["answer", "v1", "--promote", *NOTE], "approve"),
    "answer --roll-back": (["answer", "v1", "--roll-back", *NOTE], "release"),
    "audit": (["audit"], "audit"),
    "replay": (["replay", "e1"], "audit"),
    "export": (["export", "--out", "out.parquet"], "audit"),
    "approve": (["approve", "v1"], "audit"),
    "approve --note": (["approve", "v1", *NOTE], "approve"),
    "review": (["review"], "audit"),
    "review --note": (["review", "0" * 64, *NOTE], "approve"),
    "stop": (["stop", "v1", *NOTE], "release"),
    "resume": (["resume", "v1", *NOTE], "release"),
    "override": (["override", "e1", "--action", "review", *NOTE], "approve"),
    "rebuild": (["rebuild", "v1"], "audit"),
    "account at": (["account", "at", "2026-02-01"], "audit"),
    "account version": (["account", "version", "v1"], "audit"),
    "account compare": (["account", "compare", "v1", "v2"], "audit"),
    "documents": (["documents", "out"], "audit"),
    "assess": (["assess"], "audit"),
    "keys show": (["keys", "show"], "audit"),
    "keys rotate": (["keys", "rotate"], "admin"),
    "keys revoke": (["keys", "revoke", "ab", "--since", "2026-02-01"], "admin"),
    "report": (["report", "--out", "out.html"], "audit"),
}
FREE = {
    "status": "counts and versions, no row and no name",
    "incidents": "the same",
    "demo": "its own world, in its own folder",
    "backtest": "one's own data, in a folder of its own",
    "init": "one's own data",
    "schema": "what the documents say",
    "psi": "one's own data",
    "world": "a made-up world",
    "sbom": "what everybody can read in the locks",
    "audit-dependencies": "the same",
}
"""Commands that everybody may give, and why."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an incident, in the working folder."""
    for name in ("SETPOINT_PERSON", "SETPOINT_ROOT", "SETPOINT_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    allow(tmp_path, "")
    state = StateStore(tmp_path / ".setpoint" / "state.db", "small")
    finding = Finding("skew", Outcome.FAILED, 1.0, 0.0, "ceiling", 9, 0.01, "planted")
    asking = (Severity.HIGH, Status.NEEDS_PERSON)
    state.open_incident(Incident("", Cause.SKEW, *asking, T0, "v1", (finding,)))
    platform = '{"project_file": "setpoint.yaml", "ports": {"gateway": 1, "admin": 1, '
    platform += '"prefect": 1, "mlflow": 1}}'
    (tmp_path / ".setpoint" / "platform.json").write_text(platform, "utf-8")
    return tmp_path


def allow(folder: Path, permissions: str, who: str = "") -> None:
    """Write a project file that gives these permissions and no other."""
    section = f"\naccess: {{people: {{{who or read_login()}: [{permissions}]}}"
    section += ", services: {setpoint: []}}\n"
    (folder / "setpoint.yaml").write_text(PROJECT + section, "utf-8")


def run(*words: str) -> Any:
    """What came of a command; the error itself, where there is one."""
    return CliRunner().invoke(app, list(words)).exception


def ledger(folder: Path) -> list[Any]:
    """All entries."""
    return StateStore(folder / ".setpoint" / "state.db", "small").ledger()


def test_every_command_needs_a_permission_or_says_why_not() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    asking = {words[0] for words, _ in NEEDS.values()}
    assert asking | set(FREE) == commands
    assert not asking & set(FREE)


@pytest.mark.parametrize(("words", "permission"), NEEDS.values(), ids=NEEDS)
def test_without_its_permission_a_command_is_refused_and_the_ledger_says_so(
    project: Path, words: list[str], permission: str
) -> None:
    allow(project, ", ".join(one for one in PERMISSIONS if one != permission))
    before = len(ledger(project))
    error = run(*words)
    assert isinstance(error, AccessError), error
    assert f"has not the permission {permission}" in str(error)
    [entry] = ledger(project)[before:]
    assert (entry.kind, entry.subject) == ("access_refused", f"person/{read_login()}")
    assert entry.evidence["permission"] == permission


@pytest.mark.parametrize(
    ("words", "permission"),
    [one for name, one in NEEDS.items() if name not in ("up", "deliver")],  # they start processes
    ids=[name for name in NEEDS if name not in ("up", "deliver")],
)
def test_its_permission_alone_is_enough_for_a_command(
    project: Path, words: list[str], permission: str
) -> None:
    allow(project, permission)
    assert not isinstance(run(*words), AccessError)
    assert "access_refused" not in {entry.kind for entry in ledger(project)}


def test_the_variables_that_name_a_user_name_nobody(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(project, "audit", who="alice")
    for name in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.setenv(name, "alice")
    assert isinstance(run("audit"), AccessError)


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_person_that_another_user_names_is_believed_of_an_admin_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    words = ["resolve", "small-1", *NOTE]
    if by == "flag":
        words += ["--person", "alice"]
    else:
        monkeypatch.setenv("SETPOINT_PERSON", "alice")
    allow(project, "admin", who="alice")
    assert "says to be alice" in str(run(*words))
    people = f"{{alice: [admin], {read_login()}: [admin]}}"
    section = f"\naccess: {{people: {people}, services: {{setpoint: []}}}}\n"
    (project / "setpoint.yaml").write_text(PROJECT + section, "utf-8")
    assert run(*words) is None
    spoke = [one for one in ledger(project) if one.kind == "spoke_for"]
    assert [(one.subject, one.evidence["login"]) for one in spoke] == [
        ("person/alice", read_login())
    ]
    assert ledger(project)[-1].evidence["person"] == "alice"


def waits(folder: Path, section: str) -> None:
    """``v2`` waits for two people, under these permissions."""
    text = PROJECT + f"risk_tier: high\napproval: {{persons: 2}}\n{section}"
    (folder / "setpoint.yaml").write_text(text, "utf-8")
    now = datetime.now(UTC)
    request = Request("v2", "first", "ab" * 32, 1, now, now + timedelta(days=1), 2)
    state = StateStore(folder / ".setpoint" / "state.db", "small")
    state.record(T0, "approval_asked", "small/v2", request.evidence())


def test_an_admin_who_may_not_approve_approves_in_nobody_s_name(project: Path) -> None:
    people = f"{{ann: [approve], bob: [approve], {read_login()}: [admin]}}"
    waits(project, f"access: {{people: {people}, services: {{setpoint: []}}}}\n")
    for person in ("ann", "bob"):
        error = run("approve", "v2", *NOTE, "--person", person)
        assert isinstance(error, AccessError) and "has not the permission approve" in str(error)
    assert not {"approval_voice", "approved"} & {entry.kind for entry in ledger(project)}


@pytest.mark.parametrize("second", ["bob", read_login()])
def test_one_login_that_may_approve_and_speak_for_others_is_still_one_person(
    project: Path, second: str
) -> None:
    people = f"{{ann: [approve], bob: [approve], {read_login()}: [admin, approve]}}"
    waits(project, f"access: {{people: {people}, services: {{setpoint: []}}}}\n")
    assert run("approve", "v2", *NOTE, "--person", "ann") is None
    voice = ledger(project)[-1]
    assert voice.kind == "approval_voice"
    assert (voice.evidence["by"], voice.evidence["login"]) == ("ann", read_login())
    error = run("approve", "v2", *NOTE, "--person", second)
    assert isinstance(error, ReleaseError) and "has approved v2 already" in str(error)
    assert "approved" not in {entry.kind for entry in ledger(project)}


def test_a_broken_project_file_keeps_nobody_from_stopping(project: Path) -> None:
    (project / "setpoint.yaml").write_text("nonsense: true\n", "utf-8")
    assert run("down") is None


def test_a_refusal_begins_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    allow(tmp_path, "")
    assert isinstance(run("audit", "--root", "fresh"), AccessError)
    assert not (tmp_path / "fresh" / "state.db").exists()


def test_brackets_that_a_person_wrote_are_shown_as_they_are(project: Path) -> None:
    allow(project, "audit")
    workspace = open_workspace(project / "setpoint.yaml", project / ".setpoint")
    attention.acknowledge(workspace, "small-1", "[/x]")
    workspace.state.record(T0, "reviewed", "small", {"by": "[/b]", "note": "[red]y [/]"})
    listed = CliRunner().invoke(app, ["incidents"])
    assert listed.exit_code == 0 and "[/x]" in listed.output
    told = CliRunner().invoke(app, ["audit"])
    # In a narrow terminal the cell is folded between words.
    assert all(word in told.output for word in ("[/b]:", "[red]y", "[/]")), told.output
