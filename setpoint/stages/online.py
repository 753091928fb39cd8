"""The online store's past: filled once, and forgotten when no window reaches it any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.stages.assemble import history
from setpoint.workspace import Workspace

SPARE = timedelta(days=1)
"""How much longer events are kept than the longest window: they may come late."""


@contextmanager
def _store(workspace: Workspace) -> Iterator[SqliteOnlineStore]:
    with closing(sqlite3.connect(workspace.live_store, isolation_level=None, timeout=30)) as db:
        yield SqliteOnlineStore(db, workspace.project.feature_spec())


def seed(workspace: Workspace) -> None:
    """Give the online store the past that its windows reach back to; once."""
    if workspace.state.recall("online_seeded"):
        return
    known = history(workspace)
    with _store(workspace) as store:
        store.seed(known.events, known.labels)
    workspace.state.remember("online_seeded", known.now.isoformat())


def forget(workspace: Workspace, now: datetime) -> int:
    """Drop events that no window reaches any more, once a day of event time; returns how many."""
    reach = timedelta(seconds=workspace.project.feature_spec().longest_seconds)
    last = workspace.state.recall("online_forgotten")
    due = last is None or now - datetime.fromisoformat(last) >= timedelta(days=1)
    if not due or not workspace.state.recall("online_seeded"):
        return 0
    with _store(workspace) as store:
        dropped = store.forget(now - reach - SPARE)
    workspace.state.remember("online_forgotten", now.isoformat())
    return dropped
