"""The comparison as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLORS = {
    "never": "#bbbbbb",
    "weekly": "#9db7d5",
    "daily": "#1f6feb",
    "psi alarm": "#e0a458",
    "setpoint": "#d1495b",
}
FLOOR, CEILING = 0.6, 2.0
"""What lies beyond is drawn at the edge, with its figure."""


def money_plot(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Money of each policy over that of the best one beside ours, drift by drift, with intervals.

    Args:
        rows: ``policies`` of the summary.
        path: The PNG file.
    """
    from matplotlib.figure import Figure

    drifts = list(dict.fromkeys(row["drift"] for row in rows))
    figure = Figure(figsize=(10, 0.62 * len(drifts) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1.0, color="#888888", linewidth=1)
    axes.axvline(1.05, color="#888888", linewidth=1, linestyle="--")
    names = list(COLORS)
    for row in rows:
        y = drifts.index(row["drift"]) + 0.13 * (names.index(row["policy"]) - 2)
        middle = row["over_best"]
        x = min(max(middle, FLOOR), CEILING)
        low = min(max(row["over_best_low"] or middle, FLOOR), CEILING)
        high = min(max(row["over_best_high"] or middle, FLOOR), CEILING)
        color = COLORS[row["policy"]]
        label = row["policy"] if row["drift"] == drifts[0] else None
        axes.plot([low, high], [y, y], color=color, linewidth=2)
        axes.plot([x], [y], marker="o", markersize=5, color=color, label=label)
        axes.annotate(f"{row['retrainings']:g}", (high, y), xytext=(5, 0), fontsize=7,
                      textcoords="offset points", va="center", color="#555555")  # fmt: skip
    axes.set(
        title="Money over that of the best other policy (beside it: retrainings)",
        xlim=(FLOOR, CEILING + 0.05),
        yticks=range(len(drifts)),
        yticklabels=drifts,
    )
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    figure.savefig(path, dpi=100)
    return path
