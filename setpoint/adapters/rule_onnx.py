"""The fallback rule as an ONNX model, with the inputs and the output of a trained one."""

from __future__ import annotations

from typing import Any

from setpoint.domain.features import FeatureSpec
from setpoint.domain.rule import Rule


def rule_onnx(rule: Rule, spec: FeatureSpec) -> bytes:
    """Write a rule as a model.

    Args:
        rule: The rule.
        spec: The inputs; the rule's column is one of them.

    Returns:
        The serialised model: inputs as ``onnx_export.to_onnx`` has them, of which one is read;
        output ``probabilities`` float [n, 2], each 0 or 1.
    """
    from onnx import TensorProto, checker, helper

    kinds = {"numbers": TensorProto.FLOAT, "categories": TensorProto.STRING}
    widths = {"numbers": len(spec.number_names), "categories": len(spec.categories)}
    table = "categories" if rule.values else "numbers"
    names = spec.categories if rule.values else spec.number_names
    place = helper.make_tensor("place", TensorProto.INT64, [1], [names.index(rule.column)])
    picked = helper.make_node("Gather", [table, "place"], ["picked"], axis=1)
    nodes, constants = (_of_text if rule.values else _of_number)(rule)
    nodes += [
        helper.make_node("Sub", ["one", "adverse"], ["favourable"]),
        helper.make_node("Concat", ["favourable", "adverse"], ["probabilities"], axis=1),
    ]
    constants.append(helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))
    model = helper.make_model(
        helper.make_graph(
            [picked, *nodes],
            "rule",
            [
                helper.make_tensor_value_info(name, kinds[name], [None, width])
                for name, width in widths.items()
                if width
            ],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
            [place, *constants],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=8,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _of_number(rule: Rule) -> tuple[list[Any], list[Any]]:
    """A missing number is on no side of the limit, so the favourable side is what is asked."""
    from onnx import TensorProto, helper

    above = rule.above is not None
    compare = "LessOrEqual" if above else "GreaterOrEqual"
    limit = float((rule.above if above else rule.below) or 0.0)
    nodes = [
        helper.make_node(compare, ["picked", "limit"], ["fine"]),
        helper.make_node("Not", ["fine"], ["not_fine"]),
        helper.make_node("Cast", ["not_fine"], ["adverse"], to=TensorProto.FLOAT),
    ]
    return nodes, [helper.make_tensor("limit", TensorProto.FLOAT, [1], [limit])]


def _of_text(rule: Rule) -> tuple[list[Any], list[Any]]:
    from onnx import helper

    named = ["", *rule.values]
    node = helper.make_node(
        "LabelEncoder",
        ["picked"],
        ["adverse"],
        domain="ai.onnx.ml",
        keys_strings=named,
        values_floats=[1.0] * len(named),
        default_float=0.0,
    )
    return [node], []
