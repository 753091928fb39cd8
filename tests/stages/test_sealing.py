"""The ledger is sealed when it grew, and never over what is not as it was sealed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from setpoint.cli import app
from setpoint.errors import StateError
from setpoint.stages import sealing
from setpoint.workspace import Workspace
from tests.stages.small import T0, make_workspace
from tests.tampering import attack, chain_again, copied


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path)
    for number in range(5):
        made.state.record(T0, "promoted", f"small/v{number}", {})
    return made


def _attack(workspace: Workspace, statement: str) -> None:
    with closing(sqlite3.connect(workspace.state.path)) as db, db:
        db.execute("DROP TRIGGER IF EXISTS ledger_keeps")
        db.execute("DROP TRIGGER IF EXISTS ledger_stays")
        db.execute(statement)


def _audit(workspace: Workspace, *options: str) -> tuple[int, str]:
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    done = CliRunner().invoke(app, ["audit", *where, *options])
    return done.exit_code, done.output


def test_nothing_is_sealed_where_nothing_was_written(tmp_path: Path) -> None:
    assert sealing.seal(make_workspace(tmp_path), T0, at_once=True) is None


def test_a_seal_is_made_once_an_interval_and_only_if_the_ledger_grew(workspace: Workspace) -> None:
    first = sealing.seal(workspace, T0)
    assert first is not None and first.seq == 5
    late = T0 + sealing.SEAL_EVERY
    assert sealing.seal(workspace, late) is None  # it did not grow
    workspace.state.record(T0, "promoted", "small/v9", {})
    assert sealing.seal(workspace, late - timedelta(seconds=1)) is None
    second = sealing.seal(workspace, late)
    assert second is not None and second.seq == 6
    workspace.state.record(T0, "promoted", "small/v9", {})
    third = sealing.seal(workspace, late, at_once=True)
    assert third is not None and third.seq == 7
    found = sealing.audit(workspace)
    assert (found.seals, found.breaks) == (3, ())


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM ledger WHERE seq > 3", f"UPDATE ledger SET digest = '{'0' * 64}' WHERE seq = 5"],
)
def test_a_ledger_that_is_not_what_was_sealed_is_not_sealed_over(
    workspace: Workspace, statement: str
) -> None:
    sealing.seal(workspace, T0)
    _attack(workspace, statement)
    workspace.state.record(T0, "promoted", "small/v9", {})
    with pytest.raises(StateError, match="entry 5 of 'small' was sealed"):
        sealing.seal(workspace, T0 + sealing.SEAL_EVERY)
    assert len(workspace.seals.lines()) == 1


def test_the_command_verifies_in_one_line_and_seals(workspace: Workspace) -> None:
    code, said = _audit(workspace, "--verify")
    assert code == 0 and said.endswith("5 entries, 5 signatures, 0 seals verified\n")
    assert "warning: nothing is sealed: an end that is cut off would not show" in said
    code, said = _audit(workspace, "--verify", "--seal")
    assert code == 0 and "sealed at entry 5" in said.replace("\n", "")
    assert _audit(workspace, "--verify") == (0, "5 entries, 5 signatures, 1 seals verified\n")


def test_the_command_says_what_is_broken_and_where_and_seals_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    sealing.seal(workspace, T0)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(workspace.seals.path.read_bytes())
    workspace.seals.path.unlink()
    _attack(workspace, "DELETE FROM ledger WHERE seq > 3")
    code, said = _audit(workspace, "--verify")
    assert code == 1 and "broken at entry 4" in said and "1 of 1 seals that were made" in said
    code, said = _audit(workspace, "--verify", "--seal", "--seals", str(copy))
    assert code == 1 and "broken at entry 4" in said and "up to entry 5" in said
    assert workspace.seals.lines() == []


def test_the_command_tells_of_void_entries_and_of_what_is_altered_after_them(
    workspace: Workspace,
) -> None:
    old, _ = workspace.state.rotate_key(T0, "ann")
    workspace.state.revoke_key(old, T0, T0, "ann")
    code, said = _audit(workspace, "--verify", "--seal")
    assert code == 1 and "void at entry 1" in said and "as are 5 more, the last entry 6" in said
    assert "7 entries" in said and "sealed at entry 7" in said
    _attack(workspace, "UPDATE ledger SET subject = 'small/v9' WHERE seq = 7")
    code, said = _audit(workspace, "--verify", "--seal")
    assert code == 1 and "broken at entry 7" in said and "void at entry 1" in said
    assert len(workspace.seals.lines()) == 1


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_seals_that_are_gone_are_told_of_and_no_later_seal_covers_that_up(
    workspace: Workspace, kept: int
) -> None:
    for number in range(3):
        workspace.state.record(T0, "promoted", f"small/w{number}", {})
        sealing.seal(workspace, T0, at_once=True)
    path = workspace.seals.path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    for more in range(3):
        [found] = sealing.audit(workspace).breaks
        assert (found.of, found.seq) == ("seal", kept + more + 1)
        assert f"{3 - kept} of {3 + more} seals that were made are missing" in found.reason
        assert f"named entry {8 + more}" in found.reason
        workspace.state.record(T0, "promoted", f"small/x{more}", {})
        sealing.seal(workspace, T0, at_once=True)
    path.unlink()
    code, said = _audit(workspace, "--verify")
    assert code == 1 and "broken at line 1 of the seals" in said


def _stripped(workspace: Workspace) -> list[tuple[str, int]]:
    """What is found once all signatures were taken away and the loop wrote on."""
    attack(workspace.state.path)
    chain_again(workspace.state.path, strip=True)
    workspace.state.record(T0, "promoted", "small/v9", {})
    return [(one.of, one.seq) for one in sealing.vouched(workspace).breaks]


def test_signatures_that_were_taken_away_show_by_the_fact(workspace: Workspace) -> None:
    assert _stripped(workspace) == [("entry", 1)]
    assert "as are 4 after it" in str(sealing.vouched(workspace).breaks[0])


def test_they_show_by_seals_keys_dates_and_entries_about_keys_without_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    forget = "DELETE FROM facts"
    plain, sealed, rotated = (
        copied(workspace, tmp_path / name) for name in ("plain", "sealed", "rotated")
    )
    attack(plain.state.path, forget)
    assert _stripped(plain) == []  # nothing tells it from a beginning without signatures
    for file in plain.keys.folder.rglob("*.pem"):
        os.utime(file, (T0.timestamp(), T0.timestamp()))
    assert [(b.of, b.seq) for b in sealing.vouched(plain).breaks] == [("entry", 1)]
    sealing.seal(sealed, T0)
    attack(sealed.state.path, forget)
    assert _stripped(sealed) == [("entry", 5)]
    rotated.state.rotate_key(T0, "ann")
    attack(rotated.state.path, forget)
    assert _stripped(rotated) == [("entry", 6)]


def test_the_command_reports_entries_of_before_signatures(workspace: Workspace) -> None:
    _attack(workspace, "UPDATE ledger SET key = '', signature = ''")
    code, said = _audit(workspace, "--verify")
    assert code == 1 and "broken at entry" in said
