"""The fallback rule, and the ONNX model that it is served as."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.adapters.onnx_export import onnx_scores
from setpoint.adapters.rule_onnx import rule_onnx
from setpoint.domain.features import FeatureSpec
from setpoint.domain.rule import Rule, RuleModel
from setpoint.domain.training import Rows

SPEC = FeatureSpec("id", "at", {}, numbers=("x", "y"), categories=("kind", "land"))
RULES = (Rule("y", above=0.1), Rule("y", below=-2.0), Rule("land", values=("AT", "CH")))
NUMBERS = st.floats(width=32, allow_infinity=True) | st.sampled_from([0.1, -2.0, 0.0])
TEXTS = st.sampled_from(["AT", "CH", "DE", "", "at"])


def _rows(numbers: list[float], texts: list[str]) -> Rows:
    n = len(numbers)
    table = np.zeros((n, 2), np.float32)
    table[:, 1] = numbers
    words = np.full((n, 2), "a", object)
    words[:, 1] = texts
    ids = np.array([str(i) for i in range(n)], object)
    return Rows(ids, np.arange(n), ids, table, words, np.zeros(n, np.int8), {})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.label)
@settings(deadline=None)
@given(found=st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=30))
def test_the_model_decides_each_row_as_the_rule_does(
    rule: Rule, found: list[tuple[float, str]]
) -> None:
    rows = _rows([n for n, _ in found], [t for _, t in found])
    assert (onnx_scores(rule_onnx(rule, SPEC), rows) == RuleModel(rule, SPEC).scores(rows)).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.label)
def test_a_row_without_a_value_gets_the_adverse_action(rule: Rule) -> None:
    assert rule.acts(SPEC, _rows([float("nan")], [""])).all()


def test_the_limit_itself_is_on_the_favourable_side() -> None:
    assert not Rule("y", above=0.1).acts(SPEC, _rows([0.1], ["AT"])).any()
    assert not Rule("y", below=0.1).acts(SPEC, _rows([0.1], ["AT"])).any()
