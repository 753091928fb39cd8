"""Each way of changing the ledger behind the program's back is found, and where.

The attacker writes the SQLite file as it lies there, with its triggers dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.adapters.seal_file import SealFile
from setpoint.adapters.signing import Keys
from setpoint.adapters.sqlite_state import StateStore
from setpoint.domain import seals
from setpoint.domain.ledger import GENESIS, Break, bound, entry_digest
from setpoint.domain.seals import Seal
from setpoint.domain.signatures import entry_message

NOW = datetime(2026, 1, 10, tzinfo=UTC)
ENTRIES = 30
ROTATION = 12
COLUMNS = ("seq", "time", "kind", "subject", "evidence", "previous", "digest", "key", "signature")


class Ledger:
    """A ledger with its keys and seals, and what an attacker can do to its file."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys(folder / "keys")
        self.state = StateStore(folder / "state.db", "cards", self.keys)
        self.seals = SealFile(folder / "seals")

    def seal(self) -> None:
        """Seal the head."""

        def make(lines: Sequence[bytes]) -> Seal:
            head = self.state.entry()
            assert head is not None
            fresh = Seal("cards", head.seq, head.digest, NOW.isoformat(), seals.after(lines))
            return fresh.signed(lambda said: self.keys.sign(self.state.signing_key(), said))

        self.seals.add(make)

    def breaks(self, lines: Sequence[bytes] | None = None) -> list[Break]:
        """What is found."""
        return list(self.state.audit_ledger(self.seals.lines() if lines is None else lines).breaks)

    def attack(self, *statements: str) -> None:
        """Change the file from outside."""
        with closing(sqlite3.connect(self.state.path)) as db, db:
            db.execute("DROP TRIGGER IF EXISTS ledger_keeps")
            db.execute("DROP TRIGGER IF EXISTS ledger_stays")
            for statement in statements:
                db.execute(statement)

    def chain_again(self, first: int, sign: Callable[[str], tuple[str, str]] | None = None) -> None:
        """Make every link from an entry on again, as who has no key can."""
        with closing(sqlite3.connect(self.state.path)) as db, db:
            rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM ledger ORDER BY seq").fetchall()
            previous = GENESIS
            for seq, at, kind, subject, evidence, _, digest, key, signature in rows:
                if seq >= first:
                    digest = _digest_of(seq, at, kind, subject, evidence, previous)
                    key, signature = sign(digest) if sign else (key, signature)
                    db.execute(
                        "UPDATE ledger SET previous = ?, digest = ?, key = ?, signature = ? "
                        "WHERE seq = ?",
                        (previous, digest, key, signature, seq),
                    )
                previous = bound(digest, key, signature)


def _digest_of(seq: int, at: str, kind: str, subject: str, evidence: str, previous: str) -> str:
    import json

    return entry_digest(seq, at, kind, subject, json.loads(evidence), previous)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    for number in range(1, ENTRIES + 1):
        if number == ROTATION:
            made.state.rotate_key(NOW, "ann")
        else:
            time_of = NOW + timedelta(hours=number)
            made.state.record(time_of, "promoted", f"cards/v{number}", {"value": number})
        if number in (10, 20, ENTRIES):
            made.seal()
    return made


def _one(found: list[Break]) -> tuple[str, int]:
    assert len(found) == 1, found
    return found[0].of, found[0].seq


def test_an_untouched_ledger_holds_across_a_rotation_and_its_seals(ledger: Ledger) -> None:
    found = ledger.state.audit_ledger(ledger.seals.lines())
    assert (found.entries, found.signed, found.seals, found.breaks) == (ENTRIES, ENTRIES, 3, ())


@pytest.mark.parametrize("seq", [1, 7, ROTATION, 15, ENTRIES])
@pytest.mark.parametrize("column", COLUMNS[1:])
def test_an_edit_of_any_column_of_any_entry_is_found_at_it(
    ledger: Ledger, seq: int, column: str
) -> None:
    value = {"evidence": '{"value":0}', "time": "2020-01-01T00:00:00+00:00"}.get(column, "ab" * 32)
    ledger.attack(f"UPDATE ledger SET {column} = '{value}' WHERE seq = {seq}")
    assert _one(ledger.breaks()) == ("entry", seq)


@pytest.mark.parametrize("seq", [1, 7, ROTATION, 15, ENTRIES])
def test_an_edit_whose_own_digest_was_made_again_is_found_at_it(ledger: Ledger, seq: int) -> None:
    ledger.attack(f"""UPDATE ledger SET evidence = '{{"value":0}}' WHERE seq = {seq}""")
    with closing(sqlite3.connect(ledger.state.path)) as db, db:
        row = db.execute(f"SELECT {', '.join(COLUMNS)} FROM ledger WHERE seq = {seq}").fetchone()
        db.execute("UPDATE ledger SET digest = ? WHERE seq = ?", (_digest_of(*row[:6]), seq))
    found = ledger.breaks()
    assert found[0].seq == seq and found[0].of == "entry"


@pytest.mark.parametrize("first", [1, 2, 7, 13, 21, ENTRIES])
def test_who_makes_the_whole_chain_again_without_the_key_is_found_where_it_begins(
    ledger: Ledger, first: int
) -> None:
    ledger.attack(f"""UPDATE ledger SET evidence = '{{"value":0}}' WHERE seq = {first}""")
    ledger.chain_again(first)
    found = ledger.breaks(lines=[])
    assert _one(found) == ("entry", first)
    assert "did not sign" in found[0].reason


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("first", [1, 7, 21])
def test_who_signs_the_chain_with_a_key_of_their_own_is_found(
    ledger: Ledger, tmp_path: Path, first: int, trusted: bool
) -> None:
    own = Keys(tmp_path / "own")
    key = own.make()
    if trusted and first > 1:  # even among the trusted ones: the ledger never named it
        (tmp_path / "own" / "trusted" / f"{key}.pem").rename(
            tmp_path / "keys" / "trusted" / f"{key}.pem"
        )

    def sign(digest: str) -> tuple[str, str]:
        made = own.sign(key, entry_message(digest))
        return made.key, made.signature

    ledger.attack()
    ledger.chain_again(first, sign)
    found = ledger.breaks(lines=[])
    assert _one(found) == ("entry", first)
    assert "foreign signature" in found[0].reason and key in found[0].reason


@pytest.mark.parametrize("first", [1, 2, 21, ENTRIES])
def test_who_takes_the_signatures_away_is_found(ledger: Ledger, first: int) -> None:
    ledger.attack()
    ledger.chain_again(first, lambda digest: ("", ""))
    found = ledger.breaks(lines=[])
    assert _one(found) == ("entry", first)
    assert found[0].reason.startswith("unsigned")


def test_the_replaced_key_signs_nothing_any_more(ledger: Ledger, tmp_path: Path) -> None:
    old = ledger.state.ledger()[0].key
    assert [path.stem for path in (tmp_path / "keys").glob("*.pem")] != [old]
    ledger.attack(f"UPDATE ledger SET key = '{old}' WHERE seq = 20")
    found = ledger.breaks()
    assert _one(found) == ("entry", 20) and "in force was" in found[0].reason


def test_a_rotation_to_a_key_that_the_old_one_did_not_sign_for_is_found(
    ledger: Ledger, tmp_path: Path
) -> None:
    own = Keys(tmp_path / "own")
    key = own.make()
    (tmp_path / "own" / "trusted" / f"{key}.pem").rename(
        tmp_path / "keys" / "trusted" / f"{key}.pem"
    )
    ledger.attack(f"""UPDATE ledger SET evidence = '{{"to":"{key}"}}' WHERE seq = {ROTATION}""")
    ledger.chain_again(ROTATION)
    assert _one(ledger.breaks(lines=[])) == ("entry", ROTATION)

    def sign(digest: str) -> tuple[str, str]:
        made = own.sign(key, entry_message(digest))
        return made.key, made.signature

    ledger.chain_again(ROTATION + 1, sign)  # so that the last signature holds
    assert _one(ledger.breaks(lines=[])) == ("entry", ROTATION)


@pytest.mark.parametrize("seq", [1, 7, ROTATION, 15, ENTRIES - 1])
def test_a_deletion_is_found_where_it_was(ledger: Ledger, seq: int) -> None:
    ledger.attack(f"DELETE FROM ledger WHERE seq = {seq}")
    found = ledger.breaks()
    assert _one(found) == ("entry", seq + 1) and f"entry {seq} is missing" in found[0].reason


@pytest.mark.parametrize("seq", [7, 15])
def test_a_deletion_whose_gap_was_closed_is_found(ledger: Ledger, seq: int) -> None:
    ledger.attack(f"DELETE FROM ledger WHERE seq = {seq}")
    ledger.attack(
        f"UPDATE ledger SET seq = -seq WHERE seq > {seq}",
        "UPDATE ledger SET seq = -seq - 1 WHERE seq < 0",
    )
    assert _one(ledger.breaks()) == ("entry", seq)
    ledger.chain_again(seq)
    assert _one(ledger.breaks(lines=[])) == ("entry", seq)
    assert ("entry", seq) in [(one.of, one.seq) for one in ledger.breaks()]


def test_two_entries_in_each_others_place_are_found(ledger: Ledger) -> None:
    ledger.attack(
        "UPDATE ledger SET seq = -1 WHERE seq = 14",
        "UPDATE ledger SET seq = 14 WHERE seq = 15",
        "UPDATE ledger SET seq = 15 WHERE seq = -1",
    )
    assert _one(ledger.breaks()) == ("entry", 14)


def test_an_entry_put_in_is_found(ledger: Ledger) -> None:
    ledger.attack(
        "UPDATE ledger SET seq = -seq - 1 WHERE seq > 8",
        "UPDATE ledger SET seq = -seq WHERE seq < 0",
        "INSERT INTO ledger SELECT 9, time, kind, subject, evidence, previous, digest, key, "
        "signature FROM ledger WHERE seq = 8",
    )
    assert _one(ledger.breaks()) == ("entry", 9)


@pytest.mark.parametrize(("kept", "missing"), [(29, 30), (19, 30), (0, 30)])
def test_a_cut_off_end_is_found_by_the_seals(ledger: Ledger, kept: int, missing: int) -> None:
    ledger.attack(f"DELETE FROM ledger WHERE seq > {kept}")
    found = ledger.breaks()
    assert _one(found) == ("entry", kept + 1)
    assert f"up to entry {missing}" in found[0].reason


def test_an_end_cut_off_with_its_seals_shows_in_another_copy_of_them_alone(ledger: Ledger) -> None:
    copy = ledger.seals.lines()
    ledger.attack("DELETE FROM ledger WHERE seq > 25")
    ledger.seals.path.write_bytes(b"\n".join(copy[:2]) + b"\n")
    assert ledger.breaks() == []
    assert _one(ledger.breaks(copy)) == ("entry", 26)


def test_an_end_that_was_cut_off_and_written_anew_is_found_at_the_seal(ledger: Ledger) -> None:
    ledger.attack("DELETE FROM ledger WHERE seq > 18")
    for number in range(20):  # by the program itself, with the key
        ledger.state.record(NOW, "promoted", "cards/v99", {"value": number})
    assert [(one.of, one.seq) for one in ledger.breaks()] == [("entry", 20), ("entry", 30)]
    assert ledger.breaks(lines=[]) == []


def test_a_changed_seal_and_one_taken_out_of_the_middle_are_found(ledger: Ledger) -> None:
    lines = ledger.seals.lines()
    changed = lines[1].replace(b'"seq":20', b'"seq":19')
    assert [(b.of, b.seq) for b in ledger.breaks([lines[0], changed, lines[2]])] == [
        ("seal", 2),
        ("seal", 3),  # it names the line that was there
    ]
    assert [(b.of, b.seq) for b in ledger.breaks([lines[0], lines[2]])] == [("seal", 2)]
    assert [(b.of, b.seq) for b in ledger.breaks([*lines[:2], b'{"seq":'])] == [("seal", 3)]


def test_a_line_torn_by_a_power_failure_is_passed_over_once_a_seal_follows_it(
    ledger: Ledger,
) -> None:
    with ledger.seals.path.open("ab") as file:
        file.write(b'{"digest":"ab')
    assert [(b.of, b.seq) for b in ledger.breaks()] == [("seal", 4)]
    ledger.state.record(NOW, "promoted", "cards/v99", {})
    ledger.seal()
    assert ledger.breaks() == [] and len(ledger.seals.lines()) == 5


def test_entries_of_before_signatures_are_read_and_reported(tmp_path: Path) -> None:
    plain = StateStore(tmp_path / "state.db", "cards")
    for number in range(4):
        plain.record(NOW, "promoted", "cards/v1", {"value": number, "by": {2: "b", 10: "a"}})
    with closing(sqlite3.connect(plain.path)) as db, db:  # as the table was before
        db.execute("DROP TRIGGER ledger_keeps")
        numbers_first = '{"by":{"2":"b","10":"a"},"value":0}'
        db.execute("UPDATE ledger SET evidence = ? WHERE seq = 1", (numbers_first,))
        for column in ("key", "signature"):
            db.execute(f"ALTER TABLE ledger DROP COLUMN {column}")
    ledger = Ledger(tmp_path)
    ledger.state.record(NOW, "promoted", "cards/v2", {})
    assert [bool(entry.key) for entry in ledger.state.ledger()] == [False] * 4 + [True]
    found = ledger.breaks()
    assert _one(found) == ("entry", 1) and "as are 3 after it" in found[0].reason
    assert ledger.state.audit_ledger((), unsigned_until=4).breaks == ()
    assert _one(list(ledger.state.audit_ledger((), unsigned_until=3).breaks)) == ("entry", 4)
    ledger.attack("""UPDATE ledger SET evidence = '{"value":9}' WHERE seq = 2""")
    ledger.chain_again(2)
    assert _one(list(ledger.state.audit_ledger((), unsigned_until=4).breaks)) == ("entry", 5)


def test_what_is_no_text_is_found_where_it_stands(ledger: Ledger) -> None:
    ledger.attack("UPDATE ledger SET signature = CAST(x'ff00fe' AS TEXT) WHERE seq = 5")
    assert _one(ledger.breaks()) == ("entry", 5)
    ledger.attack("UPDATE ledger SET evidence = x'ff00fe' WHERE seq = 3")
    assert _one(ledger.breaks()) == ("entry", 3)


def test_a_revoked_key_is_void_from_its_time_on(ledger: Ledger) -> None:
    old = ledger.state.ledger()[0].key
    ledger.state.revoke_key(old, NOW + timedelta(hours=7, minutes=30), NOW, "ann")
    found = ledger.breaks()
    assert _one(found) == ("key", 8) and f"by key {old} after it was revoked" in found[0].reason
    assert "as are 3 more, the last entry 11" in found[0].reason
    whole = ledger.state.audit_ledger(ledger.seals.lines())
    assert (whole.entries, whole.seals, whole.altered) == (ENTRIES + 1, 3, ())
    assert not ledger.keys.trusted.check(old, b"", "") and old in ledger.keys.known.ids()


@pytest.mark.parametrize("seq", [3, 9, ROTATION, 20, ENTRIES])
def test_what_is_altered_before_and_after_void_entries_is_found_too(
    ledger: Ledger, seq: int
) -> None:
    old = ledger.state.ledger()[0].key
    ledger.state.revoke_key(old, NOW + timedelta(hours=7, minutes=30), NOW, "ann")
    ledger.attack(f"""UPDATE ledger SET evidence = '{{"value":0}}' WHERE seq = {seq}""")
    found = [(one.of, one.seq) for one in ledger.breaks(lines=[])]
    assert found == [("entry", seq)] + [("key", 8)] * (seq > 8)
    ledger.chain_again(seq)
    found = [(one.of, one.seq) for one in ledger.breaks(lines=[])]
    assert found[0] == ("entry", seq)


def test_each_revoked_key_is_told_of_by_itself(ledger: Ledger) -> None:
    first, second = ledger.state.ledger()[0].key, ledger.state.ledger()[-1].key
    ledger.state.rotate_key(NOW, "ann")
    ledger.state.revoke_key(first, NOW + timedelta(hours=11), NOW, "ann")
    ledger.state.revoke_key(second, NOW + timedelta(hours=29), NOW, "ann")
    found = ledger.breaks()
    assert [(one.of, one.seq) for one in found] == [("key", 11), ("key", 29)]
    assert first in found[0].reason and "more" not in found[0].reason
    assert second in found[1].reason and "1 more, the last entry 30" in found[1].reason


def test_a_program_without_keys_adds_nothing_to_a_signed_ledger(ledger: Ledger) -> None:
    from setpoint.errors import StateError

    with pytest.raises(StateError, match="was given no keys"):
        StateStore(ledger.state.path, "cards").record(NOW, "promoted", "cards/v9", {})
    assert ledger.breaks() == []
