"""The parts of the page about the loop: each a heading, a chart, and what to know to read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape

from setpoint.domain.features import duration_label
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.loss import LOSS
from setpoint.domain.windows import WindowRecord
from setpoint.report.charts import TimeAxis, stamp
from setpoint.report.events import PSI
from setpoint.report.series import (
    Cell,
    Point,
    bars_chart,
    color_of,
    heat_chart,
    heat_color,
    legend,
    lines_chart,
    shares_chart,
)
from setpoint.report.traffic import DAY, Traffic
from setpoint.stages.gates.performance import targets
from setpoint.workspace import Workspace

ESTIMATED = "estimated_"
MAX_ROWS = 40
UNSEEN = "#8c959f"


def performance(workspace: Workspace, windows: Sequence[WindowRecord], axis: TimeAxis) -> str:
    """Each setpoint: realized and, where it was estimated, estimated."""
    if not windows:
        return "<h2>Performance</h2><p class=small>No window was looked at in this time.</p>"
    parts = ["<h2>Performance</h2>"]
    age = duration_label(int(workspace.project.label_age.total_seconds()))
    for target in targets(workspace):
        realized = _points(windows, (target.name,))
        names = (f"{ESTIMATED}{target.name}", f"{ESTIMATED}{target.metric}")
        lines = {"realized": realized, "estimated": _points(windows, names)}
        side = "at least" if target.direction == "floor" else "at most"
        metric = "" if target.metric == target.name else f" ({target.metric})"
        missing = len(windows) - len(realized)
        told = f"not measured in {missing} of {_windows(len(windows))}" if missing else ""
        parts.append(
            f"<h3>{escape(target.name + metric)}, {side} {target.value:.4g} "
            f"<span class=small>{told}</span></h3>"
        )
        if not any(lines.values()):
            continue
        parts.append(lines_chart(axis, lines, target.value, f"{target.name} by window"))
        parts.append(legend({n: c for n, c in color_of(lines).items() if lines[n]}))
    parts.append(
        f"<p class=small>A realized figure is drawn at the look that found it and is about "
        f"decisions at least {age} older, whose labels are known; an estimated one is about the "
        "window itself. Bands are the bounds of the verdict; red points break their setpoint.</p>"
    )
    return "".join(parts)


def _windows(number: int) -> str:
    return "1 window" if number == 1 else f"{number:,} windows"


def _points(windows: Sequence[WindowRecord], names: Sequence[str]) -> list[Point]:
    points = []
    for window in windows:
        found = next((f for n in names if (f := window.of(n)) is not None), None)
        if found is None or found.value is None:
            continue
        text = f"{found.label} {found.value:.4g}, {found.sample:,} rows: {found.reason}"
        failed = found.outcome == Outcome.FAILED
        bounds = found.interval
        if bounds is not None and any(math.isnan(bound) for bound in bounds):
            bounds = None
        points.append(Point(window.end, found.value, bounds, failed, text))
    return points


def drift_map(workspace: Workspace, windows: Sequence[WindowRecord], axis: TimeAxis) -> str:
    """PSI of every column in every window, the column that moved most on top."""
    rows: dict[str, list[tuple[WindowRecord, Finding]]] = {}
    for window in windows:
        for finding in window.findings:
            if finding.name == PSI:
                rows.setdefault(finding.slice, []).append((window, finding))
    if not rows:
        return "<h2>Drift</h2><p class=small>No window of this time has a PSI.</p>"
    rule = workspace.project.watch.psi
    bands = (rule.watch, rule.act)
    ordered = sorted(rows, key=lambda name: (-max(f.value or 0.0 for _, f in rows[name]), name))
    cells = {name: [_cell(w, f, bands) for w, f in rows[name]] for name in ordered[:MAX_ROWS]}
    left = len(ordered) - MAX_ROWS
    more = f" {left} columns that moved less are left out." if left > 0 else ""
    keys = {
        f"PSI up to {bands[0]:g}: safe": heat_color(0.0, bands),
        f"up to {bands[1]:g}: watch": heat_color(sum(bands) / 2, bands),
        "above: act": heat_color(2 * bands[1], bands),
        "hollow: too few rows to tell, or not seen": UNSEEN,
    }
    return (
        "<h2>Drift</h2>"
        + heat_chart(axis, cells, "PSI by column and window")
        + legend(keys)
        + f"<p class=small>One row a column, one square a window.{more}</p>"
    )


def _cell(window: WindowRecord, finding: Finding, bands: tuple[float, float]) -> Cell:
    unsure = finding.value is None or finding.outcome in (Outcome.INCONCLUSIVE, Outcome.ERROR)
    color = UNSEEN if finding.value is None or unsure else heat_color(finding.value, bands)
    return Cell(window.end, color, f"{finding.reason} ({finding.sample:,} rows)", hollow=unsure)


def money(traffic: Traffic, windows: Sequence[WindowRecord], axis: TimeAxis) -> str:
    """Cost of the decisions by day, and what is lost beside training."""
    return f"<h2>Money a day</h2>{_cost(traffic, axis)}{_loss(windows, axis)}"


def _loss(windows: Sequence[WindowRecord], axis: TimeAxis) -> str:
    points = _points(windows, (LOSS,))
    if not points:
        return ""
    return (
        "<h3>Lost a day, beside what such decisions cost in training</h3>"
        + lines_chart(axis, {LOSS: points}, None, "Money lost a day by window")
        + "<p class=small>Red where it is more than a retraining is worth.</p>"
    )


def _cost(traffic: Traffic, axis: TimeAxis) -> str:
    if not traffic.cost:
        return "<p class=small>No decision of this time has a label that is ripe.</p>"
    rows, total = traffic.ripe.total(), sum(traffic.cost.values())
    told = (
        f"{total:,.2f} in all on {rows:,} decisions, {total / len(traffic.cost):,.2f} a day; less "
        f"is better. Labels are ripe up to {stamp(traffic.ripe_until)}; what is later is shaded."
    )
    if traffic.unpriced:
        told += f" {traffic.unpriced:,} decisions lack the columns that they are priced by."
    chart = bars_chart(axis, traffic.cost, DAY, traffic.ripe_until, "Cost by day")
    return f"{chart}<p class=small>{escape(told)}</p>"


def traffic_split(traffic: Traffic, axis: TimeAxis, colors: Mapping[str, str]) -> str:
    """Which version answered which share."""
    if not traffic.rows:
        return "<h2>Traffic</h2><p class=small>No decision was served in this time.</p>"
    wide, counts = traffic.split(axis.start, axis.end)
    chart = shares_chart(axis, counts, colors, wide, "Share of the decisions by version")
    told = f"{traffic.rows:,} served decisions, in steps of {_length(wide)}."
    return f"<h2>Traffic by version</h2>{chart}{legend(colors)}<p class=small>{told}</p>"


def _length(wide: timedelta) -> str:
    return duration_label(int(wide.total_seconds()))


def _whole(name: str) -> str:
    return " class=w" if len(name) <= 40 else ""


def not_passed(windows: Sequence[WindowRecord]) -> str:
    """Each finding that failed or could not be made: how often, since when, and why."""
    bad: dict[str, list[tuple[WindowRecord, Finding]]] = {}
    for window in windows:
        for finding in window.findings:
            if finding.outcome in (Outcome.FAILED, Outcome.ERROR):
                bad.setdefault(finding.label, []).append((window, finding))
    if not windows:
        return ""
    if not bad:
        return "<h2>Findings</h2><p class=small>In no window did a finding fail.</p>"
    rows = "".join(
        f"<tr><td{_whole(name)}>{escape(name)}<td class=n>{len(found)}"
        f"<td class=w>{stamp(found[0][0].end)}<td class=w>{stamp(found[-1][0].end)}"
        f"<td>{escape(found[-1][1].reason)}</tr>"
        for name, found in sorted(bad.items(), key=lambda item: -len(item[1]))
    )
    return (
        f"<h2>Findings that did not pass</h2><p class=small>Of {_windows(len(windows))}.</p>"
        "<table><tr><th>finding<th class=n>windows<th>first<th>last<th>newest reason"
        f"</tr>{rows}</table>"
    )
