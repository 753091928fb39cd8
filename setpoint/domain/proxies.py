"""How well one input alone tells the groups of a protected column apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.metrics import roc_auc

Floats = npt.NDArray[np.float64]
LEAST = 30
"""Rows a group needs, and needs beside it, for its AUC."""
DEPTH = 4
"""Of the tree that looks at a number: at most 16 ranges."""


@dataclass(frozen=True)
class Proxy:
    """What an input tells of a protected column.

    Attributes:
        input: The input.
        column: The protected column.
        auc: AUC of the group that it tells best from all others, 0 to 1; ``None`` where no group
            has ``LEAST`` rows.
        group: That group.
    """

    input: str
    column: str
    auc: float | None
    group: str = ""


def proxy(name: str, values: npt.NDArray[Any], column: str, groups: npt.NDArray[Any]) -> Proxy:
    """AUC of the best told group, each half of the rows judged by what the other half shows.

    Numbers go through a shallow tree, texts through their own table of shares.

    Args:
        name: The input.
        values: Its values, [n]: floats with NaN where missing, or texts.
        column: The protected column.
        groups: Group of each row, as text, [n].
    """
    names, code = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sizes = np.bincount(code, minlength=len(names))
    large = [g for g, size in enumerate(sizes) if LEAST <= size <= len(code) - LEAST]
    if not large:
        return Proxy(name, column, None)
    chance = np.zeros((len(code), len(names)))
    # in blocks of the given order: odd and even rows may be alike
    half = np.random.default_rng(0).permutation(len(code)) % 2 == 0
    tell = _by_tree if values.dtype.kind == "f" else _by_table
    for learns in (half, ~half):
        chance[~learns] = tell(values[learns], code[learns], values[~learns], len(names))
    aucs = {g: float(roc_auc((code == g).astype(np.int8), chance[:, g])) for g in large}
    best = max(aucs, key=lambda g: aucs[g])
    return Proxy(name, column, aucs[best], str(names[best]))


def _by_tree(
    values: npt.NDArray[Any], code: npt.NDArray[np.intp], others: npt.NDArray[Any], groups: int
) -> Floats:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=20, random_state=0)
    tree.fit(values.reshape(-1, 1), code)
    found = np.zeros((len(others), groups))
    found[:, tree.classes_] = tree.predict_proba(others.reshape(-1, 1))
    return found


def _by_table(
    values: npt.NDArray[Any], code: npt.NDArray[np.intp], others: npt.NDArray[Any], groups: int
) -> Floats:
    known, place = np.unique(values.astype(str), return_inverse=True)
    counts = np.zeros((len(known) + 1, groups))
    np.add.at(counts, (place, code), 1.0)
    counts[-1] = np.bincount(code, minlength=groups)  # a value never seen: as all rows
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    at = {value: i for i, value in enumerate(known.tolist())}
    return np.asarray(shares[[at.get(v, len(known)) for v in others.astype(str).tolist()]])
