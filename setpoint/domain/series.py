"""Figures beside their own past: what nobody set a threshold for is seen when it leaves its range.

Each figure of a window (``limits`` of ``setpoint.domain.estimation``: a prediction interval of
Student's t) is held against the same figure of earlier windows. They must share no rows with it or
with each other, or chance would look smaller than it is. A small window beside large ones spreads
wider by the root of the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from setpoint.domain.estimation import MIN_CHUNKS, limits
from setpoint.domain.outcome import Finding, Outcome
from setpoint.domain.windows import WindowRecord

UNUSUAL = "unusual"
"""Name of the findings; the slice says of which figure."""
LEAST_SPREAD = 1e-9
"""Of the mean: a figure that never moved has no range to leave."""


def unusual(
    findings: Sequence[Finding], earlier: Sequence[WindowRecord], error_rate: float
) -> list[Finding]:
    """Figures that have left the range of earlier windows, or are in it.

    Args:
        findings: Of the window.
        earlier: Windows that share no rows with it or each other, in any order.
        error_rate: Chance of a false alarm of any figure (Bonferroni).

    Returns:
        One a figure with at least ``MIN_CHUNKS`` earlier values that vary; none for figures that
        failed already, which are told of by themselves.
    """
    known = [(f, _before(f, earlier)) for f in findings if f.value is not None]
    known = [(f, before) for f, before in known if _varies(before)]
    found = []
    for finding, before in known:
        if finding.outcome == Outcome.FAILED or finding.value is None:
            continue
        values = [one.value for one in before if one.value is not None]
        usual = float(np.median([one.sample for one in before]))
        smaller = usual / max(finding.sample, 1)
        low, high = limits(values, error_rate / len(known), smaller)
        outside = not low <= finding.value <= high
        found.append(
            Finding(
                UNUSUAL,
                Outcome.FAILED if outside else Outcome.PASSED,
                finding.value,
                high if finding.value > high else low,
                "ceiling" if finding.value > high else "floor",
                len(values),
                error_rate / len(known),
                f"{'outside' if outside else 'within'} {low:.4g} to {high:.4g}, "
                f"by {len(values)} earlier windows",
                (low, high),
                finding.label,
            )
        )
    return found


def _before(finding: Finding, earlier: Sequence[WindowRecord]) -> list[Finding]:
    found = [record.of(finding.name, finding.slice) for record in earlier]
    return [one for one in found if one is not None and one.value is not None]


def _varies(before: Sequence[Finding]) -> bool:
    values = [one.value for one in before if one.value is not None]
    if len(values) < MIN_CHUNKS or not all(map(math.isfinite, values)):
        return False
    return float(np.std(values)) > LEAST_SPREAD * max(1.0, abs(float(np.mean(values))))
