"""How a model is made from a table of features: split, fit, calibrate, choose a threshold.

Pure: the same rows, parameters and seed give the same model. Numbers are rounded to float32
before training, because that is what the exported model compares with its thresholds. Fits and
scores use one thread: OpenMP on busy cores is a hundred times slower, and serving runs beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from setpoint.domain.features import MICROSECONDS, FeatureSpec
from setpoint.domain.groups import crossed, reweighing
from setpoint.domain.metrics import CostArrays, CostMatrix, best_threshold

LEAF_EXPLORED = 5
"""Explored rows that a leaf is to hold, on average."""
MOST_OF_LEAF = 0.05
"""Share of the rows that a leaf is asked to hold at most for that."""

THREADS = 1
"""That fit and score; more of them add up numbers in another order, and so make another model."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Rows a model can be trained or judged on.

    Attributes:
        ids: Event ids, [n].
        time: Event time, microseconds since the epoch, [n].
        group: Value by which rows are kept together in a split, as text, [n].
        numbers: Numeric inputs, float32, [n, k], NaN where missing.
        categories: Text inputs, [n, c].
        label: 1 positive, 0 negative, int8, [n].
        columns: Raw columns for costs and groups, by name, [n] each.
        weight: How many rows each stands for, [n]: a positive that exploration found for
            itself and those like it that count as negatives, the inverse of its propensity; less
            for one that is made up (``setpoint.domain.hardening``); ``None``: each for itself.
    """

    ids: npt.NDArray[np.object_]
    time: npt.NDArray[np.int64]
    group: npt.NDArray[np.object_]
    numbers: npt.NDArray[np.float32]
    categories: npt.NDArray[np.object_]
    label: npt.NDArray[np.int8]
    columns: Mapping[str, npt.NDArray[Any]]
    weight: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, keep: Bools | npt.NDArray[np.intp]) -> Rows:
        """The rows where ``keep`` is true, or those of the numbers that it holds."""
        return Rows(
            self.ids[keep],
            self.time[keep],
            self.group[keep],
            self.numbers[keep],
            self.categories[keep],
            self.label[keep],
            {name: values[keep] for name, values in self.columns.items()},
            None if self.weight is None else self.weight[keep],
        )

    def priced(self, costs: CostMatrix) -> CostArrays:
        """Costs of the rows under each outcome, those that they stand for included.

        A row of weight w counts once as what it is, and w - 1 times as the difference to the
        negative that others like it are taken for: added up over all rows, that is without bias
        (the difference estimator, Särndal et al. 1992) where no such other one is known.
        """
        plain = costs.arrays(self.columns, len(self))
        if self.weight is None:
            return plain
        more = self.weight - 1
        return replace(
            plain,
            false_negative=plain.false_negative
            + more * (plain.false_negative - plain.true_negative),
            true_positive=plain.true_positive + more * (plain.true_positive - plain.false_positive),
        )

    def inputs(self) -> Any:
        """Model inputs as a frame, numbers first: what pipelines are fitted on."""
        import pandas as pd

        k = self.numbers.shape[1]
        frame: dict[str, Any] = {f"n{i}": self.numbers[:, i] for i in range(k)}
        frame |= {f"c{i}": self.categories[:, i] for i in range(self.categories.shape[1])}
        return pd.DataFrame(frame)


def joined(first: Rows, second: Rows) -> Rows:
    """Both, one after the other."""
    weight = None
    if first.weight is not None or second.weight is not None:
        known = [np.ones(len(r)) if r.weight is None else r.weight for r in (first, second)]
        weight = np.concatenate(known)
    return Rows(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.time, second.time]),
        np.concatenate([first.group, second.group]),
        np.concatenate([first.numbers, second.numbers]),
        np.concatenate([first.categories, second.categories]),
        np.concatenate([first.label, second.label]),
        {n: np.concatenate([v, second.columns[n]]) for n, v in first.columns.items()},
        weight,
    )


def as_rows(
    spec: FeatureSpec,
    features: pa.Table,
    events: pa.Table,
    group: str,
    keep: Sequence[str],
    weight: Mapping[str, float] | None = None,
) -> Rows:
    """Put features and raw columns of the same rows, in the same order, together.

    Args:
        spec: The declared features.
        features: Columns ``spec.names``.
        events: The events, with ``label`` (int8, no nulls) beside the raw columns.
        group: Column by which rows stay together in a split.
        keep: Raw columns kept for costs and groups.
        weight: How many rows a positive stands for, by id, where it is not itself alone.
    """
    n = events.num_rows
    numbers = np.empty((n, len(spec.number_names)), dtype=np.float32)
    for i, name in enumerate(spec.number_names):
        values = features[name].combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            numbers[:, i] = values
    categories = np.empty((n, len(spec.categories)), dtype=object)
    for i, name in enumerate(spec.categories):
        categories[:, i] = [v if v is not None else "" for v in features[name].to_pylist()]
    time = events[spec.event_time].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    ids = np.asarray(events[spec.event_id].to_pylist(), dtype=object)
    label = events["label"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.int8)
    stands = None
    if weight:
        known = np.array([weight.get(str(i), 1.0) for i in ids.tolist()], dtype=np.float64)
        stands = np.where(label == 1, known, 1.0)
    return Rows(
        ids=ids,
        time=time.combine_chunks().to_numpy(zero_copy_only=False),
        group=np.asarray([str(v) for v in events[group].to_pylist()], dtype=object),
        numbers=numbers,
        categories=categories,
        label=label,
        columns={c: events[c].combine_chunks().to_numpy(zero_copy_only=False) for c in keep},
        weight=stands,
    )


@dataclass(frozen=True)
class Parameters:
    """What the search chooses, and what a mitigation adds.

    Attributes:
        learning_rate: Step of the boosting, > 0.
        max_leaf_nodes: Leaves of a tree, >= 2.
        min_samples_leaf: Rows a leaf needs.
        l2: L2 regularisation, >= 0.
        half_life_days: A row this much older than the newest counts half; 0: all count the same.
        recent_days: A row older than the newest by more than this does not train; 0: all do.
        max_iter: Trees.
        seed: Of the boosting.
        balance: Columns of ``Rows.columns`` from whose crossing the label is parted by weights.
        fair: Whether the threshold is the cheapest at which the declared ratios between groups hold
            (``setpoint.domain.fair_threshold``), and not the cheapest of all.
    """

    learning_rate: float = 0.1
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    l2: float = 0.0
    half_life_days: float = 0.0
    recent_days: float = 0.0
    max_iter: int = 120
    seed: int = 0
    balance: tuple[str, ...] = ()
    fair: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "balance", tuple(self.balance))  # a list, as JSON has it

    def to_dict(self) -> dict[str, Any]:
        """JSON values, of which ``Parameters(**values)`` is the same again."""
        return asdict(self) | {"balance": list(self.balance)}


def sample_weights(time: npt.NDArray[np.int64], half_life_days: float) -> Floats:
    """Weight of each row by its age against the newest, 0 to 1, [n]."""
    if half_life_days <= 0:
        return np.ones(len(time))
    age_days = (time.max() - time) / (86_400 * MICROSECONDS)
    return np.asarray(0.5 ** (age_days / half_life_days), dtype=np.float64)


def fit_pipeline(rows: Rows, parameters: Parameters) -> Any:
    """Fit encoder and boosted trees.

    Categories are ordinal-encoded and not declared as categorical to the booster: with
    ``categorical_features`` both SHAP and the ONNX export are silently wrong.

    Returns:
        A fitted scikit-learn ``Pipeline``; its input is ``Rows.inputs()``.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    if parameters.recent_days > 0:
        reach = round(parameters.recent_days * 86_400 * MICROSECONDS)
        rows = rows.take(rows.time >= rows.time.max() - reach)
    k, c = rows.numbers.shape[1], rows.categories.shape[1]
    steps: list[tuple[str, Any, list[int]]] = []
    if k:
        steps.append(("numbers", "passthrough", list(range(k))))
    if c:
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32
        )
        steps.append(("categories", encoder, list(range(k, k + c))))
    model = HistGradientBoostingClassifier(
        learning_rate=parameters.learning_rate,
        max_leaf_nodes=parameters.max_leaf_nodes,
        min_samples_leaf=_leaf(rows, parameters),
        l2_regularization=parameters.l2,
        max_iter=parameters.max_iter,
        early_stopping=False,
        random_state=parameters.seed,
    )
    pipeline = Pipeline([("encode", ColumnTransformer(steps)), ("model", model)])
    with threadpool_limits(limits=THREADS):
        pipeline.fit(rows.inputs(), rows.label, model__sample_weight=_weights(rows, parameters))
    _round_thresholds(pipeline.named_steps["model"])
    return pipeline


def _weights(rows: Rows, parameters: Parameters) -> Floats | None:
    """By age, by how many each stands for, and by group, [n].

    Equal weights are left out: the same model in half the time, for bins are sought by weight.
    """
    if parameters.half_life_days <= 0 and rows.weight is None and not parameters.balance:
        return None
    weights = sample_weights(rows.time, parameters.half_life_days)
    if rows.weight is not None:
        weights = weights * rows.weight
    if parameters.balance:
        groups = crossed(rows.columns, parameters.balance)
        weights = weights * reweighing(rows.label, groups, weights)
    return weights


def _leaf(rows: Rows, parameters: Parameters) -> int:
    """Rows that a leaf needs: where some stand for many, several of those are to be expected in it.

    Or one of them would make a leaf of its few neighbours. Never more than a share of all rows.
    """
    if rows.weight is None:
        return parameters.min_samples_leaf
    several = min(LEAF_EXPLORED * float(rows.weight.max()), MOST_OF_LEAF * len(rows))
    return max(parameters.min_samples_leaf, round(several))


def _round_thresholds(model: Any) -> None:
    """Round every split down to float32, in place.

    A split lies midway between two float32 values, and the exported model keeps it as float32:
    rounded to the upper one, a row there would go the other way. Rounded down it decides every
    float32 input as before, in both.
    """
    for predictors in model._predictors:
        for predictor in predictors:
            exact = predictor.nodes["num_threshold"]
            near = exact.astype(np.float32)
            above = near.astype(np.float64) > exact
            near[above] = np.nextafter(near[above], np.float32(-np.inf))
            predictor.nodes["num_threshold"] = near.astype(np.float64)


def raw_scores(pipeline: Any, rows: Rows) -> Floats:
    """Probability of the positive class before calibration, [n]."""
    with threadpool_limits(limits=THREADS):
        return np.asarray(pipeline.predict_proba(rows.inputs())[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class Calibration:
    """Monotone map from raw to calibrated probability: linear between knots."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, raw: Floats) -> Floats:
        """Calibrated probabilities, [n]."""
        return np.asarray(np.interp(raw, self.x, self.y), dtype=np.float64)


def fit_calibration(
    raw: Floats, label: npt.NDArray[np.int8], weight: Floats | None = None
) -> Calibration:
    """Isotonic calibration (Zadrozny and Elkan 2002), made strictly increasing.

    A slope of 1e-6 is blended in, so that two raw scores never become one and a ranking survives.

    Args:
        raw: Probabilities, [n].
        label: 1 positive, 0 negative, [n].
        weight: Of each row, [n]; ``None``: all the same.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw, label, weight)
    x = np.concatenate([[0.0], fitted.X_thresholds_, [1.0]])
    y = np.concatenate(
        [[fitted.y_thresholds_[0]], fitted.y_thresholds_, [fitted.y_thresholds_[-1]]]
    )
    x, first = np.unique(x, return_index=True)
    y = (1 - 1e-6) * y[first] + 1e-6 * x
    return Calibration(tuple(x.tolist()), tuple(y.tolist()))


@dataclass(frozen=True)
class TrainedModel:
    """A model as it decides: pipeline, calibration and threshold."""

    pipeline: Any
    calibration: Calibration
    threshold: float
    parameters: Parameters

    def scores(self, rows: Rows) -> Floats:
        """Calibrated probabilities, [n]."""
        return self.calibration(raw_scores(self.pipeline, rows))


def finish(pipeline: Any, parameters: Parameters, tune: Rows, costs: CostMatrix) -> TrainedModel:
    """Calibrate on ``tune`` and choose the threshold of least cost there."""
    raw = raw_scores(pipeline, tune)
    calibration = fit_calibration(raw, tune.label, tune.weight)
    threshold = best_threshold(calibration(raw), tune.label, tune.priced(costs))
    return TrainedModel(pipeline, calibration, threshold, parameters)


def typical_values(spec: FeatureSpec, rows: Rows) -> dict[str, float | str | None]:
    """Typical value of each input among the negatives: median, or most frequent category.

    Reason codes ask how far a score falls when one input is replaced by its typical value.
    """
    good = rows.take(rows.label == 0)
    found: dict[str, float | str | None] = {}
    for i, name in enumerate(spec.number_names):
        values = good.numbers[:, i]
        values = values[np.isfinite(values)]
        found[name] = float(np.median(values)) if len(values) else None
    for i, name in enumerate(spec.categories):
        values, counts = np.unique(good.categories[:, i].astype(str), return_counts=True)
        found[name] = str(values[np.argmax(counts)]) if len(values) else ""
    return found


def with_seed(parameters: Parameters, seed: int, max_iter: int) -> Parameters:
    """The same parameters under another seed and number of trees."""
    return replace(parameters, seed=seed, max_iter=max_iter)
