"""The service sends a share of what it would let pass to review, and logs the probability."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.adapters.sqlite_link import connect
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.exploration import explores
from setpoint.ports import Decision
from setpoint.serving.batch import answer_of
from setpoint.serving.engine import Engine, Score
from setpoint.serving.rows import RowReader
from tests.serving.tiny import row

SHARE = 0.1
ROWS = [row(i, amount=900 if i % 10 == 0 else 30) for i in range(1000)]


def decide(bundle: Bundle, store: Path, rows: Sequence[dict[str, Any]]) -> list[Decision]:
    """What an engine with ``bundle`` decides on ``rows``, one commit after another."""
    connection = connect(store, "normal")
    online, log = SqliteOnlineStore(connection, bundle.features), SqliteDecisionLog(connection)
    engine = Engine(bundle, "7", connection, online, log, lambda *_: None, 60)
    reader = RowReader(bundle.table)

    async def ask() -> list[Decision]:
        work = (Score(reader.check(one), False, "t") for one in rows)
        return await asyncio.gather(*(engine.submit(one) for one in work))

    engine.start()
    try:
        return asyncio.run(ask())
    finally:
        engine.stop()
        connection.close()


def exploring(folder: Path, share: float) -> Bundle:
    """The bundle with a share."""
    read = read_bundle(folder)
    return replace(read, decision=replace(read.decision, exploration=share))


@pytest.fixture(scope="module")
def decided(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Decision]:
    """Decisions with exploration."""
    return decide(exploring(bundle, SHARE), tmp_path_factory.mktemp("e") / "s.db", ROWS)


def test_a_known_share_of_what_would_pass_is_reviewed_and_says_so(decided: list[Decision]) -> None:
    under = [one for one in decided if one.score < one.threshold]
    drawn = [one for one in under if one.action == "review"]
    assert len(under) > 800
    assert {one.id for one in drawn} == {
        one.id for one in under if explores(one.id, one.bundle_digest, SHARE)
    }
    assert {tuple(one.reasons) for one in drawn} == {("exploration",)}
    assert all(not one.reasons for one in under if one.action == "approve")
    assert {one.label_propensity for one in under} == {SHARE}
    assert answer_of(drawn[0])["reason_codes"] == ["exploration"]


def test_what_reaches_the_threshold_is_reviewed_for_its_features(decided: list[Decision]) -> None:
    above = [one for one in decided if one.score >= one.threshold]
    assert len(above) > 50
    assert {one.label_propensity for one in above} == {1.0}
    assert all(one.reasons and "exploration" not in one.reasons for one in above)


def test_a_retry_and_another_service_draw_alike(
    decided: list[Decision], bundle: Path, tmp_path: Path
) -> None:
    read = exploring(bundle, SHARE)
    elsewhere = decide(read, tmp_path / "other.db", ROWS[::-1])
    again = decide(read, tmp_path / "other.db", ROWS)
    first = {one.id: (one.action, one.label_propensity) for one in decided}
    assert {one.id: (one.action, one.label_propensity) for one in elsewhere} == first
    assert {one.id: (one.action, one.label_propensity) for one in again} == first


def test_without_exploration_nothing_is_drawn_and_no_probability_logged(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bool:
        raise AssertionError("a row was drawn")

    monkeypatch.setattr("setpoint.serving.scorer.explores", never)
    for one in decide(read_bundle(bundle), tmp_path / "s.db", ROWS):
        assert (one.action == "review") == (one.score >= one.threshold)
        assert one.label_propensity is None
