"""The model that every server gets: 25 inputs, three of them text, some looked up online here.

The rows are made so that one set of answers is right for all: in the probes, customer and
merchant of a row are new, so what is looked up is known beforehand, and a peer is given it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt

from setpoint.adapters.onnx_export import check_parity, to_onnx
from setpoint.domain.bundle import DecisionSpec, Knots, SnapshotRef, write_bundle
from setpoint.domain.features import DelayedRisk, FeatureSpec, WindowFeature
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.training import Parameters, Rows, fit_pipeline, raw_scores

EPOCH = datetime(2024, 5, 1, tzinfo=UTC)
TRAINING_ROWS = 20_000
PATTERNS = 2048
"""Different rows that are sent; the online features differ beyond them."""
CUSTOMERS, MERCHANTS = 1000, 500
STEP_SECONDS = 43.2
"""Of event time between rows: two events a day for a customer."""
ADVERSE_SHARE = 0.05
"""Share of rows above the threshold, which are answered with reasons."""
DAY = 86_400

GIVEN = ("amount", "balance", "age", "tenure", *(f"ratio_{i}" for i in range(8)))
CATEGORIES = {
    "country": ("AT", "CH", "DE", "FR", "IT"),
    "channel": ("app", "web", "branch"),
    "product": ("basic", "plus", "business", "student"),
}
FEATURES = FeatureSpec(
    event_id="payment_id",
    event_time="at",
    entities={"customer": "customer_id", "merchant": "merchant_id"},
    numbers=GIVEN,
    categories=tuple(CATEGORIES),
    calendar=("hour", "weekday"),
    windows=(
        WindowFeature("customer", "count", DAY),
        WindowFeature("customer", "count", 7 * DAY),
        WindowFeature("customer", "mean", 7 * DAY, "amount"),
        WindowFeature("customer", "max", 7 * DAY, "amount"),
    ),
    risks=(
        DelayedRisk("customer", 7 * DAY, DAY),
        DelayedRisk("merchant", 7 * DAY, DAY),
    ),
)
TABLE = TableSpec(
    columns=(
        ColumnSpec("payment_id", "id"),
        ColumnSpec("at", "time"),
        ColumnSpec("customer_id", "id", personal=True),
        ColumnSpec("merchant_id", "id"),
        *(ColumnSpec(name, "number") for name in GIVEN),
        *(ColumnSpec(name, "category", values=values) for name, values in CATEGORIES.items()),
        ColumnSpec("fraud", "boolean"),
    ),
    event_id="payment_id",
    event_time="at",
    label="fraud",
)


@dataclass(frozen=True)
class Model:
    """The trained model, written out for all servers.

    Attributes:
        bundle: Folder of the bundle.
        folder: ``model.onnx``, ``pipeline.joblib``, ``columns.json`` and ``mlflow/``.
        columns: Names of the pipeline's inputs, numbers first.
        inputs: The model's inputs of the probes and patterns.
        expected: Probability of each by the scikit-learn pipeline, [PATTERNS].
    """

    bundle: Path
    folder: Path
    columns: tuple[str, ...]
    inputs: Rows
    expected: npt.NDArray[np.float64]

    def values(self, pattern: int) -> tuple[list[float], list[str]]:
        """Numbers and categories of a pattern, as a peer is sent them."""
        place = pattern % PATTERNS
        return self.inputs.numbers[place].tolist(), self.inputs.categories[place].tolist()

    def event(self, number: int, probe: bool) -> dict[str, Any]:
        """A request of ours.

        Args:
            number: Makes its id, its time and, by its pattern, its values.
            probe: With a customer and a merchant of its own, so nothing is known of them.
        """
        numbers, categories = self.values(number)
        tag = "probe-" if probe else ""
        return {
            "payment_id": f"{tag}{number}",
            "at": (EPOCH + timedelta(seconds=number * STEP_SECONDS)).isoformat(),
            "customer_id": f"{tag}{number if probe else number * 7919 % CUSTOMERS}",
            "merchant_id": f"{tag}{number if probe else number * 104_729 % MERCHANTS}",
            **dict(zip(GIVEN, numbers, strict=False)),
            **dict(zip(CATEGORIES, categories, strict=True)),
        }


def make_model(folder: Path) -> Model:
    """Train on one thread, export, check the parity of both, and write all forms.

    Raises:
        BundleError: The exported model differs from the trained one.
    """
    random = np.random.default_rng(7)
    train = _history(random, TRAINING_ROWS)
    pipeline = fit_pipeline(train, Parameters(max_iter=100))
    onnx = to_onnx(pipeline, train.numbers.shape[1], train.categories.shape[1])
    check_parity(onnx, pipeline, train)
    inputs = _patterns(random)
    expected = raw_scores(pipeline, inputs)
    given = folder / "model"
    given.mkdir(parents=True)
    (given / "model.onnx").write_bytes(onnx)
    columns = tuple(inputs.inputs().columns)
    (given / "columns.json").write_text(json.dumps(columns), "utf-8")
    joblib.dump(pipeline, given / "pipeline.joblib")
    _save_for_mlflow(pipeline, given / "mlflow")
    threshold = float(np.quantile(expected, 1 - ADVERSE_SHARE))
    bundle = _bundle(folder / "bundle", onnx, threshold, train)
    return Model(bundle, given, columns, inputs, expected)


def _history(random: np.random.Generator, n: int) -> Rows:
    given = _given(random, n)
    counts = random.poisson(2, n) + 1.0
    week = counts + random.poisson(12, n)
    mean = _eighths(random.gamma(2, 30, n))
    seen = [random.poisson(12, n), random.poisson(28, n)]
    risks = [random.beta(1, 30, n), random.beta(1, 30, n)]
    hour, weekday = random.integers(0, 24, n), random.integers(0, 7, n)
    looked_up = [counts, week, mean, np.maximum(mean, given[:, 0]), seen[0], risks[0]]
    looked_up += [seen[1], risks[1]]
    numbers = np.column_stack([given, hour, weekday, *looked_up]).astype(np.float32)
    categories = _categories(random, n)
    odds = given[:, 0] / 60 + given[:, 4] * given[:, 5] + 2 * (categories[:, 0] == "CH")
    odds += 10 * risks[1] - given[:, 3] / 10 + random.normal(0, 1, n)
    label = (odds > np.quantile(odds, 1 - ADVERSE_SHARE)).astype(np.int8)
    return _rows(numbers, categories, label)


def _patterns(random: np.random.Generator) -> Rows:
    """Inputs of rows whose customer and merchant are seen for the first time."""
    given = _given(random, PATTERNS)
    times = [EPOCH + timedelta(seconds=i * STEP_SECONDS) for i in range(PATTERNS)]
    hour, weekday = [t.hour for t in times], [t.weekday() for t in times]
    amount, one, none = given[:, 0], np.ones(PATTERNS), np.zeros(PATTERNS)
    looked_up = [one, one, amount, amount, none, none, none, none]
    numbers = np.column_stack([given, hour, weekday, *looked_up]).astype(np.float32)
    return _rows(numbers, _categories(random, PATTERNS), none.astype(np.int8))


def _given(random: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    amount, balance = random.gamma(2, 30, n), random.normal(2000, 900, n)
    age, tenure = random.integers(18, 90, n), random.gamma(2, 4, n)
    return _eighths(np.column_stack([amount, balance, age, tenure, random.normal(size=(n, 8))]))


def _eighths(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rounded so that float32 holds them exactly: double and single then take the same branch."""
    return np.round(values * 8) / 8


def _categories(random: np.random.Generator, n: int) -> npt.NDArray[np.object_]:
    return np.column_stack([random.choice(v, n).astype(object) for v in CATEGORIES.values()])


def _rows(numbers: Any, categories: Any, label: Any) -> Rows:
    n = len(label)
    ids = np.array([str(i) for i in range(n)], object)
    return Rows(ids, np.zeros(n, np.int64), ids, numbers, categories, label, {})


def _save_for_mlflow(pipeline: Any, folder: Path) -> None:
    import mlflow.sklearn

    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=["scikit-learn"],  # given, or MLflow looks for them for half a minute
    )


def _bundle(folder: Path, onnx: bytes, threshold: float, train: Rows) -> Path:
    typical: dict[str, float | str | None] = dict(
        zip(FEATURES.number_names, np.median(train.numbers, 0).tolist(), strict=True)
    )
    typical |= {name: values[0] for name, values in CATEGORIES.items()}
    decision = DecisionSpec(
        threshold=threshold,
        actions={"positive": "review", "negative": "approve"},
        knots=Knots((0.0, 1.0), (0.0, 1.0)),
        baselines=typical,
        reasons={},
    )
    write_bundle(
        folder,
        onnx,
        FEATURES,
        TABLE,
        decision,
        {"rows": len(train)},
        project="benchmark",
        version="1",
        created_at=EPOCH,
        snapshot=SnapshotRef("1", "a" * 64),
        commit="b" * 40,
        environment_digest="c" * 64,
        seeds={"train": 0},
        parameters={"max_iter": 100},
    )
    return folder
