"""The simpler way that a candidate must beat: a fixed rule, or a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from setpoint.domain.findings import Finding, Outcome, mean_bounds, not_measured
from setpoint.domain.gates.judged import Judged, judge
from setpoint.domain.gates.unseen import pessimistic_saving
from setpoint.domain.metrics import CostMatrix
from setpoint.domain.split import Split
from setpoint.domain.training import Parameters, Rows, TrainedModel, finish

NAME = "beats_simpler"
MOST_ROWS = 50_000
"""Rows that a logistic regression of a few inputs is fitted on at most; more move it little."""
MOST_VALUES = 50
"""Values of a category that are told apart; the others are taken together."""


@dataclass(frozen=True)
class Simpler:
    """A way to decide that is simpler than the candidate.

    Attributes:
        name: ``act never``, ``act always`` or ``logistic regression``.
        judged: The rows that judge as it decides them.
    """

    name: str
    judged: Judged


def simpler(split: Split, costs: CostMatrix, kind: Literal["rule", "logistic"]) -> Simpler:
    """The cheapest simpler way, chosen on the rows that tune, as it decides those that judge.

    Args:
        split: The rows the candidate was made from; the regression is fitted on the same.
        costs: Of decisions.
        kind: ``rule`` or ``logistic``, which has the rules beside it.
    """
    constant = {"act never": 1.0, "act always": 0.0}
    tuned = {
        name: judge(split.tune, np.zeros(len(split.tune)), at, costs)
        for name, at in constant.items()
    }
    fitted = None
    if kind == "logistic":
        fitted = finish(fit_logistic(split.fit), Parameters(), split.tune, costs)
        scores = fitted.scores(split.tune)
        tuned["logistic regression"] = judge(split.tune, scores, fitted.threshold, costs)
    name = min(tuned, key=lambda one: float(tuned[one].cost.mean()))
    if name in constant:
        nothing = np.zeros(len(split.judge))
        return Simpler(name, judge(split.judge, nothing, constant[name], costs))
    assert isinstance(fitted, TrainedModel)
    return Simpler(name, judge(split.judge, fitted.scores(split.judge), fitted.threshold, costs))


def fit_logistic(rows: Rows) -> Any:
    """A logistic regression of the same inputs, on ``MOST_ROWS`` evenly taken rows at most.

    Returns:
        A fitted scikit-learn ``Pipeline``; its input is ``Rows.inputs()``.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    rows = evenly(rows, MOST_ROWS)
    k, c = rows.numbers.shape[1], rows.categories.shape[1]
    # A bound keeps the squares of float32 finite.
    numbers = make_pipeline(
        FunctionTransformer(np.clip, kw_args={"a_min": -1e15, "a_max": 1e15}),
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
    )
    values = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_VALUES)
    steps: list[tuple[str, Any, list[int]]] = []
    steps += [("numbers", numbers, list(range(k)))] if k else []
    steps += [("categories", values, list(range(k, k + c)))] if c else []
    model = LogisticRegression(max_iter=200)
    pipeline = Pipeline([("encode", ColumnTransformer(steps)), ("model", model)])
    with threadpool_limits(limits=1):
        pipeline.fit(rows.inputs(), rows.label, model__sample_weight=rows.weight)
    return pipeline


def evenly(rows: Rows, most: int) -> Rows:
    """At most so many rows, taken evenly; both classes stay where both are frequent enough."""
    if len(rows) <= most:
        return rows
    keep: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=np.bool_)
    keep[np.linspace(0, len(rows) - 1, most).astype(np.int64)] = True
    return rows.take(keep)


def baseline_gate(
    candidate: Judged, other: Simpler, *, error_rate: float, min_sample: int
) -> Finding:
    """Is the candidate proven cheaper than the simpler way? If not, that one is preferred.

    At an error rate of about .16 this is the rule of one standard error (Breiman et al. 1984): of
    models about as good the simplest.

    Args:
        candidate: The rows as the candidate decides them.
        other: The simpler way, on the same rows.
        error_rate: One-sided chance that a candidate no cheaper passes.
        min_sample: Rows needed; fewer are inconclusive.
    """
    saved = other.judged.cost - candidate.cost
    n, value = len(saved), float(saved.mean()) if len(saved) else 0.0
    if n < max(min_sample, 2):
        reason = f"{n} rows, {max(min_sample, 2)} needed"
        return not_measured(NAME, reason, outcome=Outcome.INCONCLUSIVE)
    low, high = mean_bounds(saved, error_rate)
    # Losses that few rows show are counted by their prices, so that few need not be refused. At
    # half the rate: of skewed amounts the gamma bound is short at large rates: .26 of .2.
    low = min(low, pessimistic_saving(candidate, other.judged, error_rate / 2))
    told = f"the candidate saves {low:.4g} to {high:.4g} a row"
    outcome, reason = Outcome.PASSED, f"beside {other.name}, {told}"
    if low <= 0:
        outcome, reason = Outcome.FAILED, f"{other.name} is simpler and preferred: {told}"
    return Finding(NAME, outcome, value, 0.0, "floor", n, error_rate, reason, (low, high))
