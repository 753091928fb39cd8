"""The ledger's chain shows every edit, deletion, insertion and reordering.

Cutting off the end is not shown by the chain alone and is not claimed here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from setpoint.domain.ledger import GENESIS, Entry, canonical, link, verify

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
