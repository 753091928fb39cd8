"""The benchmark measures a ledger that holds."""

from __future__ import annotations

from benchmarks.governance import measure_ledger


def test_the_ledger_that_is_timed_is_verified_whole() -> None:
    found = measure_ledger(250)
    assert (found["ledger_entries"], found["ledger_seals"]) == (250, 125)
    assert found["ledger_seconds"] >= 0
