"""Groups of rows by protected columns: their crossing, and weights that part label from group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def crossed(
    columns: Mapping[str, npt.NDArray[Any]], names: Sequence[str]
) -> npt.NDArray[np.object_]:
    """Group of each row by one column or by the crossing of several, as text, [n].

    Args:
        columns: Values by column, [n] each.
        names: At least one column.
    """
    texts = [[str(v) for v in columns[name].tolist()] for name in names]
    return np.array([" & ".join(parts) for parts in zip(*texts, strict=True)], dtype=object)


def reweighing(
    label: npt.NDArray[np.int8], groups: npt.NDArray[Any], weight: Floats | None = None
) -> Floats:
    """Weights under which the label does not depend on the group (Kamiran and Calders 2012).

    A row of group g and label y weighs P(g) P(y) / P(g, y): what there would be of its kind, were
    the two independent, over what there is. All weights together are the number of rows, and
    so are those of each group and of each label what they were.

    Args:
        label: 1 positive, 0 negative, [n].
        groups: Group of each row, [n].
        weight: How many rows each stands for, [n]; ``None``: each for itself.

    Returns:
        Factors on ``weight``, above 0, [n].
    """
    own = np.ones(len(label)) if weight is None else weight
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    cells = np.zeros((int(group.max(initial=0)) + 1, 2))
    np.add.at(cells, (group, label), own)
    expected = np.outer(cells.sum(axis=1), cells.sum(axis=0)) / max(float(own.sum()), 1e-300)
    factor = np.divide(expected, cells, out=np.ones_like(cells), where=cells > 0)
    return np.asarray(factor[group, label], dtype=np.float64)
