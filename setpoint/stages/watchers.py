"""Who watches the watchers: flows that went silent, decisions that nobody looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from setpoint.domain.findings import Finding, check_value, not_measured
from setpoint.domain.incidents import Cause, Incident, opening
from setpoint.domain.outcome import Outcome
from setpoint.workspace import Workspace

WINDOW_AGE = "window_age"
HEARTBEAT = "heartbeat"
SWEEP_SECONDS = 60.0
"""Schedule of the sweep, as in prefect.yaml."""
MISSED = 3
"""Runs that may be left out before a flow is silent."""
SLACK = 120.0
"""Seconds that a run may wait for its turn and take."""


def beat(workspace: Workspace, flow: str, wall: datetime) -> None:
    """Say that a flow has run to its end.

    Args:
        workspace: The project.
        flow: Its name.
        wall: Wall time, aware.
    """
    workspace.state.remember(f"heartbeat:{flow}", wall.isoformat())


def check(workspace: Workspace, now: datetime, wall: datetime) -> list[Finding]:
    """Whether watch and sweep still run, and whether the newest window is new.

    Args:
        workspace: The project.
        now: Event time.
        wall: Wall time, aware.
    """
    schedules = {
        "watch": workspace.project.watch.schedule.total_seconds(),
        "sweep": SWEEP_SECONDS,
    }
    found = [_silence(workspace, flow, every, wall) for flow, every in schedules.items()]
    return [*found, _age(workspace, now)]


def _silence(workspace: Workspace, flow: str, every: float, wall: datetime) -> Finding:
    text = workspace.state.recall(f"heartbeat:{flow}")
    if text is None:
        reason = "it has not run yet"
        return not_measured(HEARTBEAT, reason, outcome=Outcome.INCONCLUSIVE, slice=flow)
    # while the platform was down nothing could run
    up = workspace.platform().get("started_at")
    since = max(filter(None, (datetime.fromisoformat(text), up and datetime.fromisoformat(up))))
    seconds = (wall - since).total_seconds()
    limit = MISSED * every + SLACK
    found = check_value(HEARTBEAT, seconds, limit, "ceiling", sample=1, slice=flow)
    return replace(found, reason=f"last ran {seconds:,.0f} seconds ago, {limit:,.0f} are allowed")


def _age(workspace: Workspace, now: datetime) -> Finding:
    rule = workspace.project.watch
    newest = workspace.state.newest_window()
    if newest is None:
        return not_measured(WINDOW_AGE, "nothing was looked at yet", outcome=Outcome.INCONCLUSIVE)
    day = timedelta(days=1)
    days = (now - newest.end) / day
    if days < -1e-9:
        reason = (
            f"event time is {now:%Y-%m-%d %H:%M}, before the newest window: the clock went "
            "backwards; no window is looked at until it is past that"
        )
        return not_measured(WINDOW_AGE, reason)
    limit = max(MISSED * rule.every, rule.window) / day
    found = check_value(WINDOW_AGE, days, limit, "ceiling", sample=1)
    reason = f"the newest window ended {days:.1f} days of event time ago, {limit:.1f} are allowed"
    return replace(found, reason=reason)


def open_incident(
    workspace: Workspace, found: list[Finding], now: datetime
) -> tuple[Incident, bool] | None:
    """An incident for a person of what is silent; ``None`` if nothing is.

    A look that cannot be made for the clock went backwards is one too.
    """
    silent = tuple(f for f in found if f.outcome in (Outcome.FAILED, Outcome.ERROR))
    if not silent:
        return None
    severity, status = opening("ask")
    version = workspace.champion() or ""
    incident = Incident("", Cause.MONITORING, severity, status, now, version, silent)
    # no window has these findings, so there is nothing to triage but what each says
    lines = tuple(f"{f.label}: {f.reason}" for f in silent)
    return workspace.state.open_incident(replace(incident, headlines=lines))
