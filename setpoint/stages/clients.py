"""Whether a client asks in order to copy the model, by its decisions of a window."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from setpoint.domain.bundle import Bundle
from setpoint.domain.extraction import MIN_ROWS, MOST, Asked, extraction_findings
from setpoint.domain.findings import Finding
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.workspace import Workspace

Rows = Mapping[str, deque[Mapping[str, Any]]]


def clients(
    workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime, error_rate: float
) -> list[Finding]:
    """Hold what each API key asked against training rows and the other keys.

    Args:
        workspace: The project.
        log: Decisions.
        bundle: Of the champion.
        now: Event time at which the window ends.
        error_rate: For all clients and tests of the window.

    Returns:
        Three findings a client; none where no keys are asked for, where no client has asked
        enough, in a replay, and where the bundle has no sample of its training rows.
    """
    training = bundle.profile.get("sample")
    if workspace.replay or training is None:
        return []  # a history that is played has no clients
    window = DecisionQuery(
        start=now - workspace.project.watch.window,
        end=now,
        version=bundle.manifest.version,
        columns=("client",),
    )
    counted: dict[str, int] = defaultdict(int)
    for batch in log.batches(window):
        for client in batch["client"].to_pylist():
            counted[client] += 1
    if not any(n >= MIN_ROWS for client, n in counted.items() if client):
        return []
    names = [name for name in training if name != "score"]
    asked = _read(log, replace(window, columns=("client", "score", "threshold")), bundle, names)
    return extraction_findings(
        {client: _asked(rows, names) for client, rows in asked.items()}, training, error_rate
    )


def _read(log: DecisionLog, window: DecisionQuery, bundle: Bundle, names: list[str]) -> Rows:
    """The newest rows of each client."""
    table = bundle.table
    own = {table.event_id, table.event_time, table.label}
    sent = [column.name for column in table.columns if column.name not in own]
    newest: dict[str, deque[Mapping[str, Any]]] = defaultdict(lambda: deque(maxlen=MOST))
    for batch in log.batches(replace(window, features=names, request=sent)):
        for row in batch.to_pylist():
            if row["client"]:
                newest[row["client"]].append(row)
    return newest


def _asked(rows: deque[Mapping[str, Any]], names: list[str]) -> Asked:
    inputs = {name: [row[f"f_{name}"] for row in rows] for name in names}
    told = {"client", "score", "threshold", *(f"f_{name}" for name in names)}
    sent = {name: [row[name] for row in rows] for name in rows[0] if name not in told}
    return Asked(inputs, sent, [row["score"] for row in rows], rows[-1]["threshold"])
