"""The state store: one open incident a cause, releases that survive, a ledger that only grows."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from setpoint.adapters.sqlite_state import StateStore
from setpoint.domain.escalation import Mark
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.ledger import canonical
from setpoint.domain.rollout import Rollout, Stage, plan
from setpoint.domain.windows import WindowRecord
from setpoint.errors import ReleaseError, StateError

NOW = datetime(2026, 1, 10, tzinfo=UTC)
STEPS = plan("canary", shadowing=True, steps=(5, 100))


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "state.db", "cards")


def _incident(cause: Cause = Cause.DRIFT, value: float = 0.3) -> Incident:
    finding = Finding("psi", Outcome.FAILED, value, 0.25, "ceiling", 900, 0.001, "high", (0.2, 0.4))
    return Incident("", cause, Severity.HIGH, Status.OPEN, NOW, "v1", (finding,))


def test_an_incident_is_read_as_it_was_written(store: StateStore) -> None:
    opened, new = store.open_incident(_incident())
    assert new and opened.id == "cards-1"
    assert store.incident("cards-1") == opened
    closed = opened.move(Status.RESOLVED, note="passed", at=NOW)
    assert store.move_incident(opened, closed, NOW)
    assert StateStore(store.path, "cards").incidents() == [closed]
    assert store.incidents(only_open=True) == []


@pytest.mark.parametrize("over", [False, True])
def test_an_incident_that_was_written_before_anybody_was_told_is_read_and_its_end_is_not_told(
    store: StateStore, over: bool
) -> None:
    opened, _ = store.open_incident(_incident())
    if over:
        store.move_incident(opened, opened.move(Status.RESOLVED, at=NOW), NOW)
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE incidents SET body = json_remove(body, '$.attention', '$.headlines')")
    assert store.incident(opened.id).attention == opened.attention
    assert [one.id for one in store.untold_incidents()] == ([] if over else [opened.id])


def test_who_was_told_and_who_tells_is_kept_for_each_channel(store: StateStore) -> None:
    opened, _ = store.open_incident(_incident())
    later, mark = NOW + timedelta(minutes=2), Mark(False, 0, 1)
    assert store.claim_telling(opened.id, "team", NOW, later)
    assert not store.claim_telling(opened.id, "team", NOW, later)
    assert store.claim_telling(opened.id, "oncall", NOW, later)
    assert store.claim_telling(opened.id, "team", later, later + timedelta(minutes=2))
    store.end_telling(opened.id, "team", mark)
    store.end_telling(opened.id, "oncall", None)
    assert store.told(opened.id) == {"team": mark}
    assert store.claim_telling(opened.id, "team", NOW, later)
    store.end_telling(opened.id, "team", None)
    assert store.told(opened.id) == {"team": mark}


def test_a_move_keeps_the_evidence_and_the_severity_that_came_meanwhile(store: StateStore) -> None:
    read, _ = store.open_incident(replace(_incident(), severity=Severity.LOW))
    store.open_incident(_incident(value=0.9))
    assert store.move_incident(read, read.move(Status.NEEDS_PERSON, note="look"), NOW)
    after = store.incident(read.id)
    assert (after.findings[0].value, after.severity) == (0.9, Severity.HIGH)
    assert after.attention.turn == 2


def test_a_second_incident_of_an_open_cause_is_the_first_with_newer_findings(
    store: StateStore,
) -> None:
    first, _ = store.open_incident(_incident(value=0.3))
    taken = store.take_incident(first.id, "run-1")
    second, new = store.open_incident(_incident(value=0.9))
    assert taken is not None and not new
    assert (second.id, second.status, second.taken_by) == (first.id, Status.RESPONDING, "run-1")
    assert second.findings[0].value == 0.9
    assert len(store.incidents()) == 1


def test_causes_have_incidents_of_their_own_and_a_resolved_one_stays_so(store: StateStore) -> None:
    drift, _ = store.open_incident(_incident())
    store.open_incident(_incident(Cause.PERFORMANCE))
    store.move_incident(drift, drift.move(Status.RESOLVED, at=NOW), NOW)
    again, new = store.open_incident(_incident())
    assert new and again.id == "cards-3"
    assert [i.id for i in store.incidents(only_open=True)] == ["cards-2", "cards-3"]


def test_an_incident_that_moved_meanwhile_keeps_what_it_is_and_the_ledger_too(
    store: StateStore,
) -> None:
    read, _ = store.open_incident(_incident())
    taken = store.take_incident(read.id, "run-1")
    assert taken is not None
    assert store.move_incident(taken, taken.move(Status.RESOLVED, note="healed", at=NOW), NOW)
    assert not store.move_incident(taken, taken.move(Status.OPEN, note="its run died"), NOW)
    assert store.incident(read.id).status == Status.RESOLVED
    assert [e.kind for e in store.ledger()] == ["incident_opened", "incident_resolved"]


def test_of_many_runs_one_takes_an_incident(store: StateStore) -> None:
    store.open_incident(_incident())
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda i: store.take_incident("cards-1", f"run-{i}"), range(8)))
    winners = [t for t in taken if t is not None]
    assert len(winners) == 1
    assert store.incident("cards-1").taken_by == winners[0].taken_by


@pytest.mark.parametrize("name", ["cards-7", "other-1", "cards", "", "cards-x"])
def test_an_unknown_incident_is_an_error(store: StateStore, name: str) -> None:
    store.open_incident(_incident())
    with pytest.raises(StateError, match="there is no incident"):
        store.incident(name)


def test_a_release_is_resumed_where_it_was_until_it_is_settled(store: StateStore) -> None:
    rollout, new = store.begin_release(Rollout("v2", "v1", STEPS, run="a"))
    assert new
    while not rollout.ended:
        store.save_release(rollout)
        assert store.unsettled_releases() == [rollout] == [store.release("v2")]
        rollout = rollout.advance(Outcome.PASSED)
    store.save_release(rollout)
    taken, new = store.begin_release(Rollout("v2", "v1", STEPS, run="b"))
    assert (taken.stage, taken.run, taken.attempts, new) == (Stage.PROMOTED, "b", 2, False)
    for _ in range(2):  # said again after a kill, it stands once
        store.settle_release(taken, NOW, "promoted", "cards/v2", {})
    assert store.unsettled_releases() == [] and store.release("v3") is None
    assert [e.kind for e in store.ledger()] == ["promoted"]
    last = store.last_promoted()
    assert last is not None and last.challenger == "v2"


def test_a_version_that_comes_back_is_a_release_of_its_own(store: StateStore) -> None:
    for version, before in (("v1", None), ("v2", "v1"), ("v1", "v2")):
        rollout = Rollout(version, before, (), Stage.PROMOTED, cause=version, back=before == "v2")
        store.begin_release(rollout)
        store.settle_release(rollout, NOW, rollout.entry, f"cards/{version}", {})
    assert [r.challenger for r in store.promoted_releases()] == ["v1", "v2", "v1"]
    assert [r.back for r in store.releases_for("v1")] == [False, True]
    newest = store.release("v1")
    assert newest is not None and newest.champion == "v2" and newest == store.last_promoted()
    assert [e.kind for e in store.ledger()] == ["promoted", "promoted", "roll_back"]


def test_a_file_in_which_a_version_is_released_but_once_keeps_its_releases(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    body = canonical(Rollout("v1", None, STEPS, Stage.PROMOTED, settled=True).to_dict())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE releases (challenger TEXT PRIMARY KEY, stage TEXT, body TEXT)")
        db.execute("INSERT INTO releases VALUES ('v1', 'promoted', ?)", (body,))
    store = StateStore(path, "cards")
    store.begin_release(Rollout("v1", "v2", (), back=True))
    assert StateStore(path, "cards").releases_for("") == [
        Rollout("v1", None, STEPS, Stage.PROMOTED, settled=True),
        Rollout("v1", "v2", (), back=True),
    ]


def test_a_run_whose_release_another_took_over_writes_nothing_more(store: StateStore) -> None:
    mine, _ = store.begin_release(Rollout("v2", "v1", STEPS, run="a"))
    theirs, _ = store.begin_release(Rollout("v2", "v1", STEPS, run="b"))
    with pytest.raises(ReleaseError, match="walked by run b"):
        store.save_release(mine.advance(Outcome.PASSED))
    store.settle_release(theirs.roll_back("slow"), NOW, "rolled_back", "cards/v2", {})
    with pytest.raises(ReleaseError, match="is over"):
        store.save_release(theirs.advance(Outcome.PASSED))


def test_two_versions_are_never_released_at_once(store: StateStore) -> None:
    store.begin_release(Rollout("v2", "v1", STEPS, run="a"))
    with pytest.raises(ReleaseError, match="v2 is being released"):
        store.begin_release(Rollout("v3", "v1", (5, 100), True, run="b"))
    assert store.release("v3") is None


def test_the_ledger_is_read_as_written_and_holds(store: StateStore) -> None:
    evidence = {"nested": {"b": [1, 2.5, None], "a": "ö"}, "counts": {2: "two", 10: "ten"}}
    entries = [store.record(NOW, "accepted", f"cards/v{i}", evidence) for i in range(3)]
    assert store.ledger() == entries
    assert not store.audit_ledger((), unsigned_until=99).breaks


def test_threads_that_write_at_once_make_one_chain(store: StateStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.record(NOW, "accepted", f"v{i}", {}), range(20)))
    assert [e.seq for e in store.ledger()] == list(range(1, 21))
    assert not store.audit_ledger((), unsigned_until=99).breaks


def test_what_is_no_json_is_refused_and_leaves_nothing(store: StateStore) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.record(NOW, "accepted", "v1", {"value": float("nan")})
    assert store.ledger() == []


@pytest.mark.parametrize("change", ["UPDATE ledger SET kind = 'x'", "DELETE FROM ledger"])
def test_the_database_refuses_to_change_the_ledger(store: StateStore, change: str) -> None:
    store.record(NOW, "accepted", "v1", {})
    with sqlite3.connect(store.path) as db, pytest.raises(sqlite3.DatabaseError, match="append"):
        db.execute(change)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET subject = 'v9' WHERE seq = 2",
        "UPDATE ledger SET evidence = '{\"value\":2}' WHERE seq = 2",
        "UPDATE ledger SET evidence = 'not json' WHERE seq = 2",
        "UPDATE ledger SET evidence = '{\"value\":NaN}' WHERE seq = 2",
        "DELETE FROM ledger WHERE seq = 1",
    ],
)
def test_a_change_behind_the_triggers_is_found(store: StateStore, change: str) -> None:
    for i in range(3):
        store.record(NOW, "accepted", f"v{i}", {"value": 1})
    with sqlite3.connect(store.path) as db:
        db.execute("DROP TRIGGER ledger_keeps")
        db.execute("DROP TRIGGER ledger_stays")
        db.execute(change)
    [found] = store.audit_ledger((), unsigned_until=99).breaks
    assert found.seq == 2


def test_windows_come_back_in_time_order_and_the_same_end_is_replaced(store: StateStore) -> None:
    found = Finding("recall", Outcome.PASSED, 0.7, 0.5, "floor", 90, 0.01, "holds")
    vienna = timezone(timedelta(hours=2))
    times = [NOW + timedelta(hours=2), (NOW + timedelta(hours=1)).astimezone(vienna), NOW]
    assert store.newest_window() is None
    for when in times:
        store.keep_window(WindowRecord(when, "v1", ()))
    store.keep_window(WindowRecord(times[1], "v2", (found,)))
    assert [(w.end, w.version) for w in store.windows()] == [
        (times[2], "v1"), (times[1], "v2"), (times[0], "v1"),
    ]  # fmt: skip
    assert store.windows(times[1])[0].of("recall") == found
    newest = store.newest_window()
    assert newest is not None and newest.end == times[0]


def test_facts_are_kept_and_replaced(store: StateStore) -> None:
    assert store.recall("watched_until") is None
    store.remember("watched_until", "a")
    store.remember("watched_until", "b")
    assert StateStore(store.path, "cards").recall("watched_until") == "b"


def test_a_damaged_file_is_a_state_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, and long enough to be looked at " * 20)
    with pytest.raises(StateError, match="not a usable state database") as caught:
        StateStore(path, "cards")
    assert str(path) in str(caught.value) and caught.value.fix


def test_a_file_cut_in_half_is_a_state_error(store: StateStore) -> None:
    for i in range(50):
        store.record(NOW, "accepted", f"v{i}", {"text": "x" * 200})
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = store.path.read_bytes()
    store.path.write_bytes(data[: len(data) // 2 // 4096 * 4096 - 100])
    with pytest.raises(StateError, match="not a usable state database"):
        StateStore(store.path, "cards")


def test_facts_are_kept_with_the_move_of_an_incident_or_not_at_all(store: StateStore) -> None:
    opened, _ = store.open_incident(_incident())
    ended = opened.move(Status.RESOLVED, at=NOW)
    assert store.move_incident(opened, ended, NOW, facts={"first": "1"})
    assert not store.move_incident(opened, ended, NOW, facts={"first": "2", "second": "2"})
    assert (store.recall("first"), store.recall("second")) == ("1", None)
