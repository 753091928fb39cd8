"""Retention: decisions are dropped once they are older than the project keeps them."""

from __future__ import annotations

from datetime import datetime, timedelta

from setpoint.ports import DecisionQuery
from setpoint.workspace import Workspace

EVERY = timedelta(days=1)


def forget(workspace: Workspace, now: datetime) -> int:
    """Drop decisions older than ``decisions.keep``, once a day of event time; returns how many.

    The ledger is told before they go.

    Raises:
        StateError: The store failed; what is left is dropped by the next call.
    """
    keep = workspace.project.decisions.keep
    if keep is None:
        return 0
    last = workspace.state.recall("decisions_forgotten")
    if last is not None and now - datetime.fromisoformat(last) < EVERY:
        return 0
    before = now - keep
    oldest = next(workspace.decisions.batches(DecisionQuery(end=before, columns=("id",)), rows=1))
    if oldest.num_rows:
        workspace.state.record(
            now, "decisions_dropped", workspace.project.name, {"before": before.isoformat()}
        )
    dropped = workspace.decisions.forget(before)
    workspace.state.remember("decisions_forgotten", now.isoformat())
    return dropped
