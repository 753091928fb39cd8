"""What the pictures of a verdict show, as rows; how they are drawn is in ``adapters``.

Two questions are seen sooner than read: how near to its setpoint is each finding, and does anything
drive the decisions about one group that does not drive those about another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.explanations import importance
from setpoint.domain.gates.explainability import LEAST, shares_by_group
from setpoint.domain.outcome import NOT_DECLARED, Finding, Verdict

INPUTS = 18
"""Inputs that have a column of their own; the rest share the last one."""
ALL = "all rows"
OTHERS = "all others"
CELLS = ("value", "interval", "setpoint", "rows", "error rate")
"""What is told in words beside the axis of a finding."""
MIDDLE = 0.5
"""Where every setpoint is on the axis of its row."""

_SIGNS = {"floor": "≥ ", "ceiling": "≤ ", "": ""}


@dataclass(frozen=True)
class FindingRow:
    """One finding in the picture of a verdict.

    A row has an axis of its own from 0 to 1 with the setpoint at ``MIDDLE``. What is right of it
    holds the setpoint: the axis of a ceiling runs from right to left.

    Attributes:
        label: Name with slice.
        outcome: As in the finding; ``not declared`` for what nothing judges.
        cells: Value, interval, setpoint, rows and error rate in words, as under ``CELLS``; empty
            where there is nothing to tell.
        value: Place of the value, 0 to 1; ``None``: nothing is drawn.
        interval: Left and right end of the interval, 0 to 1; ``None``: it has none.
        reason: One sentence for people.
    """

    label: str
    outcome: str
    cells: tuple[str, str, str, str, str]
    value: float | None
    interval: tuple[float, float] | None
    reason: str

    @property
    def drawn(self) -> bool:
        """Whether it has an axis; else its reason stands in the place of one."""
        return self.value is not None or self.interval is not None


def finding_rows(verdict: Verdict) -> tuple[FindingRow, ...]:
    """Rows of a verdict, worst first, then in the order in which they were found."""
    ordered = sorted(verdict.findings, key=lambda f: -f.outcome.severity)
    silent = (
        FindingRow(name, NOT_DECLARED, ("",) * 5, None, None, why)
        for name, why in verdict.undeclared
    )
    return (*map(_finding_row, ordered), *silent)


def _finding_row(finding: Finding) -> FindingRow:
    value, bounds = finding.value, finding.interval
    if bounds is not None and any(map(math.isnan, bounds)):
        bounds = None
    scale = _scale(finding, bounds)
    at, ends = None, None
    if scale is not None:
        at = None if value is None else _place(value, finding, scale)
        if bounds is not None:
            one, other = (_place(bound, finding, scale) for bound in bounds)
            ends = (min(one, other), max(one, other))
    return FindingRow(
        finding.label,
        str(finding.outcome),
        _cells(finding, bounds),
        at,
        ends,
        finding.reason,
    )


def _scale(finding: Finding, bounds: tuple[float, float] | None) -> float | None:
    """Distance from the setpoint to either end of the axis; ``None`` where there is no axis.

    As far as the farther bound of the interval, so that a narrow one near its setpoint is seen to
    be off it. Without one as far as zero or the value, so that a value is seen as a part of it.
    """
    setpoint = finding.setpoint
    if setpoint is None or not math.isfinite(setpoint) or not finding.direction:
        return None
    numbers = [x for x in (finding.value, *(bounds or (0.0,))) if x is not None]
    return max((abs(x - setpoint) for x in numbers if math.isfinite(x)), default=0.0) or 1.0


def _place(number: float, finding: Finding, scale: float) -> float:
    """Where a number is on the axis of its row; what is infinite is at an end."""
    off = (number - (finding.setpoint or 0.0)) / scale
    good = off if finding.direction == "floor" else -off
    return MIDDLE + min(max(good, -1.0), 1.0) / 2


def _cells(finding: Finding, bounds: tuple[float, float] | None) -> tuple[str, str, str, str, str]:
    setpoint, rate = finding.setpoint, finding.error_rate
    return (
        "" if finding.value is None else _short(finding.value),
        "" if bounds is None else f"{_short(bounds[0])} to {_short(bounds[1])}",
        "" if setpoint is None else f"{_SIGNS[finding.direction]}{_short(setpoint)}",
        f"{finding.sample:,}" if finding.sample else "",
        "" if rate is None else f"{rate:.2g}",
    )


def _short(number: float) -> str:
    """Three digits, and none of a rounding error."""
    return "0" if abs(number) < 1e-9 else f"{number:.3g}"


@dataclass(frozen=True)
class DriverRow:
    """One group in the picture of what drives the decisions.

    Attributes:
        label: The group, such as ``sex = f``.
        sample: Explained rows that are of it.
        shares: Share of the importance of each input, 0 to 1; ``None``: it is not judged.
        first: Whether a column of the project file begins with it.
    """

    label: str
    sample: int
    shares: tuple[float, ...] | None
    first: bool = False


@dataclass(frozen=True)
class Drivers:
    """What drives the decisions, of all rows and by group.

    Attributes:
        inputs: The inputs, that which carries most first; ``all others`` last where there are more.
        rows: All rows first, then the groups of one column after the other.
        unshown: Groups that have no row, by column.
    """

    inputs: tuple[str, ...]
    rows: tuple[DriverRow, ...]
    unshown: Mapping[str, int]


def drivers(
    values: npt.NDArray[np.float64],
    names: Sequence[str],
    columns: Mapping[str, npt.NDArray[Any]],
    most: Mapping[str, int],
) -> Drivers:
    """Share of the importance that each input carries, of all rows and within each group.

    Groups are those of the gate, in its order: the largest driver first, and small ones, which
    are not judged, last.

    Args:
        values: Contributions of the explained rows, [n, d].
        names: The inputs, [d].
        columns: What tells groups apart: group of each row, as text, by column, [n] each.
        most: Groups that are shown of each column, as many small ones beside them.
    """
    whole = importance(values)
    order = np.argsort(-whole, kind="stable")
    own = order if len(order) <= INPUTS + 1 else order[:INPUTS]
    rest = order[len(own) :]

    def shown(shares: npt.NDArray[np.float64]) -> tuple[float, ...]:
        others = [float(shares[rest].sum())] if len(rest) else []
        return (*shares[own].tolist(), *others)

    rows = [DriverRow(ALL, len(values), shown(whole) if len(values) >= LEAST else None, True)]
    unshown: dict[str, int] = {}
    for column, groups in columns.items():
        judged, small = shares_by_group(values, groups)
        kept = [*judged[: most[column]], *small[: most[column]]]
        rows += [
            DriverRow(f"{column} = {g.group}", g.sample,
                      None if g.shares is None else shown(g.shares), g is kept[0])
            for g in kept
        ]  # fmt: skip
        if left := len(judged) + len(small) - len(kept):
            unshown[column] = left
    inputs = [names[i] for i in own] + ([OTHERS] if len(rest) else [])
    return Drivers(tuple(inputs), tuple(rows), unshown)
