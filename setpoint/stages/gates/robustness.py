"""How a candidate's decisions stand up to inputs that are a little off, attacked or absurd."""

from __future__ import annotations

from functools import partial

import numpy as np

from setpoint.domain.attack import Reach, tree_cuts
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.findings import Finding, not_measured
from setpoint.domain.gates.robustness import (
    Limits,
    evasion_finding,
    extreme_finding,
    flips_finding,
    missing_finding,
)
from setpoint.domain.training import Rows, joined
from setpoint.errors import BundleError
from setpoint.stages.gates.beside import bundle_scores
from setpoint.stages.gates.case import Case
from setpoint.stages.reach import reaches

ATTACKED = 300
"""Positives that are attacked, at most: of so many an interval is 6 points to each side."""


def robustness_findings(case: Case) -> list[Finding]:
    """Of the bundle as it is served: small changes, evasion, missing inputs, absurd values."""
    workspace = case.workspace
    rule, names = workspace.project.gates.robustness, workspace.project.feature_spec().names
    try:
        bundle = read_bundle(workspace.bundle(case.candidate.version), case.candidate.digest)
    except BundleError as err:
        return [not_measured("robustness", f"the candidate cannot be read: {err}")]
    score, threshold = partial(bundle_scores, bundle), bundle.decision.threshold
    limits = Limits(
        rule.max_flips,
        rule.max_evaded,
        rule.max_missing,
        rule.budget,
        workspace.project.gates.setpoint_error_rate,
        workspace.project.gates.min_sample,
    )
    rows = _some(case.rows, rule.sample)
    movable = reaches(workspace.project, case.rows)
    numbers = [reach for reach in movable if not reach.values]
    found = []
    if numbers and rule.max_flips is not None:
        seed = workspace.project.train.seed
        found.append(flips_finding(score, threshold, rows, numbers, limits, seed))
    if movable and rule.max_evaded is not None:
        found.append(_evasion(case, bundle, movable, limits))
    if rule.max_missing is not None:
        found.append(missing_finding(score, threshold, rows, names, limits))
    return [*found, extreme_finding(score, case.rows, names)]


def movable_undeclared(case: Case) -> list[tuple[str, str]]:
    """What is not judged for want of a limit, or of an input that a client may move; and why."""
    rule = case.workspace.project.gates.robustness
    movable = reaches(case.workspace.project, case.rows)
    numbers = [reach for reach in movable if not reach.values]
    still = "no input can be moved by a client: gates.robustness.bounds"
    found = []
    for name, limit, moved in (
        ("small_changes", rule.max_flips, numbers),
        ("evasion", rule.max_evaded, movable),
    ):
        if limit is None or not moved:
            found.append((name, still if limit is not None else "gates.robustness has no limit"))
    if rule.max_missing is None:
        found.append(("missing_input", "gates.robustness has no limit"))
    return found


def _evasion(case: Case, bundle: Bundle, movable: list[Reach], limits: Limits) -> Finding:
    """On positives that judge; where they are few, on those that tuned the threshold, too."""
    score, threshold = partial(bundle_scores, bundle), bundle.decision.threshold
    model, split = case.training.model, case.training.split
    caught = _caught(case.rows, case.judged.score, threshold)
    if len(caught) < ATTACKED:
        # How near to the threshold positives lie is a matter of the model, and not of the rows.
        more = _caught(split.tune, score(split.tune), threshold)
        caught = joined(caught, _some(more, ATTACKED - len(caught)))
    cuts = tree_cuts(model.pipeline, case.rows.numbers.shape[1])
    return evasion_finding(score, threshold, _some(caught, ATTACKED), movable, cuts, limits)


def _caught(rows: Rows, score: np.ndarray, threshold: float) -> Rows:  # type: ignore[type-arg]
    return rows.take((rows.label == 1) & (score >= threshold))


def _some(rows: Rows, most: int) -> Rows:
    """An even sample of at most so many rows."""
    if len(rows) <= most:
        return rows
    return rows.take(np.linspace(0, len(rows) - 1, most).round().astype(np.intp))
