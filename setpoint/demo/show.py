"""The figures of a demo for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from setpoint.report import counted
from setpoint.workspace import Workspace


def show_summary(
    figures: dict[str, Any], workspace: Workspace, console: Console, *, keep: bool
) -> None:
    """Print the figures of a demo; a line is never broken, so that what it names can be copied."""
    table = Table(title="Summary", title_justify="left", show_header=True, header_style="bold")
    table.add_column("")
    for name in ("before", "during", "after"):
        table.add_column(name, justify="right")
    for title, key, form in (
        ("detection rate", "detection_rate", "{:.0%}"),
        ("cost a day", "cost", "{:,.0f}"),
    ):
        cells = [figures[key][n] for n in ("before", "during", "after")]
        table.add_row(title, *("-" if c is None else form.format(c) for c in cells))
    console.print(table)
    for line in _told(figures, workspace, keep):
        console.print(line, soft_wrap=True)


def _told(figures: dict[str, Any], workspace: Workspace, keep: bool) -> Iterator[str]:
    for title, key in (("drift to alarm:", "alarm"), ("drift to healed champion:", "heal")):
        seconds, days = figures[f"seconds_to_{key}"], figures[f"event_time_to_{key}"]
        if seconds is not None:
            yield f"{title:<26} {seconds:6.1f} s   {days:.1f} days of event time"
    yield (
        f"requests: {figures['requests']:,} sent, {figures['answered']:,} answered, "
        f"{figures['lost']} lost, {figures['wrong_version']} by a wrong version; "
        f"{counted(figures['retrainings'], 'retraining')}"
    )
    rebuilt = "rebuilt byte for byte" if figures["rebuilt"] else "not rebuilt"
    replayed = "computed again, bit for bit" if figures["replayed"] else "not computed again"
    yield (
        f"from the record: {figures['champion']} {rebuilt}; "
        f"its decision {figures['decision']} {replayed}"
    )
    score, level = f"{figures['points']:g} of 28 points", figures["maturity"]
    yield f"assessed:     {score} of the ML Test Score, MLOps maturity level {level}"
    where = os.path.relpath(workspace.root)
    if keep:
        yield f"Prefect UI: http://127.0.0.1:{workspace.ports.prefect}"
    else:
        yield f"look around:  setpoint up --root {where}   (Prefect and MLflow UI)"
    yield f"report:       {where}/report.html   figures: {where}/summary.json"
    yield f"documents:    {where}/documents   (model card, datasheet, EU AI Act pack, assessment)"
    yield f"ledger:       setpoint audit --root {where}"
