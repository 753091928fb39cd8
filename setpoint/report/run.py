"""A page about a run of the demo."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.adapters.plots import timeline_plot
from setpoint.domain.ledger import Entry
from setpoint.report.page import write_page

TITLES = {
    "detection_rate": "Share of frauds sent to review",
    "cost": "Cost a day",
}


def daily_rate(
    day: np.ndarray[Any, Any], fraud: np.ndarray[Any, Any], caught: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Days and the share of each day's frauds that were caught."""
    days = np.arange(int(day.min()), int(day.max()) + 1) if len(day) else np.arange(0)
    whole = day.astype(int)
    total = np.array([int((fraud & (whole == d)).sum()) for d in days])
    hits = np.array([int((caught & (whole == d)).sum()) for d in days])
    return days[total > 0], hits[total > 0] / total[total > 0]


def counted(number: int, what: str) -> str:
    """``1 retraining``, ``2 retrainings``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def write_report(
    path: Path,
    figures: dict[str, Any],
    series: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    marks: dict[str, float],
    ledger: list[Entry],
) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        figures: The summary of the run.
        series: Days, and the share of frauds caught on each.
        marks: Names of moments and their day.
        ledger: What the loop decided.
    """
    picture = timeline_plot(
        series[0],
        {"share of frauds caught, by day": series[1]},
        marks,
        path.with_suffix(".png"),
        "What the loop did",
    )
    data = base64.b64encode(picture.read_bytes()).decode()
    rows = "".join(_row(TITLES[key], figures[key]) for key in TITLES)
    counts = (
        f"{counted(figures['requests'], 'request')}, {figures['answered']:,} answered, "
        f"{figures['lost']:,} lost, {figures['wrong_version']:,} by a wrong version, "
        f"{counted(figures['retrainings'], 'retraining')}"
    )
    entries = "".join(_entry(entry) for entry in ledger)
    body = (
        f"<h1>{_title(figures, marks)}</h1>"
        f'<p>{escape(counts)}.</p><img alt="Share of frauds caught by day" '
        f'src="data:image/png;base64,{data}">'
        f"<h2>Before, during, after</h2><table><tr><th><th class=n>before<th class=n>during"
        f"<th class=n>after</tr>{rows}</table>"
        f"<h2>Ledger</h2><table><tr><th>#<th>event time<th>what<th>subject<th>digest</tr>{entries}"
        "</table>"
    )
    return write_page(path, "Setpoint: report", body)


def _title(figures: dict[str, Any], marks: dict[str, float]) -> str:
    if "drift" not in marks:
        return "Nothing drifted"
    return "Healed" if figures["healed"] else "Not healed"


def _row(title: str, values: dict[str, float | None]) -> str:
    cells = "".join(
        f"<td class=n>{'' if values[n] is None else f'{values[n]:,.2f}'}</td>"
        for n in ("before", "during", "after")
    )
    return f"<tr><td>{escape(title)}</td>{cells}</tr>"


def _entry(entry: Entry) -> str:
    cells = (str(entry.seq), entry.time[:16].replace("T", " "), entry.kind, entry.subject)
    texts = "".join(f"<td>{escape(c)}</td>" for c in cells)
    return f"<tr>{texts}<td><code>{entry.digest[:12]}</code></td></tr>"
