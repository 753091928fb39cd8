"""Reason codes are Shapley values of the log odds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from setpoint.adapters.onnx_export import to_onnx
from setpoint.domain.bundle import Bundle, DecisionSpec, SnapshotRef, read_bundle, write_bundle
from setpoint.domain.features import FeatureSpec
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.training import Parameters, Rows, fit_pipeline, typical_values
from setpoint.serving.scorer import Scorer, log_odds
from setpoint.serving.shapley import contributions, orders_of
from setpoint.serving.trees import read_trees
from tests.serving.tiny import EPOCH, Service, row

Start = Callable[..., Service]
NUMBERS = tuple(f"n{i}" for i in range(12))
TEXTS = ("c0", "c1", "c2")
SPEC = FeatureSpec("id", "at", {}, numbers=NUMBERS, categories=TEXTS)


class Model(NamedTuple):
    """A model of the project's own kind, its bundle, and adverse rows."""

    pipeline: Any
    bundle: Bundle
    rows: Rows
    adverse: list[Any]


def some_rows(n: int) -> Rows:
    """Rows whose inputs act together, with missing values."""
    random = np.random.default_rng(0)
    x = random.normal(size=(n, len(NUMBERS))).astype(np.float32)
    x[:, 5] = random.poisson(3, n)
    x[random.random(n) < 0.1, 3] = np.nan
    texts = random.choice(["a", "b", "c", ""], (n, len(TEXTS))).astype(object)
    odds = 1.5 * x[:, 0] + x[:, 1] * x[:, 2] + 2 * np.nan_to_num(x[:, 3]) * (x[:, 5] > 3)
    odds += 2.0 * (texts[:, 0] == "b") + x[:, 4] * x[:, 6] * (texts[:, 1] == "a") - 4
    label = (random.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    ids = np.arange(n)
    return Rows(ids.astype(object), ids, ids.astype(object), x, texts, label, {})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Trained as the project trains."""
    rows = some_rows(6000)
    pipeline = fit_pipeline(rows, Parameters(seed=0, max_iter=60))
    columns = [ColumnSpec("id", "id"), ColumnSpec("at", "time")]
    columns += [ColumnSpec(name, "number", nullable=True) for name in NUMBERS]
    columns += [ColumnSpec(name, "category", nullable=True) for name in TEXTS]
    folder = tmp_path_factory.mktemp("reasons") / "bundle"
    write_bundle(
        folder,
        to_onnx(pipeline, len(NUMBERS), len(TEXTS)),
        SPEC,
        TableSpec(tuple(columns), "id", "at"),
        DecisionSpec(0.4, {"positive": "no", "negative": "yes"}, typical_values(SPEC, rows)),
        {},
        project="reasons",
        version="1",
        created_at=EPOCH,
        snapshot=SnapshotRef("1", "a" * 64),
        commit="b" * 40,
        environment_digest="c" * 64,
        seeds={},
        parameters={},
    )
    bundle = read_bundle(folder)
    everyone = list(zip(rows.numbers.tolist(), rows.categories.tolist(), strict=True))
    scores, _ = Scorer(bundle).score(everyone)
    adverse = [everyone[i] for i in np.flatnonzero(scores >= 0.4)[:400]]
    return Model(pipeline, bundle, rows, adverse)


@pytest.fixture(scope="module")
def by_shap(model: Model) -> Any:
    """The same by the package shap: interventional, the baseline alone as background."""
    import pandas as pd
    import shap

    scorer = Scorer(model.bundle)
    encode = model.pipeline.named_steps["encode"]

    def encoded(inputs: list[Any]) -> Any:
        frame = {f"n{i}": [r[0][i] for r in inputs] for i in range(len(NUMBERS))}
        frame |= {f"c{i}": [r[1][i] for r in inputs] for i in range(len(TEXTS))}
        return np.asarray(encode.transform(pd.DataFrame(frame)), float)

    baseline = encoded([scorer.inputs(model.bundle.decision.baselines)])
    explainer = shap.TreeExplainer(
        model.pipeline.named_steps["model"], baseline, feature_perturbation="interventional"
    )
    values = np.asarray(explainer.shap_values(encoded(model.adverse), check_additivity=False))
    return values[:, :, 1] if values.ndim == 3 else values


def test_contributions_are_those_of_shap(model: Model, by_shap: Any) -> None:
    scorer = Scorer(model.bundle)
    names = model.bundle.features.names
    found = [scorer.contributions(inputs) for inputs in model.adverse]
    ours = np.array([[one[name] for name in names] for one in found])
    assert len(ours) > 100
    assert np.abs(ours - by_shap).max() < 1e-5


def test_the_first_reason_is_that_of_shap(model: Model, by_shap: Any) -> None:
    scorer = Scorer(model.bundle)
    _, raw = scorer.score(model.adverse)
    firsts = [reasons[0] for reasons in scorer.reasons(model.adverse, raw)]
    theirs = [model.bundle.features.names[i] for i in by_shap.argmax(axis=1)]
    assert np.mean([a == b for a, b in zip(firsts, theirs, strict=True)]) > 0.99


def test_contributions_add_up_to_the_log_odds_above_the_baseline(model: Model) -> None:
    scorer = Scorer(model.bundle)
    baseline = log_odds(scorer.score([scorer.inputs(model.bundle.decision.baselines)])[1])[0]
    _, raw = scorer.score(model.adverse)
    sums = [sum(scorer.contributions(inputs).values()) for inputs in model.adverse]
    # the model's own answers are float32
    assert np.array(sums) == pytest.approx(log_odds(raw) - baseline, abs=1e-4)


def test_an_adverse_row_has_a_reason(model: Model) -> None:
    scorer = Scorer(model.bundle)
    _, raw = scorer.score(model.adverse)
    assert all(1 <= len(reasons) <= 3 for reasons in scorer.reasons(model.adverse, raw))


def test_a_row_alone_has_the_reasons_that_it_has_among_others(model: Model) -> None:
    scorer = Scorer(model.bundle)
    _, raw = scorer.score(model.adverse)
    together = scorer.reasons(model.adverse, raw)
    alone = [scorer.reasons([r], raw[i : i + 1])[0] for i, r in enumerate(model.adverse)]
    assert alone == together


def test_orders_of_inputs_are_exact_for_pairs_and_add_up_always() -> None:
    random = np.random.default_rng(3)
    pairs, triple = random.normal(size=(6, 6)), random.normal()
    rows, changed = random.normal(size=(20, 6)), random.random((20, 6)) < 0.8

    def value(x: Any, odd: float) -> Any:
        return np.einsum("ni,ij,nj->n", x, pairs, x) + odd * x[:, 0] * x[:, 1] * x[:, 2]

    def explained(odd: float, n: int) -> Any:
        seen = rows * changed  # the baseline is 0
        return contributions(
            lambda row, present: value(np.where(present, seen[row], 0), odd),
            changed, value(seen, odd), 0.0, orders_of(6, n),
        )  # fmt: skip

    seen = rows * changed
    exact = seen * (seen @ (pairs + pairs.T)) / 2
    assert explained(0.0, 1) == pytest.approx(exact)
    for n in (1, 4):
        assert explained(triple, n).sum(axis=1) == pytest.approx(value(seen, triple))
    assert not explained(triple, 2)[~changed].any()


def test_a_model_that_is_no_such_ensemble_is_explained_all_the_same(bundle: Path) -> None:
    # one-hot columns are more than inputs: the orders of inputs answer
    read = read_bundle(bundle)
    scorer = Scorer(read)
    inputs = ([900.0, float("nan"), 12.0, 1.0, 0.0, 0.0], ["CH"])
    _, raw = scorer.score([inputs])
    found = scorer.contributions(inputs)
    baseline = log_odds(scorer.score([scorer.inputs(read.decision.baselines)])[1])[0]
    assert sum(found.values()) == pytest.approx(log_odds(raw)[0] - baseline)
    assert scorer.reasons([inputs], raw)[0][0] == "amount" == next(iter(found))


def test_bytes_that_hold_no_trees_are_no_trees() -> None:
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [one], [one])
    assert read_trees(helper.make_model(graph).SerializeToString()) is None


def test_a_decision_shows_what_each_feature_added(start: Start) -> None:
    service = start()
    _, answer = service.decide(row(1, amount=900, country="CH"))
    _, shown = service.call("GET", "/v1/decisions/p1")
    found = shown["contributions"]
    assert found[0]["feature"] == "amount" == answer["reason_codes"][0]
    assert found[0]["text"] == "The amount is unusually high"
    assert {one["feature"] for one in found} == shown["features"].keys()
    values = [one["log_odds"] for one in found]
    assert values == sorted(values, reverse=True) and values[0] > 0


def test_of_another_bundle_s_decision_no_contributions_are_told(
    start: Start, bundle: Path, tmp_path: Path
) -> None:
    from tests.serving.tiny import make_bundle

    start().decide(row(1, amount=900))
    other = Service(make_bundle(tmp_path / "other", "8"), tmp_path / "store.db", "8", ())
    try:
        shown = other.wait_ready().call("GET", "/v1/decisions/p1")[1]
    finally:
        other.kill()
    assert shown["contributions"] is None and shown["features"]
