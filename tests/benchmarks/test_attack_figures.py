"""The figures of attacks on the service: what is refused leaves nothing and delays nobody."""

from __future__ import annotations

import pytest

from benchmarks.attacks import requests


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests of each kind, and a flood of more than its key may send."""
    monkeypatch.setattr(requests, "ASKED", 15)
    monkeypatch.setattr(requests, "PER_MINUTE", 3)


def test_malformed_and_oversized_requests_leave_nothing_and_honest_ones_are_scored() -> None:
    found = requests.refused(1)["requests_refused"]
    assert isinstance(found, list)
    assert [one["status"] for one in found] == ["400", "422", "413"]
    for one in found:
        assert one["sent"] == one["answered as described"] >= 15
        assert one["scored"] == one["decisions left behind"] == 0
        assert one["honest rows meanwhile"] == one["of them scored"] == 15


def test_a_rate_for_each_key_stops_a_flood_and_no_honest_row() -> None:
    scored, unanswered = requests.floods(1)
    assert scored["off"] == 1.0 and scored["on"] < 1.0
    assert unanswered["off"] == unanswered["on"] == 0.0
