"""Pictures of a verdict, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from setpoint.domain.outcome import NOT_DECLARED, Outcome
from setpoint.domain.pictures import CELLS, MIDDLE, DriverRow, Drivers, FindingRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    Outcome.PASSED: ("#0072b2", "o"),
    Outcome.INCONCLUSIVE: ("#e69f00", "D"),
    Outcome.ERROR: ("#cc79a7", "^"),
    Outcome.FAILED: ("#d55e00", "X"),
    NOT_DECLARED: ("#767676", "_"),
}
"""Colour and form of an outcome: a palette that colour-blind people tell apart (Okabe and Ito
2008), and a form for those who see none of it."""
_FAINT, _INK, _SHADE = "#d0d7de", "#1f2328", "#eef2f6"
_LABEL, _REASON, _TITLE = 48, 118, 110
"""Characters that there is room for."""
_LEFT, _RIGHT = -0.04, 1.04
_PLACES = (1.2, 1.63, 1.86, 2.07, 2.3)
"""Right ends of the words under ``CELLS``, in widths of the axis."""


def verdict_figure(rows: Sequence[FindingRow], title: str) -> Figure:
    """Every finding as a row: interval, value and setpoint on its own axis, numbers beside it."""
    from matplotlib.figure import Figure

    lines = max(sum(1 + _told_below(row) for row in rows), 1)
    tall = 1.2 + 0.27 * lines
    figure = Figure(figsize=(12.5, tall))
    axes = figure.add_axes((0.28, 0.15 / tall, 0.3, 0.27 * lines / tall))
    axes.set(xlim=(_LEFT, _RIGHT), ylim=(lines - 0.5, -0.5), yticks=[], xticks=[])
    axes.set_axis_off()
    y = 0
    for row in rows:
        _finding(axes, row, y)
        y += 1 + _told_below(row)
    _head(axes, rows, title)
    return figure


def _told_below(row: FindingRow) -> bool:
    """Whether a finding that has an axis has its reason in a line of its own."""
    return row.drawn and row.outcome != Outcome.PASSED


def _finding(axes: Axes, row: FindingRow, y: int) -> None:
    color, form = LOOKS[row.outcome]
    calm = row.outcome in (Outcome.PASSED, NOT_DECLARED)
    _text(axes, _LEFT - 0.03, y, _cut(row.label, _LABEL), ha="right",
          weight="normal" if calm else "bold")  # fmt: skip
    told = row.reason if row.outcome == Outcome.PASSED else f"{row.outcome}: {row.reason}"
    mark: dict[str, Any] = {"marker": form, "color": color, "linestyle": "", "zorder": 4,
                            "markersize": 9 if form == "X" else 7, "clip_on": False,
                            "markeredgecolor": color if form == "_" else "white"}  # fmt: skip
    if not row.drawn:
        axes.plot([0.0], [y], **mark)
        _text(axes, 0.04, y, _cut(told, _REASON))
        return
    axes.barh(y, _RIGHT - MIDDLE, height=1.0, left=MIDDLE, color=_SHADE, zorder=0)
    axes.plot([MIDDLE, MIDDLE], [y - 0.32, y + 0.32], color=_INK, linewidth=1.6, zorder=3)
    if row.interval is not None:
        axes.plot(row.interval, [y, y], color=color, linewidth=5, alpha=0.45,
                  solid_capstyle="butt", zorder=2)  # fmt: skip
    if row.value is not None:
        axes.plot([row.value], [y], **mark)
    for x, cell in zip(_PLACES, row.cells, strict=True):
        _text(axes, x, y, cell, ha="right")
    if _told_below(row):
        _text(axes, 0.0, y + 0.92, _cut(told, _REASON))


def _head(axes: Axes, rows: Sequence[FindingRow], title: str) -> None:
    """What is seen, above the rows."""
    from matplotlib.lines import Line2D

    figure = axes.get_figure(root=True)
    assert figure is not None
    tall = float(figure.get_figheight())
    figure.suptitle(_cut(title, _TITLE), x=0.015, y=1 - 0.1 / tall, ha="left", va="top", size=13,
                    weight="bold", parse_math=False)  # fmt: skip
    counts = {name: sum(row.outcome == name for row in rows) for name in LOOKS}
    seen = [
        Line2D([], [], color=LOOKS[name][0], marker=LOOKS[name][1], linestyle="",
               label=f"{count} {name}")
        for name, count in counts.items() if count
    ]  # fmt: skip
    if seen:
        figure.legend(handles=seen, loc="upper left", ncols=len(seen), frameon=False,
                      bbox_to_anchor=(0.005, 1 - 0.34 / tall))  # fmt: skip
    small: dict[str, Any] = {"size": 8, "color": "#59636e"}
    _text(axes, _LEFT - 0.03, -0.9, "each on a scale of its own", ha="right", **small)
    _text(axes, _LEFT, -0.9, "← does not hold", **small)
    _text(axes, MIDDLE, -0.9, "setpoint", ha="center", **small)
    _text(axes, _RIGHT, -0.9, "holds →", ha="right", **small)
    for x, name in zip(_PLACES, CELLS, strict=True):
        _text(axes, x, -0.9, name, ha="right", **small)


def drivers_figure(shown: Drivers, title: str) -> Figure:
    """Groups by inputs: the share of the importance as colour and in percent."""
    from matplotlib.figure import Figure

    wide, high = len(shown.inputs), len(shown.rows)
    figure = Figure(figsize=(3.4 + 0.52 * max(wide, 8), 2.6 + 0.3 * high), layout="constrained")
    axes = figure.subplots()
    cells = np.array([_shares(row, wide) for row in shown.rows]).reshape(high, wide)
    axes.imshow(cells, cmap="Blues", vmin=0.0, vmax=_most(cells), aspect="auto")
    for y, row in enumerate(shown.rows):
        _row(axes, row, y, cells[y], _most(cells))
    labels = [_cut(f"{row.label} ({row.sample:,})", _LABEL) for row in shown.rows]
    axes.set_yticks(range(high), labels=labels, parse_math=False)
    axes.set_xticks(range(wide), labels=[_cut(name, 34) for name in shown.inputs], rotation=40,
                    ha="right", parse_math=False)  # fmt: skip
    axes.tick_params(length=0)
    axes.set_title(_cut(title, _TITLE), loc="left", size=12, weight="bold", parse_math=False)
    axes.set_xlabel(_note(shown), loc="left", parse_math=False)
    return figure


def _shares(row: DriverRow, wide: int) -> list[float]:
    return [np.nan] * wide if row.shares is None else list(row.shares)


def _most(cells: Any) -> float:
    found = cells[np.isfinite(cells)]
    return float(found.max(initial=0.0)) or 1.0


def _row(axes: Axes, row: DriverRow, y: int, cells: Any, most: float) -> None:
    if row.first and y:
        axes.axhline(y - 0.5, color=_INK, linewidth=1)
    if row.shares is None:
        axes.axhspan(y - 0.5, y + 0.5, facecolor="#f6f8fa", edgecolor=_FAINT, hatch="///")
        axes.text((len(cells) - 1) / 2, y, "too few rows, not judged", ha="center", va="center",
                  size=8, color=_INK,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        return
    for x, share in enumerate(cells):
        if np.isfinite(share) and share >= 0.005:
            color = "white" if share > 0.6 * most else _INK
            axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", size=8, color=color)


def _note(shown: Drivers) -> str:
    left = [f"{count} more of {column}" for column, count in shown.unshown.items()]
    more = f"; not shown: {', '.join(left)}" if left else ""
    return f"Percent of the SHAP importance in each group; empty: under half a percent{more}"


def _text(axes: Axes, x: float, y: float, text: str, **more: Any) -> None:
    """Text as it is: a name may hold what matplotlib would read as a formula."""
    axes.text(x, y, text, parse_math=False, va="center", **({"size": 9} | more))


def _cut(text: str, most: int) -> str:
    one = " ".join(text.split())
    return one if len(one) <= most else f"{one[: most - 1]}…"


def save(figure: Figure, path: Path) -> Path:
    """Write a picture as PNG."""
    figure.savefig(path, dpi=110)
    return path
