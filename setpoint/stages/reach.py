"""What a client can change in its request, by the project file."""

from __future__ import annotations

import numpy as np

from setpoint.config.gates import Bound
from setpoint.config.project import Project
from setpoint.domain.attack import Reach
from setpoint.domain.training import Rows

PLAIN = Bound(relative=0.01)
"""What a number may be off where nothing is declared: prices and measures are rounded so."""
WHOLE = Bound(relative=0.01, absolute=1)
"""The same of whole numbers: a hundredth, and one at the least."""


def reaches(project: Project, rows: Rows) -> list[Reach]:
    """Inputs that are columns of the request, with their bounds.

    Categories and truth values are left out but where a bound says that they may be changed.

    Args:
        project: The project.
        rows: Rows whose categories are those that there are.
    """
    spec, declared = project.feature_spec(), project.gates.robustness.bounds
    found = []
    for i, name in enumerate(spec.numbers):
        column = project.data.columns[name]
        bound = declared.get(name, WHOLE if column.type == "integer" else PLAIN)
        if column.type == "boolean":
            continue
        found.append(
            Reach(
                name,
                i,
                bound.relative,
                bound.absolute,
                whole=column.type == "integer",
                low=-np.inf if column.min is None else column.min,
                high=np.inf if column.max is None else column.max,
            )
        )
    for i, name in enumerate(spec.categories):
        if name in declared:
            values = sorted(set(rows.categories[:, i].tolist()) - {""})
            found.append(Reach(name, i, values=tuple(values)))
    return found
