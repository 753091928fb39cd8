"""The ledger's chain shows every edit, deletion, insertion and reordering.

Cutting off the end is shown by seals, and a chain that was made again by its signatures.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from setpoint.domain import seals
from setpoint.domain.ledger import GENESIS, Entry, Row, canonical, link, verify
from setpoint.domain.ledger_audit import audit
from setpoint.domain.seals import Seal
from setpoint.domain.signatures import Signature, entry_message

FEW = settings(max_examples=40, deadline=None)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
    max_leaves=6,
)
EVIDENCE = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["promoted", "refused"]), st.text(max_size=6), EVIDENCE),
    min_size=2,
    max_size=6,
)


def _chain(events: list[tuple[str, str, dict[str, Any]]]) -> list[Entry]:
    entries: list[Entry] = []
    for kind, subject, evidence in events:
        last = entries[-1] if entries else None
        entries.append(link(last, "2026-01-01T00:00:00+00:00", kind, subject, evidence))
    return entries


@FEW
@given(EVENTS)
def test_an_untouched_chain_holds(events: list[Any]) -> None:
    assert verify(_chain(events)) is None


@FEW
@given(EVENTS, st.data())
def test_any_edit_is_found_at_its_entry(events: list[Any], data: st.DataObject) -> None:
    entries = _chain(events)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(
        st.sampled_from(["time", "kind", "subject", "evidence", "previous", "digest"])
    )
    value = data.draw(EVIDENCE if field == "evidence" else st.text(max_size=64))
    # 1, 1.0 and True are equal in Python and not in JSON.
    assume(canonical(value) != canonical(getattr(entries[place], field)))
    entries[place] = replace(entries[place], **{field: value})
    found = verify(entries)
    assert found is not None and found.seq == entries[place].seq


@FEW
@given(EVENTS, st.data())
def test_an_edit_whose_digest_was_made_again_breaks_the_next_entry(
    events: list[Any], data: st.DataObject
) -> None:
    entries = _chain(events)
    place = data.draw(st.integers(0, len(entries) - 2))
    before = entries[place - 1] if place else None
    forged = link(before, "2030-01-01T00:00:00+00:00", "promoted", "forged", {})
    entries[place] = forged
    found = verify(entries)
    assert found is not None and found.seq == entries[place + 1].seq


@FEW
@given(EVENTS, st.data())
def test_any_deletion_before_the_end_is_found(events: list[Any], data: st.DataObject) -> None:
    entries = _chain(events)
    gone = data.draw(st.sets(st.integers(0, len(entries) - 2), min_size=1))
    assert verify([e for i, e in enumerate(entries) if i not in gone]) is not None


@FEW
@given(EVENTS, st.data())
def test_any_reordering_is_found(events: list[Any], data: st.DataObject) -> None:
    entries = _chain(events)
    shuffled = data.draw(st.permutations(entries))
    assume([e.seq for e in shuffled] != [e.seq for e in entries])
    assert verify(shuffled) is not None


@FEW
@given(EVENTS, st.data())
def test_an_entry_put_in_twice_is_found(events: list[Any], data: st.DataObject) -> None:
    entries = _chain(events)
    place = data.draw(st.integers(0, len(entries) - 1))
    assert verify([*entries[:place], entries[place], *entries[place:]]) is not None


def test_evidence_changed_to_what_json_cannot_hold_is_found() -> None:
    entry = link(None, "t", "promoted", "v1", {"value": 1.0})
    assert verify([replace(entry, evidence={"value": math.nan})]) is not None


def test_what_json_cannot_hold_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        link(None, "t", "promoted", "v1", {"value": math.nan})


def test_the_digest_of_an_entry_never_changes_between_versions() -> None:
    entry = link(None, "2026-01-01T00:00:00+00:00", "promoted", "cards/v1", {"b": 1, "a": [0.5]})
    assert (entry.seq, entry.previous) == (1, GENESIS)
    assert entry.digest == "a11f79b58700c5865a79011dda85858f3a6e2edb6a5a975f7adcfe4c41a0fe96"


def test_no_entries_are_no_break() -> None:
    assert verify([]) is None


KEYS = {"a": b"1", "b": b"2"}


def _sign(key: str, message: bytes) -> str:
    """A stand-in for Ed25519: who has the secret can sign, nobody else."""
    return hashlib.sha256(KEYS.get(key, b"attacker") + message).hexdigest()


def _check(key: str, message: bytes, signature: str) -> bool:
    return key in KEYS and _sign(key, message) == signature


def _signed_chain(events: list[tuple[str, str, dict[str, Any]]], key: str = "a") -> list[Entry]:
    entries: list[Entry] = []
    for kind, subject, evidence in events:
        last = entries[-1] if entries else None
        entry = link(last, "2026-01-01T00:00:00+00:00", kind, subject, evidence)
        said = _sign(key, entry_message(entry.digest))
        entries.append(replace(entry, key=key, signature=said))
    return entries


def _audit(entries: list[Entry], lines: list[bytes] | None = None) -> list[tuple[str, int]]:
    rows: list[Row] = [
        (
            *(e.seq, e.time, e.kind, e.subject, canonical(dict(e.evidence))),
            *(e.previous, e.digest, e.key, e.signature),
        )
        for e in entries
    ]
    found = audit(rows, lambda seq: rows[seq - 1], lines or [], "cards", _check)
    return [(one.of, one.seq) for one in found.breaks]


@FEW
@given(EVENTS)
def test_a_signed_chain_holds_and_so_does_each_of_its_beginnings(events: list[Any]) -> None:
    entries = _signed_chain(events)
    assert all(_audit(entries[:n]) == [] for n in range(len(entries) + 1))


@FEW
@given(EVENTS, st.data())
def test_any_change_of_a_signature_is_found_at_its_entry(
    events: list[Any], data: st.DataObject
) -> None:
    entries = _signed_chain(events)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(["key", "signature"]))
    value = data.draw(st.text(max_size=8) | st.sampled_from(["b", "", "f" * 64]))
    assume(value != getattr(entries[place], field))
    entries[place] = replace(entries[place], **{field: value})
    assert _audit(entries) == [("entry", place + 1)]


@FEW
@given(EVENTS, st.data())
def test_a_chain_made_again_without_the_key_is_found_where_it_begins(
    events: list[Any], data: st.DataObject
) -> None:
    entries = _signed_chain(events)
    place = data.draw(st.integers(0, len(entries) - 1))
    for i in range(place, len(entries)):
        was, before = entries[i], entries[i - 1] if i else None
        subject = "forged" if i == place else was.subject
        assume(subject != was.subject or i > place)
        made = link(before, was.time, was.kind, subject, was.evidence)
        entries[i] = replace(made, key=was.key, signature=was.signature)
    assert verify(entries) is None  # the chain alone does not show it
    assert _audit(entries) == [("entry", place + 1)]


@FEW
@given(EVENTS, st.data())
def test_any_cut_below_a_seal_is_found(events: list[Any], data: st.DataObject) -> None:
    entries = _signed_chain(events)
    lines: list[bytes] = []
    for entry in entries:
        fresh = Seal("cards", entry.seq, entry.digest, entry.time, seals.after(lines))
        lines.append(fresh.signed(lambda said: Signature("b", _sign("b", said))).line())
    kept = data.draw(st.integers(0, len(entries) - 1))
    assert _audit(entries, lines) == []
    assert _audit(entries[:kept], lines) == [("entry", kept + 1)]


def test_a_key_is_taken_only_if_the_one_before_signed_for_it() -> None:
    rotated = _signed_chain([("promoted", "v1", {}), ("key_rotated", "keys", {"to": "b"})])
    after = link(rotated[-1], "2026-01-02T00:00:00+00:00", "promoted", "v2", {})
    by_b = replace(after, key="b", signature=_sign("b", entry_message(after.digest)))
    by_a = replace(after, key="a", signature=_sign("a", entry_message(after.digest)))
    assert _audit([*rotated, by_b]) == []
    assert _audit([*rotated, by_a]) == [("entry", 3)]
    assert _audit([rotated[0], _signed_chain([("promoted", "v1", {})] * 2, "b")[1]]) != []
