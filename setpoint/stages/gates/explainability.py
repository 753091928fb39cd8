"""What drives the decisions of a candidate, and in which direction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.adapters.shap_importance import shap_values
from setpoint.domain.explanations import even_sample, falls, importance
from setpoint.domain.findings import Finding, check_ceiling
from setpoint.domain.gates.explainability import LEAST, explainability_gate, slice_gate
from setpoint.domain.groups import crossed
from setpoint.domain.proxies import Proxy, proxy
from setpoint.domain.training import Rows
from setpoint.stages.gates.case import Case
from setpoint.stages.train import Training

EXPLAINED = 500
"""Rows explained by SHAP, about a quarter of a second."""
LOOKED_AT = 4000
"""Rows on which proxies are looked for."""
MOVED = 500
"""Rows of which an input is moved, eleven values each."""


def explained(training: Training) -> tuple[Rows, npt.NDArray[np.float64], float]:
    """Rows that judge, their SHAP values [n, d], and the additivity error of these."""
    rows = even_sample(training.split.judge, EXPLAINED)
    return rows, *shap_values(training.model.pipeline, rows)


def explainability_findings(case: Case) -> list[Finding]:
    """Importance of each input by SHAP, on rows that judge: of all, and within each group."""
    project = case.workspace.project
    rule, spec = project.gates.explainability, project.feature_spec()
    rows, values, gap = explained(case.training)
    shares = dict(zip(spec.names, importance(values).tolist(), strict=True))
    found = explainability_gate(
        shares,
        gap,
        sample=len(rows),
        max_share=rule.max_share,
        forbidden=[name for name in spec.names if spec.sources(name) & set(rule.forbidden)],
        max_forbidden=rule.max_forbidden_share,
        proxies=_proxies(case),
        proxy_ceiling=rule.proxy_ceiling,
        max_useless=rule.max_useless,
    )
    slices = dict.fromkeys((*project.data.protected, *project.release.segments))
    if len(found) > 1:  # else nothing could be explained
        found += [
            slice_gate(
                column,
                values,
                crossed(rows.columns, (column,)),
                spec.names,
                max_share=rule.max_share,
            )
            for column in slices
        ]
    return found


def _proxies(case: Case) -> list[Proxy]:
    """What each input tells of each protected column."""
    project = case.workspace.project
    spec, rows = project.feature_spec(), even_sample(case.rows, LOOKED_AT)
    k = len(spec.number_names)
    inputs: list[npt.NDArray[Any]] = [rows.numbers[:, i] for i in range(k)]
    inputs += [rows.categories[:, i] for i in range(rows.categories.shape[1])]
    return [
        proxy(name, values, column, crossed(rows.columns, (column,)))
        for column in project.data.protected
        for name, values in zip(spec.names, inputs, strict=True)
    ]


def monotone_findings(case: Case) -> list[Finding]:
    """Share of rows whose score moves against a declared direction, for each that is declared."""
    project = case.workspace.project
    rows, numbers = even_sample(case.rows, MOVED), project.feature_spec().number_names
    return [
        _monotone(case, rows, name, numbers.index(name))
        for name in project.gates.explainability.monotone
    ]


def _monotone(case: Case, rows: Rows, name: str, column: int) -> Finding:
    project = case.workspace.project
    rule = project.gates.explainability
    direction = rule.monotone[name]
    rising = direction == "increasing"
    against, grid, scores = falls(case.training.model.scores, rows, column, rising)
    wrong = against > rule.monotone_slack
    found = check_ceiling(
        f"monotone_{name}",
        int(wrong.sum()),
        len(rows) if len(grid) > 1 else 0,  # what never moves shows nothing
        rule.max_violations,
        project.gates.setpoint_error_rate,
        LEAST,
    )
    if not wrong.any():
        return found
    worst = int(against.argmax())
    line = scores[worst] if rising else -scores[worst]
    low = int((np.maximum.accumulate(line) - line).argmax())
    high = int(line[: low + 1].argmax())
    data = project.data
    who = "a row" if data.columns[data.event_id].personal else f"{rows.ids[worst]}"
    example = (
        f"{who}: from {name} {grid[high]:.4g} to {grid[low]:.4g} the score goes "
        f"{scores[worst][high]:.3f} to {scores[worst][low]:.3f}, declared {direction}"
    )
    return replace(found, reason=f"{found.reason}; worst: {example}")
