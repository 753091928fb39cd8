"""Where a challenger costs more than the champion: declared slices, and the worst ones found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.findings import Finding, Outcome, mean_bounds, too_thin
from setpoint.domain.gates.fairness import SmallGroups
from setpoint.domain.gates.judged import Judged

NAME = "costs_more_in_slice"
FOUND = 3
"""Slices taken from the tree: each one more makes the proof of all harder."""
DEPTH = 3
"""Conditions that a found slice has at most; more, and nobody can say who it is."""
NAMED = 10
"""Slices that were not judged and are named in a reason."""

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def declared_slices(
    columns: Mapping[str, npt.NDArray[Any]], min_group: int
) -> tuple[dict[str, Flags], dict[str, int]]:
    """Rows of each value of each column, by ``column=value``.

    Returns:
        Those with ``min_group`` rows; and of the smaller ones how many rows they have.
    """
    found: dict[str, Flags] = {}
    small: dict[str, int] = {}
    for name, values in columns.items():
        text = np.array([str(v) for v in values.tolist()], dtype=object)
        for value in sorted(set(text.tolist())):
            rows = np.asarray(text == value, dtype=np.bool_)
            if int(rows.sum()) >= min_group:
                found[f"{name}={value}"] = rows
            else:
                small[f"{name}={value}"] = int(rows.sum())
    return found, small


def found_slices(
    inputs: Floats, names: Sequence[str], worse: Floats, explore: Flags, min_group: int
) -> dict[str, Flags]:
    """The slices that cost most more, sought on some rows, given for the others.

    A regression tree on the difference (as in Chung et al. 2019); what it finds must be confirmed
    on rows that it has not seen, so that the search is paid for.

    Args:
        inputs: Numbers, NaN where missing, [n, k].
        names: Of the inputs, [k].
        worse: Challenger's cost less champion's, [n].
        explore: Rows on which is sought, [n].
        min_group: Rows that a slice needs in either part.

    Returns:
        Rows to be judged by what the slice is, at most ``FOUND``; none of them explored.
    """
    from sklearn.tree import DecisionTreeRegressor

    if int(explore.sum()) < 2 * min_group or not inputs.shape[1] or not worse[explore].any():
        return {}
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=min_group, random_state=0)
    inputs = np.asarray(inputs, dtype=np.float32)
    inputs = np.where(np.isinf(inputs), np.nan, inputs)
    tree.fit(inputs[explore], worse[explore])
    leaf, structure = tree.apply(inputs), tree.tree_
    costs = {int(i): float(structure.value[i].item()) for i in np.unique(leaf[explore])}
    worst = sorted((i for i in costs if costs[i] > 0), key=lambda i: -costs[i])[:FOUND]
    told = {i: _path(structure, i, names) or "all rows" for i in worst}
    rows = {told[i]: np.asarray((leaf == i) & ~explore, dtype=np.bool_) for i in worst}
    return {name: mask for name, mask in rows.items() if int(mask.sum()) >= min_group}


def _path(tree: Any, leaf: int, names: Sequence[str]) -> str:
    """Conditions from the root to a leaf."""
    told: list[str] = []
    node = leaf
    while node != 0:
        left = np.flatnonzero(tree.children_left == node)
        parent = int(left[0] if len(left) else np.flatnonzero(tree.children_right == node)[0])
        sign = "<=" if len(left) else ">"
        told.append(f"{names[tree.feature[parent]]} {sign} {tree.threshold[parent]:.4g}")
        node = parent
    return " and ".join(reversed(told))


def slices_gate(
    challenger: Judged,
    champion: Judged,
    slices: Mapping[str, Flags],
    *,
    max_worse: float,
    error_rate: float,
    small: Mapping[str, int] | None = None,
    small_groups: SmallGroups = "inconclusive",
) -> Finding:
    """Is the challenger proven to cost more than allowed on any slice?

    A watch's reading: proof of harm fails, its absence passes. Each slice is judged at its part of
    the error rate (Bonferroni). Slices too thin to be bounded prove nothing and are named in the
    reason.

    Args:
        challenger: The rows as the challenger decides them.
        champion: The same rows as the champion does.
        slices: Rows of each, by name.
        max_worse: Share of the champion's cost, its absolute value, that may be added.
        error_rate: Chance that one which is exactly that much worse fails.
        small: Rows of each declared slice that has too few to be judged.
        small_groups: What such a slice does to the whole: ``inconclusive``: it cannot pass;
            ``note``: the reason names it.

    Returns:
        The finding of the worst slice; its value is the challenger's cost over the champion's,
        less 1. Without a slice that can be judged it is inconclusive.
    """
    worse = challenger.cost - champion.cost
    margin = max_worse * np.abs(champion.cost)
    seen = {
        name: rows for name, rows in slices.items()
        if not (too_thin(np.abs(worse[rows]), 2) and worse[rows].any())
    }  # fmt: skip
    note = _not_judged([name for name in slices if name not in seen], small or {})
    if not seen:
        reason = f"none of {len(slices) + len(small or {})} slices can be judged{note}"
        return Finding(
            NAME, Outcome.INCONCLUSIVE, None, max_worse, "ceiling", 0, error_rate, reason
        )
    rate = error_rate / len(seen)
    lows = {name: mean_bounds((worse - margin)[rows], rate)[0] for name, rows in seen.items()}
    worst = max(seen, key=lambda name: (lows[name] > 0, _share(worse, champion, seen[name])))
    rows = seen[worst]
    low, high = (b / _scale(champion, rows) for b in mean_bounds(worse[rows], rate))
    outcome = Outcome.FAILED if lows[worst] > 0 else Outcome.PASSED
    if outcome == Outcome.PASSED and small and small_groups == "inconclusive":
        outcome = Outcome.INCONCLUSIVE
    value = _share(worse, champion, rows)
    reason = (
        f"worst of {len(seen)} slices: {worst}, {low:+.1%} to {high:+.1%} beside the champion, "
        f"{max_worse:.0%} allowed; each at {rate:.2g}{note}"
    )
    n = int(rows.sum())
    return Finding(
        NAME, outcome, value, max_worse, "ceiling", n, error_rate, reason, (low, high), worst
    )


def _not_judged(thin: Sequence[str], small: Mapping[str, int]) -> str:
    """Names of the slices that were not judged, and why; empty where all were."""
    few = [f"{name} ({rows})" for name, rows in small.items()]
    told = [("too thin to judge", list(thin)), ("too few rows to judge", few)]
    return "".join(f"; {why}: {_named(names)}" for why, names in told if names)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _scale(champion: Judged, rows: Flags) -> float:
    return float(np.abs(champion.cost[rows]).mean()) or 1.0


def _share(worse: Floats, champion: Judged, rows: Flags) -> float:
    return float(worse[rows].mean()) / _scale(champion, rows)
