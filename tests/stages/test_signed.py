"""Nothing that was altered or is not signed is trained on or released."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.adapters.signing import Keys
from setpoint.adapters.sqlite_state import StateStore
from setpoint.domain.ledger import canonical, link
from setpoint.domain.signatures import SIGNATURE, entry_message
from setpoint.errors import BundleError, DataError, StateError
from setpoint.stages import release, train
from setpoint.stages.ingest import ingest
from setpoint.stages.signed import check_signed, entry_state, vouched_entry
from setpoint.workspace import Workspace
from tests.serving.test_bundle_format import write
from tests.stages.releasing import two_versions
from tests.stages.small import T0, deliver, make_frame, make_workspace, stored
from tests.tampering import attack


@pytest.fixture
def ingested(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", make_frame(300))
    ingest(workspace)
    deliver(workspace, "2.parquet", make_frame(300, seed=1, start=300))
    ingest(workspace)
    return workspace


def _files(workspace: Workspace, table: str) -> list[Path]:
    return sorted((workspace.root / "snapshots" / table).glob("*.parquet"))


def test_training_goes_on_signed_snapshots(ingested: Workspace) -> None:
    rows, _ = train.assemble(ingested, None)
    assert len(rows) > 500


@pytest.mark.parametrize("table", ["events", "labels"])
def test_a_flipped_byte_stops_training_and_its_file_is_named_or_no_row_differs(
    ingested: Workspace, table: str
) -> None:
    rng, stopped = random.Random(2), 0
    before = stored(ingested, table)
    for file in _files(ingested, table):
        data = file.read_bytes()
        for _ in range(12):
            at = rng.randrange(len(data))
            file.write_bytes(
                data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
            )
            try:
                train.assemble(ingested, None)
            except StateError as err:
                stopped += 1
                assert file.name in err.what and "altered" in err.what
            else:  # bytes that hold no value, such as the name of the program that wrote them
                assert stored(ingested, table) == before
        file.write_bytes(data)
    assert stopped > 10
    train.assemble(ingested, None)


def test_the_altered_one_of_several_files_is_the_one_that_is_named(ingested: Workspace) -> None:
    first, second = _files(ingested, "events")
    shutil.copy(first, second)  # whole, readable, and of another batch
    with pytest.raises(StateError) as caught:
        train.assemble(ingested, None)
    assert second.name in caught.value.what and first.name not in caught.value.what


def _edit_log(workspace: Workspace, old: str, new: str) -> None:
    log = sorted((workspace.root / "snapshots" / "events" / "_delta_log").glob("*.json"))[-1]
    text = log.read_text("utf-8")
    assert old in text
    log.write_text(text.replace(old, new), "utf-8")


def test_a_record_that_was_altered_stops_training_and_is_not_signed_over(
    ingested: Workspace,
) -> None:
    digest = ingested.snapshots("events").history()[0].digest
    newest = ingested.snapshots("events").latest()
    assert newest is not None
    _edit_log(ingested, newest.digest, digest)
    with pytest.raises(StateError, match="signature does not hold"):
        train.assemble(ingested, None)
    deliver(ingested, "3.parquet", make_frame(100, seed=2, start=600))
    with pytest.raises((StateError, DataError), match="signature does not hold"):
        ingest(ingested)


def test_a_signature_that_was_taken_away_stops_training_and_is_not_made_again(
    ingested: Workspace,
) -> None:
    _edit_log(ingested, "setpoint_signature", "something_else")
    with pytest.raises(StateError, match="not signed"):
        train.assemble(ingested, None)
    deliver(ingested, "3.parquet", make_frame(100, seed=2, start=600))
    with pytest.raises((StateError, DataError), match="not signed"):
        ingest(ingested)


def test_a_snapshot_of_a_key_that_was_revoked_stops_training(ingested: Workspace) -> None:
    old, _ = ingested.state.rotate_key(ingested.clock.now(), "ann")
    train.assemble(ingested, None)  # replaced, it is still trusted
    ingested.state.revoke_key(old, ingested.clock.now(), ingested.clock.now(), "ann")
    with pytest.raises(StateError, match="signature does not hold"):
        train.assemble(ingested, None)


def test_a_release_of_a_bundle_that_is_not_signed_is_refused_before_it_begins(
    tmp_path: Path,
) -> None:
    workspace, _, runtime = two_versions(tmp_path)
    (workspace.bundle("v2") / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="not signed"):
        release.begin(workspace, "v2", "manual", "a run")
    assert workspace.state.release("v2") is None and "v2" not in runtime.endpoints()
    assert workspace.state.ledger() == []


def test_a_release_of_a_bundle_by_a_stranger_is_refused(tmp_path: Path) -> None:
    workspace, _, _ = two_versions(tmp_path)
    stranger = Keys(tmp_path / "stranger")
    key = stranger.make()
    shutil.rmtree(workspace.bundle("v2"))
    write(workspace.bundle("v2"), version="v2", sign=lambda said: stranger.sign(key, said))
    with pytest.raises(BundleError, match="is not trusted here"):
        release.begin(workspace, "v2", "manual", "a run")


def test_a_bundle_signed_by_a_key_that_was_replaced_is_released(tmp_path: Path) -> None:
    workspace, _, _ = two_versions(tmp_path)
    workspace.state.rotate_key(workspace.clock.now(), "ann")
    assert release.begin(workspace, "v2", "manual", "a run").challenger == "v2"


def _put_in_place_of(workspace: Workspace, old: str, new: str) -> None:
    """Whole and signed, the bundle of one version in the folder of another; the tag agrees."""
    shutil.rmtree(workspace.bundle(old))
    shutil.copytree(workspace.bundle(new), workspace.bundle(old))
    workspace.registry.tag(old, "bundle_digest", workspace.registry.digest(new))


def test_a_signed_bundle_of_one_version_is_not_released_as_another(tmp_path: Path) -> None:
    workspace, _, runtime = two_versions(tmp_path)
    _put_in_place_of(workspace, "v2", "v1")
    with pytest.raises(BundleError, match="the bundle of v2 was made as v1") as caught:
        release.begin(workspace, "v2", "manual", "a run")
    assert caught.value.where == str(workspace.bundle("v2")) and "restore" in caught.value.fix
    assert workspace.state.release("v2") is None and "v2" not in runtime.endpoints()


@pytest.mark.parametrize("kind", ["accepted", "fallback_ready"])
def test_a_signed_bundle_that_the_ledger_does_not_name_is_not_released(
    tmp_path: Path, kind: str
) -> None:
    workspace, _, _ = two_versions(tmp_path)
    told = {"bundle": workspace.registry.digest("v2")}
    entry = workspace.state.record(T0, kind, "small/v2", told)
    workspace.state.record(T0, "accepted", "small/v1", {"bundle": "0" * 64})  # of another version
    check_signed(workspace, "v2")
    shutil.rmtree(workspace.bundle("v2"))
    changed = {"version": "v2", "parameters": {"max_iter": 21}, "sign": workspace.sign}
    manifest = write(workspace.bundle("v2"), **changed)
    workspace.registry.tag("v2", "bundle_digest", manifest.digest)
    with pytest.raises(BundleError, match=f"not the one of ledger entry {entry.seq} [(]{kind}[)]"):
        check_signed(workspace, "v2")
    workspace.state.record(T0, kind, "small/v2", {"bundle": manifest.digest})  # judged since
    check_signed(workspace, "v2")


def _newest(workspace: Workspace) -> tuple[str, bool]:
    entry = workspace.state.ledger()[-1]
    return entry_state(workspace, entry), vouched_entry(workspace, entry)


def test_an_entry_is_worth_what_a_key_signed_of_it_while_it_was_trusted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    workspace.state.record(T0, "stopped", "small/v1", {"scope": "v1"})
    assert _newest(workspace) == ("holds", True)
    first, old = workspace.state.ledger()[0], workspace.state.signing_key()
    late = link(first, (T0 + timedelta(hours=2)).isoformat(), "resumed", "small/v1", {})
    signed = workspace.keys.sign(old, entry_message(late.digest))
    stolen = replace(late, key=signed.key, signature=signed.signature)
    assert entry_state(workspace, stolen) == "holds"
    workspace.state.rotate_key(T0 + timedelta(hours=1), "ann")
    workspace.state.revoke_key(old, T0 + timedelta(hours=2), T0 + timedelta(hours=3), "ann")
    assert entry_state(workspace, stolen) == "void"
    assert entry_state(workspace, first) == "holds", "its key was not void then"
    assert not vouched_entry(workspace, first), "nobody trusts the key any more"


@pytest.mark.parametrize(
    "forged",
    [
        "SET signature = '', key = ''",
        "SET signature = 'ff'",
        'SET evidence = \'{"scope":"v9"}\'',
        "SET evidence = '{\"scope\":NaN}'",
        "SET time = 'garbage'",
    ],
)
def test_an_entry_that_was_altered_is_worth_nothing(tmp_path: Path, forged: str) -> None:
    workspace = make_workspace(tmp_path)
    for _ in range(2):
        workspace.state.record(T0, "stopped", "small/v1", {"scope": "v1"})
    attack(workspace.state.path, f"UPDATE ledger {forged} WHERE seq = 2")
    assert _newest(workspace) == ("altered", False)


def test_unsigned_entries_hold_only_where_they_are_older_than_all_signatures(
    tmp_path: Path,
) -> None:
    old = StateStore(tmp_path / "state" / "state.db", "small")
    workspace = make_workspace(tmp_path)
    with closing(sqlite3.connect(old.path)) as db, db:
        made = link(None, T0.isoformat(), "stopped", "small/v1", {"scope": "v1"})
        row = (1, made.time, made.kind, made.subject, canonical(made.evidence), made.previous)
        db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, '', '')", (*row, made.digest))
    [unsigned] = workspace.state.ledger()
    assert entry_state(workspace, unsigned) == "altered", "nothing signed vouches for it"
    workspace.state.record(T0, "stopped", "small/v2", {"scope": "v2"})
    assert entry_state(workspace, unsigned) == "holds"
