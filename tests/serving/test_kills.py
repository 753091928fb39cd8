"""What a client holds is in the log however often the service is killed, and has an origin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.kills import kill_rounds
from setpoint.domain.bundle import read_bundle
from tests.serving.tiny import Service, make_bundle, row

Start = Callable[..., Service]


def test_every_acknowledged_decision_is_whole_in_the_log_after_repeated_kill_9_under_load(
    bundle: Path, tmp_path: Path
) -> None:
    found = kill_rounds(bundle, tmp_path / "store.db", 2, rate=200, longest=1.5, options=())
    assert found.pop("acknowledged") > 100
    assert found.pop("adverse") > 10
    found.pop("cut")
    assert set(found.values()) == {0}, found


def test_a_decision_names_the_snapshot_and_the_commit_of_its_bundle(start: Start) -> None:
    service = start()
    service.decide(row(1))
    _, shown = service.call("GET", "/v1/decisions/p1")
    manifest = read_bundle(service.bundle).manifest
    assert (shown["snapshot"], shown["commit"]) == (manifest.snapshot.digest, manifest.commit)


def test_a_decision_of_another_bundle_is_given_no_origin_that_is_not_its_own(
    start: Start, tmp_path: Path
) -> None:
    first = start()
    first.decide(row(1))
    other = Service(make_bundle(tmp_path / "other", "8"), first.store, "8", ())
    try:
        _, shown = other.wait_ready().call("GET", "/v1/decisions/p1")
    finally:
        other.kill()
    assert shown["model_digest"] == read_bundle(first.bundle).digest
    assert (shown["snapshot"], shown["commit"]) == (None, None)
