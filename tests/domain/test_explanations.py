"""Explanations: what is compared, moved and looked for is what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.explanations import (
    Floats,
    agreement,
    even_sample,
    falls,
    importance,
    shuffled,
    surrogates,
)
from setpoint.domain.findings import Outcome
from setpoint.domain.gates.explainability import (
    agreement_gate,
    explainability_gate,
    slice_gate,
    stability_gate,
)
from setpoint.domain.proxies import Proxy, proxy
from setpoint.domain.training import Rows
from tests.domain.test_training import make_rows


def _linear(rows: Rows) -> Floats:
    odds = 2.0 * rows.numbers[:, 0] - rows.numbers[:, 1] + (rows.categories[:, 0] == "a")
    return 1 / (1 + np.exp(-odds.astype(np.float64)))


def test_surrogates_find_the_effects_of_a_model_that_is_linear() -> None:
    rows = make_rows(400)
    few = even_sample(rows, 40)
    found = surrogates(_linear, few, rows, seed=1)
    chance_a = (rows.categories[:, 0] == "a").mean()
    truth = np.column_stack(
        [
            2.0 * (few.numbers[:, 0] - rows.numbers[:, 0].mean()),
            -(few.numbers[:, 1] - rows.numbers[:, 1].mean()),
            (few.categories[:, 0] == "a") - chance_a,
        ]
    )
    assert agreement(found, truth).mean() > 0.95
    assert np.abs(found - truth).mean() < 0.3


def test_an_input_that_the_model_ignores_has_hardly_any_effect() -> None:
    rows = make_rows(400)
    found = surrogates(lambda r: 1 / (1 + np.exp(-2.0 * r.numbers[:, 0])), rows, rows, seed=1)
    assert importance(found)[0] > 0.8


def test_two_equal_models_have_equal_surrogates() -> None:
    rows = even_sample(make_rows(400), 30)
    assert np.array_equal(surrogates(_linear, rows, rows, 3), surrogates(_linear, rows, rows, 3))


@given(st.integers(0, 50), st.floats(0.1, 9))
def test_agreement_is_of_directions_and_not_of_sizes(seed: int, size: float) -> None:
    values = np.random.default_rng(seed).normal(size=(5, 3))
    assert agreement(values, size * values) == pytest.approx(np.ones(5))
    assert agreement(values, -size * values) == pytest.approx(-np.ones(5))
    assert agreement(values, np.zeros((5, 3))) == pytest.approx(np.zeros(5))


def test_shuffled_rows_keep_their_inputs_and_lose_their_labels() -> None:
    rows = make_rows(600)
    other = shuffled(rows, 1)
    assert np.array_equal(other.numbers, rows.numbers)
    assert other.label.sum() == rows.label.sum()
    assert (other.label != rows.label).mean() > 0.3


def _bent(rows: Rows) -> Floats:
    """Rises with the first number, but falls by .3 above 1."""
    x = rows.numbers[:, 0].astype(np.float64)
    return np.where(x > 1, 0.4, 0.5 + 0.1 * x)


def test_a_fall_against_the_declared_direction_is_measured() -> None:
    rows = make_rows(300)
    against, grid, scores = falls(_bent, rows, 0, rising=True)
    assert scores.shape == (300, len(grid))
    assert against == pytest.approx(np.full(300, scores.max() - 0.4))
    assert falls(_linear, rows, 0, rising=True)[0].max() == 0.0
    assert falls(_linear, rows, 1, rising=False)[0].max() == 0.0
    assert falls(_linear, rows, 1, rising=True)[0].mean() > 0.2


def test_a_number_that_no_row_has_is_moved_nowhere() -> None:
    rows = make_rows(50)
    rows.numbers[:, 0] = np.nan
    against, grid, _ = falls(_linear, rows, 0, rising=True)
    assert against.tolist() == [0.0] * 50 and len(grid) == 0


GROUPS = np.repeat(np.array(["f", "m"], dtype=object), 500)


@pytest.mark.parametrize("text", [False, True])
def test_an_input_that_tells_the_group_is_found_and_one_that_does_not_is_not(text: bool) -> None:
    rng = np.random.default_rng(2)
    order = rng.permutation(1000)
    groups = GROUPS[order]
    near = np.where(groups == "f", 1.5, -1.5) + rng.normal(size=1000)
    far = rng.normal(size=1000)
    near[::20] = far[::20] = np.nan
    values = [np.round(v).astype(str).astype(object) if text else v for v in (near, far)]
    found = [proxy("x", v, "sex", groups).auc or 0.0 for v in values]
    assert found[0] > 0.9 and found[1] < 0.6


def test_an_input_that_tells_the_group_without_order_is_found_too() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, 1000)
    found = proxy("x", x, "sex", np.where(np.abs(x) > 0.5, "f", "m").astype(object))
    assert found.auc is not None and found.auc > 0.95


def test_a_text_of_its_own_for_every_row_tells_no_group() -> None:
    ids = np.array([f"e{i}" for i in range(1000)], dtype=object)
    found = proxy("id", ids, "sex", GROUPS)
    assert found.auc is not None and abs(found.auc - 0.5) < 0.1


def test_groups_that_are_too_small_are_not_looked_at() -> None:
    few = np.array(["f"] * 29 + ["m"] * 971, dtype=object)
    assert proxy("x", np.zeros(1000), "sex", few).auc is None


def _forbidden(
    proxies: list[Proxy], forbidden: tuple[str, ...] = (), ceiling: float = 0.8
) -> tuple[str, float | None, str]:
    shares = {"amount": 0.9, "title": 0.06, "job": 0.04}
    found = explainability_gate(
        shares, 0.0, sample=500, max_share=0.95, forbidden=forbidden, max_forbidden=0.08,
        proxies=proxies, proxy_ceiling=ceiling,
    )[-1]  # fmt: skip
    assert found.name == "forbidden_drivers"
    return str(found.outcome), found.value, found.reason


def test_proxies_count_as_forbidden_inputs_do_and_each_once() -> None:
    title, job = Proxy("title", "sex", 0.95, "f"), Proxy("job", "sex", 0.7, "m")
    twice = Proxy("title", "age", 0.9, "old")
    assert _forbidden([title, twice, job])[:2] == ("passed", pytest.approx(0.06))
    outcome, value, reason = _forbidden([title, job], ("job",))
    assert (outcome, value) == ("failed", pytest.approx(0.1))
    assert "title (tells sex f, AUC 0.95)" in reason
    assert _forbidden([title, job], ("title",))[:2] == ("passed", pytest.approx(0.06))
    assert _forbidden([title, job], ceiling=0.6)[0] == "failed"


def test_without_a_proxy_the_nearest_input_is_named() -> None:
    outcome, value, reason = _forbidden([Proxy("job", "sex", 0.7, "m")])
    assert (outcome, value) == ("passed", 0.0)
    assert "nearest: job tells sex m, AUC 0.70" in reason


def test_proxies_that_could_not_be_looked_for_are_no_pass() -> None:
    assert _forbidden([Proxy("job", "sex", None)])[0] == "inconclusive"
    found = _forbidden([Proxy("job", "sex", None), Proxy("amount", "age", 0.9, "old")])
    assert found[0] == "failed"


def _slices(f: list[float], m: list[float], rows: tuple[int, int] = (50, 50)) -> tuple[str, str]:
    values = np.vstack([np.tile(f, (rows[0], 1)), np.tile(m, (rows[1], 1))])
    groups = np.repeat(np.array(["f", "m"], dtype=object), rows)
    found = slice_gate("sex", values, groups, ("a", "b"), max_share=0.9)
    return str(found.outcome), found.reason


def test_one_input_that_carries_all_within_one_group_fails_there() -> None:
    assert _slices([1.0, -1.0], [0.5, 0.5])[0] == "passed"
    outcome, reason = _slices([0.01, -1.0], [0.5, 0.5])
    assert outcome == "failed" and reason.startswith("f: b 0.99")


def test_a_group_with_few_explained_rows_is_named_and_alone_proves_nothing() -> None:
    assert _slices([1.0, 1.0], [0.5, 0.5], (50, 29))[1].endswith("m (29)")
    assert _slices([1.0, 1.0], [0.5, 0.5], (29, 29))[0] == "inconclusive"


@pytest.mark.parametrize(
    ("mean", "direction", "outcome"),
    [
        (0.9, "floor", "passed"), (0.52, "floor", "inconclusive"), (0.1, "floor", "failed"),
        (0.1, "ceiling", "passed"), (0.48, "ceiling", "inconclusive"), (0.9, "ceiling", "failed"),
    ],
)  # fmt: skip
def test_agreement_must_be_proven(mean: float, direction: str, outcome: str) -> None:
    rows = mean + np.tile([0.3, -0.3], 30)
    found = agreement_gate(
        "opinion", rows, 0.5, direction, error_rate=0.05, short=Outcome.FAILED, text=""  # type: ignore[arg-type]
    )  # fmt: skip
    assert str(found.outcome) == outcome


@pytest.mark.parametrize("rows", [np.full(29, 0.9), np.append(np.full(59, 0.9), np.nan)])
def test_agreement_of_few_rows_or_of_none_is_no_pass(rows: Floats) -> None:
    found = agreement_gate(
        "opinion", rows, 0.5, "floor", error_rate=0.05, short=Outcome.FAILED, text=""
    )
    assert found.outcome == Outcome.INCONCLUSIVE


def test_other_drivers_than_the_champion_s_fail() -> None:
    one, other = {"a": 0.9, "b": 0.1}, {"a": 0.1, "c": 0.9}
    same = stability_gate(one, one, floor=0.5, sample=60)
    assert same.passed and same.value == pytest.approx(1.0)
    moved = stability_gate(one, other, floor=0.5, sample=60)
    assert moved.outcome == Outcome.FAILED
    assert "c 0.90 to 0.00" in moved.reason and "a 0.10 to 0.90" in moved.reason
    nothing = stability_gate({"a": 0.0}, one, floor=0.5, sample=60)
    assert nothing.outcome == Outcome.FAILED
