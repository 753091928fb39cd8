"""The candidate beside the champion on parts of the rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates.slices import declared_slices, found_slices, slices_gate
from setpoint.domain.split import hash_share
from setpoint.stages.gates.case import Case


def slices_findings(case: Case) -> list[Finding]:
    """Declared slices, and the worst that are found; nothing without a champion to be beside.

    Nothing either where none is declared and none found can be judged: on few rows nobody asked
    for one.
    """
    champion = case.beside.judged
    if champion is None:
        return []
    gates = case.workspace.project.gates
    rule = gates.slices
    explore = _half(case)
    inputs, names = _inputs(case)
    worse = case.judged.cost - champion.cost
    slices = found_slices(inputs, names, worse, explore, rule.min_group)
    columns = {name: case.rows.columns[name] for name in rule.columns}
    declared, small = declared_slices(columns, rule.min_group)
    found = slices_gate(
        case.judged,
        champion,
        slices | declared,
        max_worse=rule.max_worse,
        error_rate=gates.error_rate,
        small=small,
        small_groups=rule.small_groups,
    )
    asked = rule.columns or found.outcome != Outcome.INCONCLUSIVE
    return [found] if asked else []


def _half(case: Case) -> npt.NDArray[np.bool_]:
    """Half of the customers with all their rows, by a hash that is not the split's."""
    groups = case.rows.group.tolist()
    side = {group: hash_share(f"slices {group}") < 0.5 for group in set(groups)}
    return np.array([side[group] for group in groups], dtype=np.bool_)


def _inputs(case: Case) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Numbers, and each of the most frequent values of a category as 0 or 1, with their names."""
    rows, spec = case.rows, case.workspace.project.feature_spec()
    columns = [rows.numbers[:, i].astype(np.float64) for i in range(rows.numbers.shape[1])]
    names = list(spec.number_names)
    for i, name in enumerate(spec.categories):
        text = rows.categories[:, i].astype(str)
        values, counts = np.unique(text, return_counts=True)
        for value in values[np.argsort(-counts, kind="stable")][:20].tolist():
            columns.append((text == value).astype(np.float64))
            names.append(f"{name}={value}")
    return np.column_stack(columns) if columns else np.empty((len(rows), 0)), names
