"""Charts over event time as inline SVG, all on one axis, so that they can be read downwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

WIDTH, LEFT, RIGHT = 940.0, 165.0, 36.0
MAX_TICKS = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS = [timedelta(hours=h) for h in (1, 3, 6, 12)] + [
    timedelta(days=d) for d in (1, 2, 7, 14, 28, 91, 364)
]
INK, FAINT = "#59636e", "#d0d7de"
COLORS = ("#1f6feb", "#d29922", "#1a7f37", "#8250df", "#bf3989", "#0e7490", "#9a6700", "#57606a")
"""Of versions and lines, in the order in which they come."""


def element(name: str, content: str = "", **attributes: object) -> str:
    """An SVG or HTML element; ``_`` in names stands for ``-``, numbers have one decimal."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="'
        f'{escape(f"{value:.1f}" if isinstance(value, float) else str(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{told}>{content}</{name}>"


def tip(text: str) -> str:
    """What is shown when the mouse rests on an element."""
    return element("title", escape(text))


def label(x: float, y: float, text: str, anchor: str = "end", **more: object) -> str:
    """Text in a chart."""
    return element("text", escape(text), x=x, y=y, text_anchor=anchor, **more)


def stamp(moment: datetime) -> str:
    """Event time for people, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class TimeAxis:
    """Event time from left to right.

    Attributes:
        start: At the left edge, aware.
        end: At the right edge, later than ``start``.
    """

    start: datetime
    end: datetime

    def x(self, moment: datetime) -> float:
        """Where a moment is; what lies outside is at the edge."""
        share = (moment - self.start) / (self.end - self.start)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[datetime]:
        """At most nine round moments."""
        span = self.end - self.start
        step = next((s for s in _STEPS if span / s <= MAX_TICKS), span / MAX_TICKS)
        first = _EPOCH - ((_EPOCH - self.start) // step) * step
        found = [first + i * step for i in range(MAX_TICKS + 1)]
        return [moment for moment in found if self.start <= moment <= self.end]

    def draw(self, top: float, bottom: float) -> str:
        """Grid lines and their dates."""
        ticks = self.ticks()
        short = len(ticks) > 1 and ticks[1] - ticks[0] < timedelta(days=1)
        form = (
            "%d %b %H:%M" if short else "%d %b" if self.start.year == self.end.year else "%d %b %y"
        )
        return "".join(
            element("line", x1=self.x(t), x2=self.x(t), y1=top, y2=bottom, stroke=FAINT)
            + label(self.x(t), bottom + 14, f"{t:{form}}", "middle")
            for t in ticks
        )


def chart(height: float, parts: Iterable[str], title: str) -> str:
    """An SVG as wide as the page."""
    return element(
        "svg", "".join(parts), viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=title
    )


@dataclass(frozen=True)
class Mark:
    """Something that happened.

    Attributes:
        at: When.
        color: Its colour.
        text: What is told when the mouse rests on it.
    """

    at: datetime
    color: str
    text: str


@dataclass(frozen=True)
class Stretch:
    """Something that lasted.

    Attributes:
        start: From when.
        end: Until when.
        color: Its colour.
        text: What is told when the mouse rests on it.
        share: How high it is drawn, 0 to 1.
        name: Written into it where there is room.
    """

    start: datetime
    end: datetime
    color: str
    text: str
    share: float = 1.0
    name: str = ""


def lanes_chart(axis: TimeAxis, lanes: Mapping[str, Sequence[Mark | Stretch]], title: str) -> str:
    """One lane a kind of event, the time axis below."""
    each = 30.0
    bottom = 6 + each * len(lanes)
    parts = [axis.draw(6, bottom)]
    for i, (name, events) in enumerate(lanes.items()):
        base = 6 + each * (i + 1)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, stroke=FAINT))
        parts.append(label(LEFT - 10, base - 10, name))
        for event in events:
            parts.append(_stretch(axis, event, base, each - 8) if isinstance(event, Stretch)
                         else _mark(axis, event, base - each / 2))  # fmt: skip
    return chart(bottom + 20, parts, title)


def _mark(axis: TimeAxis, mark: Mark, y: float) -> str:
    return element(
        "circle", tip(f"{stamp(mark.at)}  {mark.text}"), cx=axis.x(mark.at), cy=y, r=5.5,
        fill=mark.color, stroke="#fff",
    )  # fmt: skip


def _stretch(axis: TimeAxis, stretch: Stretch, base: float, most: float) -> str:
    left, right = axis.x(stretch.start), axis.x(stretch.end)
    high = max(most * stretch.share, 2.0)
    times = f"{stamp(stretch.start)} to {stamp(stretch.end)}"
    drawn = element(
        "rect", tip(f"{times}  {stretch.text}"), x=left, y=base - high,
        width=max(right - left, 1.0), height=high, fill=stretch.color,
    )  # fmt: skip
    if stretch.name and right - left > 9 * len(stretch.name):
        drawn += label(left + 5, base - 7, stretch.name, "start", style="fill:#fff")
    return drawn
