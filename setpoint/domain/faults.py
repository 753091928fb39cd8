"""Is it drift, or is the data broken on its way? What a drifted column looks like, by its values.

A model must not be trained on a field that came in cents, a renamed category, an emptied or a
frozen column: it would learn the fault. Each is told by what would undo it:

* **missing**: at least half of the rows more than in training are missing;
* **constant**: one value only, where training had others in most rows;
* **unit**: times one factor (a power of ten, minutes for hours, a turned sign) the column is
  distributed as in training again;
* **renamed**: categories that training had are gone, and values that it did not have fill their
  share.

Only columns whose drift is proven are looked at, and only the newest rows, for a fault begins at a
moment and a window reaches back before it. So a fault is claimed no more often without a change
than drift is. A real change by just such a factor looks the same: a person is asked, not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from setpoint.domain.columns import Column, as_numbers, tally
from setpoint.domain.drift import BANDS, psi
from setpoint.domain.findings import Finding
from setpoint.domain.profile import ColumnProfile, count_column

FAULT = "fault"
"""Name of a finding about broken data."""
MIN_ROWS = 100
"""Rows under which nothing is claimed: PSI of fewer means little."""
MISSING = 0.5
VANISHED = 0.05
"""Share of the training data from which a category that is gone is worth a word."""
FACTORS = (10.0, 100.0, 1000.0, 1e6, 60.0, 3600.0, 24.0)
"""Decimal points, cents, thousands, millions; minutes, seconds, hours."""


def fault_of(column: ColumnProfile, values: Column, drift: Finding) -> Finding | None:
    """A drift finding as a finding of broken data; ``None`` if it looks like drift.

    Args:
        column: The profile of the column.
        values: Its newest values, in any order.
        drift: The finding of its drift, failed.

    Raises:
        DataError: A numeric column cannot be read as numbers.
    """
    cells = count_column(column, values)
    rows = int(cells.sum())
    if rows < MIN_ROWS or not column.rows:
        return None
    missing = int(cells[-1]) / rows
    before = column.counts[-1] / column.rows
    if missing - before >= MISSING:
        reason = f"missing in {missing:.0%} of the newest rows, {before:.0%} in training"
    elif column.kind == "category":
        reason = _renamed(column, values, rows)
    else:
        reason = _rescaled(column, values)
    if not reason:
        return None
    reason = f"{column.name} looks broken, not drifted: {reason}; its owner must say"
    return replace(drift, name=FAULT, reason=reason)


def _rescaled(column: ColumnProfile, values: Column) -> str:
    parts = list(as_numbers(column.name, values, column.float32))
    known = np.concatenate([part[~np.isnan(part)] for part in parts])
    if not len(known):
        return ""
    if known.min() == known.max() and len(column.edges) + len(column.atoms) > 1:
        return f"{known[0]:.6g} in every one of the newest {len(known):,} rows"
    found = [(_psi_of(column, known * by), word) for by, word in _undoings()]
    best, word = min(found)
    as_it_came = _psi_of(column, known)
    if best > BANDS[0] or as_it_came <= BANDS[1]:
        return ""
    return f"{word} its PSI is {best:.3f}, as it came {as_it_came:.3f}"


def _undoings() -> list[tuple[float, str]]:
    found = [(-1.0, "with its sign turned")]
    for factor in FACTORS:
        found += [(1 / factor, f"divided by {factor:g}"), (factor, f"times {factor:g}")]
    return found


def _psi_of(column: ColumnProfile, known: Sequence[float] | np.ndarray) -> float:
    # without the missing ones, which no factor brings back
    bare = replace(column, counts=(*column.counts[:-1], 0))
    return psi(bare, count_column(bare, np.asarray(known)))


def _renamed(column: ColumnProfile, values: Column, rows: int) -> str:
    found = tally(values)
    expected = {c: n / column.rows for c, n in zip(column.categories, column.counts, strict=False)}
    gone = {c: share for c, share in expected.items() if share >= VANISHED and not found.get(c)}
    new = {c: n / rows for c, n in found.items() if c and c not in expected}
    if column.truncated or not gone or sum(new.values()) < sum(gone.values()) / 2:
        return ""
    most = max(new, key=lambda c: new[c])
    names = ", ".join(sorted(gone))
    return (
        f"{names} ({sum(gone.values()):.0%} of training) came in none of the newest {rows:,} rows,"
        f" {most[:80]} ({new[most]:.0%}) is new"
    )
