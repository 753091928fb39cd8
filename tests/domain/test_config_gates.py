"""What the project file may say of the gates."""

from __future__ import annotations

import pytest

from setpoint.config import Gates, parse_project
from setpoint.errors import ProjectFileError
from tests.domain.test_config import PROJECT


def _gates(text: str) -> Gates:
    return parse_project(f"{PROJECT}gates: {{{text}}}\n").gates


def test_one_metric_or_several_are_declared() -> None:
    assert _gates("fairness: {metric: adverse_ratio}").fairness.metric == ("adverse_ratio",)
    both = _gates("fairness: {metric: [adverse_ratio, favourable_ratio]}").fairness
    assert both.metric == ("adverse_ratio", "favourable_ratio")


def test_the_ratio_that_did_not_name_its_side_is_that_of_the_adverse_one() -> None:
    assert _gates("fairness: {metric: selection_ratio}").fairness.metric == ("adverse_ratio",)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("{}", ()),
        ("{mitigation: none}", ()),
        ("{mitigation: reweigh}", ("reweigh",)),
        ("{mitigation: [threshold, reweigh]}", ("threshold", "reweigh")),
    ],
)
def test_a_mitigation_is_one_word_or_a_list_in_the_order_in_which_they_are_tried(
    text: str, ways: tuple[str, ...]
) -> None:
    assert _gates(f"fairness: {text}").fairness.mitigation == ways


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("fairness: {metric: []}", "gates.fairness.metric", "at least 1"),
        ("fairness: {metric: parity}", "gates.fairness.metric.0", "favourable_ratio"),
        ("fairness: {metric: 3}", "gates.fairness.metric", "list"),
        (
            "fairness: {metric: [adverse_ratio, selection_ratio]}",
            "gates.fairness.metric",
            "more than once",
        ),
        ("fairness: {small_groups: pass}", "gates.fairness.small_groups", "'note'"),
        (
            "explainability: {monotone: {amout: increasing}}",
            "gates.explainability.monotone.amout",
            "did you mean 'amount'",
        ),
        (
            "explainability: {monotone: {amount: up}}",
            "gates.explainability.monotone.amount",
            "'increasing'",
        ),
        ("explainability: {proxy_ceiling: 0.4}", "gates.explainability.proxy_ceiling", "0.5"),
        ("fairness: {mitigation: thresholds}", "gates.fairness.mitigation", "'reweigh'"),
        (
            "fairness: {mitigation: [threshold, threshold]}",
            "gates.fairness.mitigation",
            "more than once",
        ),
    ],
)
def test_a_mistake_names_its_field_and_what_is_allowed(text: str, field: str, said: str) -> None:
    with pytest.raises(ProjectFileError) as caught:
        _gates(text)
    assert field in str(caught.value) and said in str(caught.value)
