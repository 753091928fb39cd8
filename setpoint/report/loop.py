"""The page about a time of the loop, or about one incident: what drifted, what was done, what it
was worth."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from pathlib import Path

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Incident
from setpoint.domain.windows import WindowRecord
from setpoint.errors import DataError, StateError
from setpoint.report.charts import TimeAxis, lanes_chart, stamp
from setpoint.report.events import PSI, SERVES, Event, event_of, lanes, public
from setpoint.report.page import write_page
from setpoint.report.sections import drift_map, money, not_passed, performance, traffic_split
from setpoint.report.series import color_of, legend
from setpoint.report.traffic import HOUR, Traffic, read_traffic
from setpoint.stages import sealing
from setpoint.workspace import WallClock, Workspace

MAX_EVENTS = 300
STYLE = """body{max-width:62rem}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:#59636e}.small{font-size:.9rem;color:#59636e}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}.tiles div{border:1px solid #d0d7de;
border-radius:.5rem;padding:.4rem .9rem}.tiles b{display:block;font-size:1.4rem;line-height:1.3}
.key{margin-right:1rem;white-space:nowrap}.swatch{display:inline-block;width:.8rem;height:.8rem;
margin-right:.35rem;border-radius:.15rem;vertical-align:-.08rem}td{overflow-wrap:anywhere}
td.w{white-space:nowrap}h3{font-size:.95rem;margin:1rem 0 0}h3 .small{font-weight:400}"""


@dataclass(frozen=True)
class Told:
    """All that a page is made of.

    Attributes:
        axis: The span of event time.
        windows: Looked at in the span, oldest first.
        events: The whole ledger in words, oldest first.
        traffic: Decisions of the span.
        incident: The one that the page is about, if it is about one.
    """

    axis: TimeAxis
    windows: Sequence[WindowRecord]
    events: Sequence[Event]
    traffic: Traffic
    incident: Incident | None

    @property
    def inside(self) -> list[Event]:
        """Entries of the ledger within the span."""
        return [e for e in self.events if self.axis.start <= e.at <= self.axis.end]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.windows or self.inside or self.traffic.rows)


def write_loop_report(
    workspace: Workspace,
    path: Path,
    *,
    incident: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Path:
    """Write the page of a time, or of an incident; without either, of all that is known.

    Args:
        workspace: The project.
        path: The HTML file; its folder is made.
        incident: Id of an incident: from two windows before it was opened until it was closed.
        start: Event time from.
        end: Event time to.

    Raises:
        DataError: An incident and a time are given, or the time ends before it begins.
        StateError: There is no such incident, or the decision log cannot be read.
    """
    if incident is not None and (start or end):
        raise DataError(
            "an incident and a time are given",
            where="report",
            fix="give --incident, or --from and --to",
        )
    now = _now(workspace)
    about = workspace.state.incident(incident) if incident is not None else None
    if about is not None:
        start, end = _span_of(workspace, about, now)
    if start is not None and end is not None and start >= end:
        raise DataError(
            f"it ends at {stamp(end)} and begins at {stamp(start)}",
            where="report",
            fix="give a --to that is later than --from",
        )
    told = _gather(workspace, about, start, end, now)
    path.parent.mkdir(parents=True, exist_ok=True)
    title = f"{workspace.project.name}: {about.id if about else 'report'}"
    return write_page(path, title, _body(workspace, told), STYLE)


def _now(workspace: Workspace) -> datetime:
    with suppress(StateError):  # a stream that nobody plays has no time
        return workspace.clock.now()
    return WallClock().now()


def _span_of(workspace: Workspace, incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    rule = workspace.project.watch
    start = incident.opened_at - 2 * rule.window
    end = now if incident.closed_at is None else incident.closed_at + rule.every
    return start, max(end, incident.opened_at + rule.every)


def _gather(
    workspace: Workspace,
    incident: Incident | None,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
) -> Told:
    personal = {name for name, c in workspace.project.data.columns.items() if c.personal}
    windows = [
        replace(window, findings=public(window.findings, personal))
        for window in workspace.state.windows(start)
        if end is None or window.end <= end
    ]
    if incident is not None:
        incident = replace(incident, findings=public(incident.findings, personal))
    events = [event_of(entry, personal) for entry in workspace.state.ledger()]
    traffic = read_traffic(workspace, start, end, now)
    known = [w.end for w in windows] + [e.at for e in events] + list(traffic.hours)
    first = start or min(known, default=now)
    last = end or max([m + HOUR for m in known], default=first + HOUR)
    return Told(TimeAxis(first, max(last, first + HOUR)), windows, events, traffic, incident)


def _body(workspace: Workspace, told: Told) -> str:
    name = escape(workspace.project.name)
    span = f"{stamp(told.axis.start)} to {stamp(told.axis.end)}, event time, UTC"
    about = _incident(told.incident) if told.incident else f"<h1>{name}: what the loop did</h1>"
    head = f"{about}<p class=small>{name}: {span}</p>"
    if told.empty:
        return (
            f"{head}<p>Nothing is known of this time: no window was looked at, nothing is in the "
            "ledger, no decision was served. <code>setpoint status</code> says what is in service "
            "and when it was looked at last.</p>"
        )
    promoted = [e.version for e in told.events if e.kind in SERVES]
    colors = color_of([*promoted, *told.traffic.versions])
    shown = {v: c for v, c in colors.items() if v in told.traffic.versions}
    return "".join(
        (
            head,
            _tiles(told),
            "<h2>The loop</h2>",
            lanes_chart(
                told.axis,
                lanes(told.events, told.windows, told.axis, colors),
                "Drift, alarms, retrainings, releases and what was in service over event time",
            ),
            legend(colors),
            performance(workspace, told.windows, told.axis),
            drift_map(workspace, told.windows, told.axis),
            money(told.traffic, told.windows, told.axis),
            traffic_split(told.traffic, told.axis, shown),
            not_passed(told.windows),
            _ledger(workspace, told),
        )
    )


def _incident(incident: Incident) -> str:
    closed = f"closed {stamp(incident.closed_at)}" if incident.closed_at else "still open"
    facts = f"{incident.severity}, opened {stamp(incident.opened_at)}, {closed}, {incident.version}"
    rows = "".join(_evidence(finding) for finding in incident.findings)
    note = f"<p>{escape(incident.note)}</p>" if incident.note else ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in incident.headlines)
    triage = f"<ul>{lines}</ul>" if lines else ""
    return (
        f"<h1>{escape(incident.id)}: {escape(incident.cause)}, "
        f"{escape(incident.status.replace('_', ' '))}</h1><p>{escape(facts)}</p>{note}{triage}"
        "<table><tr><th>evidence<th class=n>value<th class=n>setpoint<th class=n>rows<th>reason"
        f"</tr>{rows}</table>"
    )


def _evidence(finding: Finding) -> str:
    figures = (finding.value, finding.setpoint)
    value, setpoint = ("" if v is None else f"{v:.4g}" for v in figures)
    return (
        f"<tr><td>{escape(finding.label)}<td class=n>{value}<td class=n>{setpoint}"
        f"<td class=n>{finding.sample:,}<td>{escape(finding.reason)}</tr>"
    )


def _tiles(told: Told) -> str:
    def number(*kinds: str) -> int:
        return sum(event.kind in kinds for event in told.inside)

    drifted = sum(
        any(f.name == PSI and f.outcome == Outcome.FAILED for f in w.findings) for w in told.windows
    )
    tiles = {
        "windows looked at": len(told.windows),
        "of them with drift": drifted,
        "incidents": number("incident_opened"),
        "retrainings": number("accepted", "refused"),
        "promoted": number("promoted"),
        "rolled back": number("roll_back", "fell_back", "rolled_back"),
        "decisions": told.traffic.rows,
    }
    shown = "".join(f"<div><b>{n:,}</b>{escape(name)}</div>" for name, n in tiles.items())
    return f"<div class=tiles>{shown}</div>"


def _ledger(workspace: Workspace, told: Told) -> str:
    chain = sealing.vouched(workspace).told
    inside = told.inside[-MAX_EVENTS:]
    left = len(told.inside) - len(inside)
    more = f"; the newest {MAX_EVENTS} of {len(told.inside):,} entries" if left else ""
    rows = "".join(
        f"<tr><td class=w>{stamp(e.at)}<td class=w>{escape(e.kind.replace('_', ' '))}"
        f"<td class=w>{escape(e.subject)}<td>{escape(e.text)}</tr>"
        for e in inside
    )
    return (
        f"<h2>Ledger</h2><p class=small>{escape(chain)}{more}</p>"
        f"<table><tr><th>event time<th>what<th>subject<th>how</tr>{rows}</table>"
    )
