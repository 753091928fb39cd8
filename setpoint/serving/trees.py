"""The trees of an ONNX model as boxes, and exact Shapley values from them.

A leaf is reached from inside a box: one interval for each input. For a mixed row (some inputs the
row's, the others a baseline's) that makes the Shapley value of a leaf a closed form (Lundberg et
al. 2020, interventional, one reference): with A the inputs that only the row brings into the box
and B those that only the baseline does, the leaf counts when all of A and none of B are the row's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.serving.wire import field, fields, varints

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# numbers of fields in onnx.proto
_GRAPH, _NODE, _OUTPUT, _NAME = 7, 1, 12, 1
_INPUT, _KIND, _ATTRIBUTE = 1, 4, 5
_FLOATS, _INTS, _STRINGS = 7, 8, 9


@dataclass(frozen=True)
class Trees:
    """All leaves of an ensemble whose answer is the sum of the leaves reached.

    Attributes:
        above: Lower end of each box, excluded, [d, leaves].
        upto: Upper end, included, [d, leaves].
        missing: Whether a missing value is inside, [d, leaves].
        value: What a leaf adds to the log odds, [leaves].
    """

    above: Singles
    upto: Singles
    missing: Bools
    value: Floats

    def inside(self, row: Singles) -> Bools:
        """Which sides of which boxes a row is within, [d, leaves]; the row is [d]."""
        found = (row[:, None] > self.above) & (row[:, None] <= self.upto)
        unknown = np.isnan(row)
        found[unknown] = self.missing[unknown]
        return found

    def widened(self, width: int) -> Trees:
        """The same for rows of ``width`` inputs, of which the last ones split nothing."""
        more = ((0, width - len(self.above)), (0, 0))
        return Trees(
            np.pad(self.above, more, constant_values=-np.inf),
            np.pad(self.upto, more, constant_values=np.inf),
            np.pad(self.missing, more, constant_values=True),
            self.value,
        )

    def margin(self, row: Singles) -> float:
        """Sum of the leaves that a row reaches."""
        return float(self.value[self.inside(row).all(axis=0)].sum())

    def contributions(self, row: Singles, baseline: Bools) -> Floats:
        """Shapley values of a row's inputs, [d]; they add up to the difference of the margins.

        Args:
            row: [d], NaN where missing.
            baseline: ``inside`` of the baseline.
        """
        row_in = self.inside(row)
        open_ = np.flatnonzero((row_in | baseline).all(axis=0) & (row_in != baseline).any(axis=0))
        row_in, baseline = row_in[:, open_], baseline[:, open_]
        for_, against = row_in & ~baseline, baseline & ~row_in
        a, b = for_.sum(axis=0), against.sum(axis=0)
        gain, loss = _weights(len(row))
        value = self.value[open_]
        return np.asarray(for_ @ (value * gain[a, b]) - against @ (value * loss[a, b]), np.float64)


def read_trees(model: bytes) -> tuple[Trees, str] | None:
    """The trees of a binary classifier, and the name of the tensor that they look at.

    Args:
        model: A verified ONNX model.

    Returns:
        ``None`` if it holds no single ensemble of trees of the kind that is understood: all
        splits ``<=``, one weight a leaf, all for one class.
    """
    graph = next(value for number, value in fields(memoryview(model)) if number == _GRAPH)
    nodes = [dict(_node(value)) for number, value in fields(graph) if number == _NODE]
    found = [node for node in nodes if node["kind"] == "TreeEnsembleClassifier"]
    if len(found) != 1:
        return None
    attributes: Mapping[str, list[Any]] = found[0]["attributes"]
    one_class = len(set(attributes.get("class_ids", ()))) == 1
    splits = set(attributes.get("nodes_modes", ())) <= {b"BRANCH_LEQ", b"LEAF"}
    if not (one_class and splits and "nodes_values" in attributes):
        return None
    return _boxes(attributes), found[0]["inputs"][0]


def with_output(model: bytes, tensor: str) -> bytes:
    """The model with one more output: protocol buffers merge what is appended."""
    return model + field(_GRAPH, field(_OUTPUT, field(_NAME, tensor.encode())))


@lru_cache(maxsize=8)
def _weights(width: int) -> tuple[Floats, Floats]:
    """Share of the orders in which an input of A comes last of A and before B, and of B likewise,
    by the sizes of A and B."""
    gain, loss = np.zeros((2, width + 1, width + 1))
    for a in range(width + 1):
        for b in range(width + 1 - a):
            orders = factorial(a + b)
            gain[a, b] = factorial(a - 1) * factorial(b) / orders if a else 0.0
            loss[a, b] = factorial(a) * factorial(b - 1) / orders if b else 0.0
    return gain, loss


def _boxes(attributes: Mapping[str, list[Any]]) -> Trees:
    keys = list(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True))
    at = {key: i for i, key in enumerate(keys)}
    feature, mode = attributes["nodes_featureids"], attributes["nodes_modes"]
    width = max(feature) + 1
    tracks = attributes.get("nodes_missing_value_tracks_true") or [0] * len(keys)
    sides = attributes["nodes_truenodeids"], attributes["nodes_falsenodeids"]
    boxes = np.empty((2, len(keys), width), np.float32)
    boxes[0], boxes[1] = -np.inf, np.inf
    missing = np.ones((len(keys), width), bool)
    # a node comes before its children, so that a box is whole before it is cut
    for i in (i for i in _from_roots(keys, sides, mode, at) if mode[i] != b"LEAF"):
        tree, column, cut = keys[i][0], feature[i], np.float32(attributes["nodes_values"][i])
        for true, side in enumerate(reversed(sides)):
            child = at[tree, side[i]]
            boxes[:, child], missing[child] = boxes[:, i], missing[i]
            end = boxes[1, child] if true else boxes[0, child]
            end[column] = min(end[column], cut) if true else max(end[column], cut)
            missing[child, column] &= bool(tracks[i]) == bool(true)
    owners = zip(attributes["class_treeids"], attributes["class_nodeids"], strict=True)
    leaves = [at[key] for key in owners]
    value = np.array(attributes["class_weights"], np.float64)
    above, upto = (np.ascontiguousarray(boxes[end, leaves].T) for end in (0, 1))
    return Trees(above, upto, np.ascontiguousarray(missing[leaves].T), value)


def _from_roots(
    keys: list[Any], sides: tuple[list[int], list[int]], mode: list[bytes], at: Mapping[Any, int]
) -> Iterator[int]:
    inner = [i for i in range(len(keys)) if mode[i] != b"LEAF"]
    children = {at[keys[i][0], side[i]] for i in inner for side in sides}
    waiting = [i for i in range(len(keys)) if i not in children]
    while waiting:
        i = waiting.pop()
        yield i
        if mode[i] != b"LEAF":
            waiting += [at[keys[i][0], side[i]] for side in sides]


def _node(data: memoryview) -> Iterator[tuple[str, Any]]:
    found = list(fields(data))
    yield "kind", next((bytes(v).decode() for number, v in found if number == _KIND), "")
    yield "inputs", [bytes(v).decode() for number, v in found if number == _INPUT]
    yield "attributes", dict(_attribute(v) for number, v in found if number == _ATTRIBUTE)


def _attribute(data: memoryview) -> tuple[str, list[Any]]:
    name = ""
    values: list[Any] = []
    for number, value in fields(data):
        if number == _NAME:
            name = bytes(value).decode()
        elif number == _STRINGS:
            values.append(bytes(value))
        elif number == _INTS:
            values.extend([value] if isinstance(value, int) else varints(value))
        elif number == _FLOATS:
            values += [v for (v,) in struct.iter_unpack("<f", value)]
    return name, values
