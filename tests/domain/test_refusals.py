"""Every refusal is told once, and no client decides how often the ledger is told."""

from __future__ import annotations

import itertools
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.refusals import MOST_PROCESSES, TELL_EVERY, Denied, Tally, tally_of
from tests.stages.small import T0

ROLE = Denied("v1", "role", "shop", "audit")
KEY = Denied("v1", "key", "", "score")
MINUTE = timedelta(minutes=1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # which process was read
            st.dictionaries(st.sampled_from([ROLE, KEY]), st.integers(0, 50)),  # refused since
            st.integers(1, 90),  # minutes until the sweep
        ),
        max_size=40,
    )
)
def test_each_refusal_is_told_once_and_at_most_one_entry_falls_into_an_hour(
    sweeps: list[tuple[int, dict[Denied, int], int]],
) -> None:
    counters: dict[int, dict[Denied, int]] = {}
    now, tally, told, entries = T0, Tally(), 0, []
    for process, fresh, minutes in sweeps:
        now += minutes * MINUTE
        mine = counters.setdefault(process, {})
        for kind, n in fresh.items():
            mine[kind] = mine.get(kind, 0) + n
        tally = tally_of(tally.read(f"v1@{process}", dict(mine), now).text())
        if tally.due(now):
            told += tally.evidence(now)["total"]
            entries.append(now)
            tally = tally.emptied(now)
    happened = sum(sum(mine.values()) for mine in counters.values())
    assert told + sum(tally.waiting.values()) == happened
    assert all(b - a >= TELL_EVERY for a, b in itertools.pairwise(entries))


def test_a_process_that_started_anew_counts_from_nought() -> None:
    tally = Tally().read("v1@1", {ROLE: 5}, T0).read("v1@2", {ROLE: 2}, T0 + MINUTE)
    assert tally.waiting == {ROLE: 7} and tally.since == T0.isoformat()


def test_pods_of_one_version_that_are_read_in_turns_are_not_counted_twice() -> None:
    tally = Tally()
    for _ in range(5):
        tally = tally.read("v1@1", {ROLE: 5}, T0).read("v1@2", {ROLE: 2}, T0)
    assert tally.waiting == {ROLE: 7}


def test_counters_of_processes_that_are_gone_are_not_kept_for_ever() -> None:
    tally = Tally()
    for start in range(3 * MOST_PROCESSES):
        tally = tally.read(f"v1@{start}", {KEY: 1}, T0)
    assert len(tally.seen) == MOST_PROCESSES and tally.waiting == {KEY: 3 * MOST_PROCESSES}
    assert "v1@0" not in tally.seen and f"v1@{3 * MOST_PROCESSES - 1}" in tally.seen


def test_the_ledger_is_told_who_lacked_what_and_how_often() -> None:
    tally = Tally().read("v1@1", {ROLE: 5, KEY: 2}, T0)
    assert tally.evidence(T0 + MINUTE) == {
        "since": T0.isoformat(),
        "until": (T0 + MINUTE).isoformat(),
        "total": 7,
        "refused": [
            {"version": "v1", "rule": "key", "key": "", "needs": "score", "count": 2},
            {"version": "v1", "rule": "role", "key": "shop", "needs": "audit", "count": 5},
        ],
    }
