"""Figures over event time: lines with bounds, bars, shares, and the heat map of PSI."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise

from setpoint.report.charts import (
    COLORS,
    FAINT,
    LEFT,
    RIGHT,
    WIDTH,
    TimeAxis,
    chart,
    element,
    label,
    stamp,
    tip,
)

RED = "#b42318"
TOP, BOTTOM = 12.0, 132.0
ROW = 20.0
MAX_NAME = 21


@dataclass(frozen=True)
class Point:
    """One value of a line.

    Attributes:
        at: When.
        value: How much.
        bounds: Lower and upper bound, if it has some.
        failed: Whether it breaks its setpoint.
        text: What is told when the mouse rests on it.
    """

    at: datetime
    value: float
    bounds: tuple[float, float] | None
    failed: bool
    text: str


def color_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in their order."""
    return {name: COLORS[i % len(COLORS)] for i, name in enumerate(dict.fromkeys(names))}


def legend(colors: Mapping[str, str]) -> str:
    """Names beside their colours."""
    keys = (
        f'<span class=key><span class=swatch style="background:{color}"></span>'
        f"{escape(name)}</span>"
        for name, color in colors.items()
    )
    return f"<p class=small>{''.join(keys)}</p>"


def lines_chart(
    axis: TimeAxis, lines: Mapping[str, Sequence[Point]], limit: float | None, title: str
) -> str:
    """Lines with their bounds as bands, and the setpoint as a dashed line."""
    points = [p for line in lines.values() for p in line]
    values = [v for p in points for v in (p.value, *(p.bounds or ()))]
    y, parts = _value_axis(axis, [*values, *([] if limit is None else [limit])])
    colors = color_of(lines)
    parts += [_line(axis, y, line, colors[name]) for name, line in lines.items()]
    if limit is not None:
        at = y(limit)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, stroke=RED,
                             stroke_dasharray="5 4"))  # fmt: skip
        aside = min(max(at + 4, TOP + 18), BOTTOM - 10)  # clear of the least and the largest
        parts.append(label(LEFT - 10, aside, f"setpoint {limit:.4g}", style=f"fill:{RED}"))
    return chart(BOTTOM + 20, parts, title)


def _value_axis(
    axis: TimeAxis, values: Iterable[float]
) -> tuple[Callable[[float], float], list[str]]:
    """Where a value is drawn, and the frame with the least and the largest."""
    low, high = _round_range([v for v in values if math.isfinite(v)])

    def y(value: float) -> float:
        return BOTTOM - (min(max(value, low), high) - low) / (high - low) * (BOTTOM - TOP)

    frame = [axis.draw(TOP, BOTTOM), label(LEFT - 10, TOP + 5, f"{high:,.4g}"),
             label(LEFT - 10, BOTTOM + 3, f"{low:,.4g}")]  # fmt: skip
    return y, frame


def _round_range(values: Sequence[float]) -> tuple[float, float]:
    """Round numbers around the values; from 0 unless they lie far from it."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    low = 0.0 if 0 < low < high / 2 else low
    step = 10.0 ** math.floor(math.log10(high - low or abs(high) or 1.0)) / 5
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step


def _line(axis: TimeAxis, y: Callable[[float], float], line: Sequence[Point], color: str) -> str:
    bounded = [(p, p.bounds) for p in line if p.bounds is not None]
    edge = [(axis.x(p.at), y(b[1])) for p, b in bounded]
    edge += [(axis.x(p.at), y(b[0])) for p, b in reversed(bounded)]
    path = [(axis.x(p.at), y(p.value)) for p in line]
    dots = "".join(_dot(axis.x(p.at), y(p.value), p, color) for p in line)
    return (
        element("polygon", points=_points(edge), fill=color, opacity="0.15")
        + element("polyline", points=_points(path), fill="none", stroke=color, stroke_width="1.5")
        + dots
    )


def _dot(x: float, y: float, point: Point, color: str) -> str:
    told = tip(f"{stamp(point.at)}  {point.text}")
    return element("circle", told, cx=x, cy=y, r=3.0, fill=RED if point.failed else color)


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def bars_chart(
    axis: TimeAxis, bars: Mapping[datetime, float], wide: timedelta, known: datetime, title: str
) -> str:
    """One bar a span of time, from 0 up or down; what is later than ``known`` is shaded."""
    y, parts = _value_axis(axis, [0.0, *bars.values()])
    left = axis.x(known)
    parts.append(element("rect", tip("labels are not ripe yet"), x=left, y=TOP, fill="#eff2f5",
                         width=WIDTH - RIGHT - left, height=BOTTOM - TOP))  # fmt: skip
    for start, value in bars.items():
        left, right = axis.x(start), axis.x(start + wide)
        text = f"{stamp(start)}  {value:,.2f}"
        parts.append(element("rect", tip(text), x=left, y=min(y(value), y(0.0)),
                             width=max(right - left - 1, 1.0), height=abs(y(value) - y(0.0)),
                             fill=COLORS[0]))  # fmt: skip
    return chart(BOTTOM + 20, parts, title)


def shares_chart(
    axis: TimeAxis,
    counts: Mapping[datetime, Mapping[str, int]],
    colors: Mapping[str, str],
    wide: timedelta,
    title: str,
) -> str:
    """Shares of the names that have a colour in each span of time, stacked to 100 %."""
    parts = [axis.draw(TOP, BOTTOM), label(LEFT - 10, TOP + 5, "100 %"),
             label(LEFT - 10, BOTTOM + 3, "0")]  # fmt: skip
    for start, found in counts.items():
        left, right = axis.x(start), axis.x(start + wide)
        whole, base = sum(found.values()), BOTTOM
        for name, color in colors.items():
            share = found.get(name, 0) / whole
            high = share * (BOTTOM - TOP)
            base -= high
            text = f"{stamp(start)}  {name}: {share:.1%} of {whole:,}"
            if share:
                parts.append(element("rect", tip(text), x=left, y=base, height=high,
                                     width=max(right - left, 1.0), fill=color))  # fmt: skip
    return chart(BOTTOM + 20, parts, title)


@dataclass(frozen=True)
class Cell:
    """One square of a heat map.

    Attributes:
        at: End of its window.
        color: Its colour.
        text: What is told when the mouse rests on it.
        hollow: Whether only its frame has the colour.
    """

    at: datetime
    color: str
    text: str
    hollow: bool = False


def heat_chart(axis: TimeAxis, rows: Mapping[str, Sequence[Cell]], title: str) -> str:
    """One row a column, one square a window; a square reaches back to the window before."""
    moments = sorted({cell.at for cells in rows.values() for cell in cells})
    gaps = sorted(b - a for a, b in pairwise(moments))
    each = gaps[len(gaps) // 2] if gaps else (axis.end - axis.start) / 20
    bottom = TOP + ROW * len(rows)
    parts = [axis.draw(TOP, bottom)]
    for i, (name, cells) in enumerate(rows.items()):
        top = TOP + ROW * i
        parts.append(element("g", tip(name) + label(LEFT - 10, top + 14, _short(name))))
        for cell in cells:
            left, right = axis.x(cell.at - each), axis.x(cell.at)
            gap = 1.0 if right - left > 4 else 0.0
            parts.append(element(
                "rect", tip(f"{stamp(cell.at)}  {name}: {cell.text}"), x=left + gap / 2,
                y=top + 1, width=max(right - left - gap, 1.0), height=ROW - 2,
                fill="#fff" if cell.hollow else cell.color,
                stroke=cell.color if cell.hollow else "none",
            ))  # fmt: skip
    parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, stroke=FAINT))
    return chart(bottom + 20, parts, title)


def _short(name: str) -> str:
    """Both ends of a name: columns of a family differ in their last letters."""
    return name if len(name) <= MAX_NAME else f"{name[:9]}…{name[-11:]}"


def heat_color(value: float, bands: tuple[float, float]) -> str:
    """Green up to the first band, yellow up to the second, red above, darker as it grows."""
    if value <= bands[0]:
        return _between((234, 246, 237), (155, 211, 170), value / bands[0])
    if value <= bands[1]:
        share = (value - bands[0]) / (bands[1] - bands[0] or 1.0)
        return _between((250, 226, 150), (224, 160, 32), share)
    return _between((226, 106, 90), (122, 17, 9), min((value / bands[1] - 1) / 3, 1.0))


def _between(a: tuple[int, int, int], b: tuple[int, int, int], share: float) -> str:
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(a, b, strict=True))
