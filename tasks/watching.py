"""Windows, incidents, events."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from setpoint.domain.findings import Verdict
from setpoint.domain.incidents import Incident
from setpoint.report.loop import write_loop_report
from setpoint.stages import explain, triggers, watch, watchers
from setpoint.workspace import Workspace
from tasks import show

EVENT = "setpoint.incident.opened"
TRAINING_DUE = "setpoint.training.due"


@task(name="look", cache_policy=NO_CACHE)
def look(workspace: Workspace, now: datetime) -> watch.Window | None:
    """Judge the newest window of decisions."""
    window = watch.look(workspace, now)
    if window is not None:
        title = f"{window.version} at {window.end:%Y-%m-%d %H:%M} event time"
        show.verdict("setpoints", Verdict(window.performance), f"Setpoints of {title}")
        show.verdict("drift", Verdict(window.drift), f"Drift of {title}")
        told = Verdict((*window.estimates, *window.series))
        show.verdict("estimates", told, f"Without labels, and what is unusual, of {title}")
    return window


@task(name="incidents", cache_policy=NO_CACHE)
def open_incidents(workspace: Workspace, window: watch.Window) -> list[tuple[Incident, bool]]:
    """Write incidents; their events are emitted afterwards, never before."""
    found = watch.respond_to(workspace, window)
    for incident, new in found:
        if new:
            title = f"{incident.id}: {incident.cause}"
            show.verdict("incident", Verdict(incident.findings), title, incident.headlines)
    return found


@task(name="watch the watchers", cache_policy=NO_CACHE)
def watch_the_watchers(workspace: Workspace, now: datetime, flow: str) -> None:
    """Say that a flow has run, and open an incident for what does not."""
    wall = datetime.now(UTC)
    watchers.beat(workspace, flow, wall)
    opened = watchers.open_incident(workspace, watchers.check(workspace, now, wall), now)
    if opened is not None and opened[1]:
        show.verdict("incident", Verdict(opened[0].findings), f"{opened[0].id}: monitoring")


@task(name="emit", cache_policy=NO_CACHE)
def emit(workspace: Workspace, incident: Incident) -> None:
    """Tell Prefect of an incident; saying it twice does no harm."""
    name = workspace.project.name
    emit_event(
        event=EVENT,
        resource={
            "prefect.resource.id": f"setpoint.model.{name}",
            "prefect.resource.name": name,
            "setpoint.severity": str(incident.severity),
            "setpoint.cause": str(incident.cause),
        },
        payload={
            "incident_id": incident.id,
            "cause": str(incident.cause),
            "version": incident.version,
            "opened_at": incident.opened_at.isoformat(),
            "findings": [f.to_dict() for f in incident.findings],
        },
    )


@task(name="training due", cache_policy=NO_CACHE)
def tell_due(workspace: Workspace, now: datetime, *, again: bool) -> None:
    """Tell Prefect of trainings that are to be started.

    Args:
        workspace: The project.
        now: Event time.
        again: Also of those that were told before, for an event can be lost; ever more rarely.
    """
    name = workspace.project.name
    for cause in triggers.due(workspace, now):
        if not triggers.to_tell(workspace, cause, datetime.now(UTC), again=again):
            continue
        emit_event(
            event=TRAINING_DUE,
            resource={
                "prefect.resource.id": f"setpoint.model.{name}",
                "prefect.resource.name": name,
            },
            payload={"cause": cause},
        )


@task(name="drift page", cache_policy=NO_CACHE)
def explain_incident(workspace: Workspace, incident: Incident) -> None:
    """Pages for people about what the loop did and what drifted; nothing is decided by them."""
    report = workspace.root / "reports" / f"{incident.id}-report.html"
    write_loop_report(workspace, report, incident=incident.id)
    show.text(
        "incident-report",
        f"## {incident.id}: from drift to {incident.status.replace('_', ' ')}\n"
        f"Open `{report}` in a browser: drift, alarms, releases, performance, money and traffic.",
    )
    page = explain.drift_page(workspace, incident)
    show.text(
        "drift-page",
        f"## {incident.id}: training rows beside the window that opened it\n"
        f"Open `{page}` in a browser. A sample, for looking; the verdict is the incident's own.",
    )
