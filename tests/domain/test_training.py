"""How a model is made: no leak between the parts, the same in every run, calibrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from setpoint.domain.features import MICROSECONDS, FeatureSpec
from setpoint.domain.metrics import Cell, CostMatrix
from setpoint.domain.split import TUNE_POSITIVES, hash_share, split_rows
from setpoint.domain.training import (
    Parameters,
    Rows,
    as_rows,
    finish,
    fit_calibration,
    fit_pipeline,
    raw_scores,
    sample_weights,
    typical_values,
)
from setpoint.errors import TrainingError

DAY = 86_400 * MICROSECONDS
QUICK = Parameters(max_iter=15, min_samples_leaf=5)
COSTS = CostMatrix(
    false_negative=Cell(fixed=5.0),
    false_positive=Cell(fixed=1.0),
    true_positive=Cell(fixed=1.0),
    true_negative=Cell(fixed=0.0),
)


def make_rows(n: int = 600, seed: int = 0, groups: int = 60) -> Rows:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 2)).astype(np.float32)
    kind = rng.choice(["a", "b", "c"], n).astype(object)
    chance = 1 / (1 + np.exp(-(2 * numbers[:, 0] + (kind == "a") - 1)))
    return Rows(
        ids=np.array([f"e{i}" for i in range(n)], dtype=object),
        time=np.sort(rng.integers(0, 100 * DAY, n)),
        group=np.array([f"g{i % groups}" for i in range(n)], dtype=object),
        numbers=numbers,
        categories=kind.reshape(-1, 1),
        label=(rng.random(n) < chance).astype(np.int8),
        columns={"amount": rng.uniform(1, 9, n)},
    )


def test_no_group_is_in_two_parts_while_all_of_time_judges() -> None:
    split = split_rows(make_rows(), 0.3, 1.0)
    fit, tune, judge = (set(p.group.tolist()) for p in (split.fit, split.tune, split.judge))
    assert not fit & tune and not fit & judge and not tune & judge
    assert len(split.fit) + len(split.tune) + len(split.judge) == 600


def test_a_group_that_judges_never_trains_whatever_data_there_are() -> None:
    first = split_rows(make_rows(300, seed=1), 0.3, 0.4)
    later = split_rows(make_rows(900, seed=2), 0.3, 0.7)
    judging = set(first.judge.group.tolist()) | set(later.judge.group.tolist())
    for part in (first.fit, first.tune, later.fit, later.tune):
        assert not judging & set(part.group.tolist())


def test_no_row_is_in_two_parts() -> None:
    split = split_rows(make_rows(), 0.3, 0.4)
    ids = [i for part in (split.fit, split.tune, split.judge) for i in part.ids.tolist()]
    assert len(ids) == len(set(ids))


def test_only_the_latest_rows_judge() -> None:
    rows = make_rows()
    split = split_rows(rows, 0.3, 0.4)
    edge = rows.time.max() - 0.4 * (rows.time.max() - rows.time.min())
    assert split.judge.time.min() >= edge and split.tune.time.min() >= edge
    assert split.fit.time.min() < edge


def test_after_a_change_what_was_before_it_does_not_judge_and_tunes_only_where_it_must() -> None:
    rows = make_rows(6000)
    for ago, enough in ((40, True), (2, False)):
        since = int(rows.time.max()) - ago * DAY
        split = split_rows(rows, 0.3, 0.9, since)
        assert split.judge.time.min() >= since
        assert (split.tune.time.min() >= since) == enough
        assert int(split.tune.label.sum()) >= TUNE_POSITIVES


def test_rows_before_the_training_window_teach_nothing() -> None:
    rows = make_rows(2000)
    half = rows.time >= rows.time.max() - 50 * DAY
    turned = replace(rows, label=np.where(half, rows.label, 1 - rows.label).astype(np.int8))
    within = replace(QUICK, recent_days=50.0)
    assert np.array_equal(
        raw_scores(fit_pipeline(turned, within), rows), raw_scores(fit_pipeline(rows, within), rows)
    )


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_cannot_be_split(label: int) -> None:
    rows = make_rows()
    with pytest.raises(TrainingError, match=r"fit.*rows, .* positive"):
        split_rows(replace(rows, label=np.full(len(rows), label, dtype=np.int8)), 0.3, 1.0)


def test_one_group_alone_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="both classes are needed"):
        split_rows(make_rows(groups=1), 0.3, 1.0)


def test_the_share_of_a_text_never_changes_between_versions() -> None:
    # A change would put rows that trained a champion among those that judge it.
    assert hash_share("customer-1") == pytest.approx(0.9540507350117989, abs=1e-15)


def test_shares_are_spread_evenly() -> None:
    shares = np.array([hash_share(str(i)) for i in range(5000)])
    assert np.histogram(shares, bins=10, range=(0, 1))[0] == pytest.approx(500, rel=0.2)


def test_a_row_a_half_life_older_counts_half() -> None:
    time = np.array([0, 10 * DAY, 20 * DAY])
    assert sample_weights(time, 10.0).tolist() == [0.25, 0.5, 1.0]
    assert sample_weights(time, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_the_same_rows_and_seed_give_the_same_model() -> None:
    rows = make_rows()
    first, again = (raw_scores(fit_pipeline(rows, QUICK), rows) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_model_can_learn_its_own_rows() -> None:
    rows = make_rows(200)
    greedy = Parameters(max_iter=150, min_samples_leaf=1, max_leaf_nodes=40)
    acted = raw_scores(fit_pipeline(rows, greedy), rows) > 0.5
    assert float(np.mean(acted == rows.label)) > 0.99


def test_missing_numbers_and_unknown_categories_are_scored() -> None:
    rows = make_rows()
    strange = replace(
        rows,
        numbers=np.full_like(rows.numbers, np.nan),
        categories=np.full_like(rows.categories, "never seen"),
    )
    scores = raw_scores(fit_pipeline(rows, QUICK), strange)
    assert np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()


def test_calibration_keeps_every_ranking() -> None:
    rng = np.random.default_rng(1)
    raw = rng.random(400)
    calibrated = fit_calibration(raw, (rng.random(400) < raw**2).astype(np.int8))
    grid = np.linspace(0, 1, 2001)
    assert (np.diff(calibrated(grid)) > 0).all()
    assert calibrated(grid).min() >= 0 and calibrated(grid).max() <= 1


def test_calibrated_scores_are_probabilities() -> None:
    rng = np.random.default_rng(2)
    raw = rng.random(20_000)
    label = (rng.random(20_000) < raw**2).astype(np.int8)
    scores = fit_calibration(raw[:10_000], label[:10_000])(raw[10_000:])
    for low in (0.0, 0.25, 0.5, 0.75):
        part = (scores >= low) & (scores < low + 0.25)
        assert scores[part].mean() == pytest.approx(label[10_000:][part].mean(), abs=0.05)


def test_the_threshold_is_the_cheapest_on_the_tuning_rows() -> None:
    split = split_rows(make_rows(1200), 0.3, 1.0)
    model = finish(fit_pipeline(split.fit, QUICK), QUICK, split.tune, COSTS)
    scores = model.scores(split.tune)

    def cost(threshold: float) -> float:
        acted = scores >= threshold
        return float(COSTS.of(split.tune.label, acted, split.tune.columns).mean())

    assert cost(model.threshold) <= min(cost(t) for t in np.linspace(0, 1.01, 102)) + 1e-9


def test_typical_values_are_those_of_the_negatives() -> None:
    spec = FeatureSpec("id", "at", {}, numbers=("x", "gone"), categories=("kind",))
    rows = replace(
        make_rows(5),
        numbers=np.array([[1, np.nan], [2, np.nan], [3, np.nan], [99, 1], [98, 1]], np.float32),
        categories=np.array([["a"], ["b"], ["b"], ["c"], ["c"]], dtype=object),
        label=np.array([0, 0, 0, 1, 1], dtype=np.int8),
    )
    assert typical_values(spec, rows) == {"x": 2.0, "gone": None, "kind": "b"}


def test_rows_keep_order_and_turn_null_into_nan_and_empty_text() -> None:
    spec = FeatureSpec("id", "at", {}, numbers=("x",), categories=("kind",))
    events: dict[str, Any] = {
        "id": ["b", "a"],
        "at": pa.array([2, 1], pa.timestamp("us", "UTC")),
        "amount": [5.0, 6.0],
        "label": pa.array([1, 0], pa.int8()),
    }
    features = pa.table({"x": [1.5, None], "kind": [None, "k"]})
    rows = as_rows(spec, features, pa.table(events), "id", ["amount"])
    assert rows.ids.tolist() == ["b", "a"] and rows.time.tolist() == [2, 1]
    assert rows.numbers[0, 0] == 1.5 and np.isnan(rows.numbers[1, 0])
    assert rows.categories[:, 0].tolist() == ["", "k"]
    assert rows.label.tolist() == [1, 0] and rows.columns["amount"].tolist() == [5.0, 6.0]


def test_no_rows_at_all_is_an_error_that_says_what_to_bring() -> None:
    with pytest.raises(TrainingError, match="no labelled rows"):
        split_rows(make_rows(0), 0.3, 1.0)
