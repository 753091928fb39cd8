"""scikit-learn to ONNX, with the parity of both checked on real rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from setpoint.domain.training import Rows, raw_scores
from setpoint.errors import BundleError


def to_onnx(pipeline: Any, numbers: int, categories: int) -> bytes:
    """Convert a fitted pipeline.

    Args:
        pipeline: As fitted by ``setpoint.domain.training.fit_pipeline``.
        numbers: Numeric inputs.
        categories: Text inputs.

    Returns:
        The serialised model, the same bytes in every process: inputs ``numbers`` float
        [n, numbers] and ``categories`` string [n, categories], whichever there are; output
        ``probabilities`` float [n, 2].
    """
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    inputs: list[tuple[str, Any]] = []
    if numbers:
        inputs.append(("numbers", FloatTensorType([None, numbers])))
    if categories:
        inputs.append(("categories", StringTensorType([None, categories])))
    model = convert(
        pipeline,
        initial_types=inputs,
        options={id(pipeline): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    # The converter takes them from a set, whose order is another one in each process.
    opsets = sorted(model.opset_import, key=lambda one: str(one.domain))
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return bytes(model.SerializeToString(deterministic=True))


def operators(model: bytes) -> tuple[str, ...]:
    """Kinds of the model's operators, in order, each once."""
    import onnx

    return tuple(dict.fromkeys(n.op_type for n in onnx.load_model_from_string(model).graph.node))


def onnx_scores(model: bytes, rows: Rows) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Raw probability of the positive class by the exported model, [n]."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds: dict[str, Any] = {}
    if rows.numbers.shape[1]:
        feeds["numbers"] = rows.numbers
    if rows.categories.shape[1]:
        feeds["categories"] = rows.categories.astype(object)
    return np.asarray(session.run(["probabilities"], feeds)[0][:, 1], dtype=np.float64)


def check_parity(model: bytes, pipeline: Any, rows: Rows, tolerance: float = 1e-6) -> float:
    """Compare both on real rows, on the same with missing numbers, with unknown categories, and
    with numbers on and one step beside the splits of the trees.

    Args:
        model: The exported model.
        pipeline: The fitted one.
        rows: Real rows; at most 10,000 are used.
        tolerance: Largest difference of probabilities allowed.

    Returns:
        The largest difference found.

    Raises:
        BundleError: It is above ``tolerance``.
    """
    sample = rows.take(np.arange(len(rows)) < 10_000)
    numbers = sample.numbers.copy()
    numbers[:: max(1, len(sample) // 50)] = np.nan
    categories = sample.categories.copy()
    categories[1 :: max(1, len(sample) // 50)] = "unseen by training"
    worst = 0.0
    for probe in (
        sample,
        _replace(sample, numbers, sample.categories),
        _replace(sample, sample.numbers, categories),
        _at_the_splits(pipeline, sample),
    ):
        gap = np.abs(onnx_scores(model, probe) - raw_scores(pipeline, probe))
        worst = float(np.maximum(worst, np.max(gap)))  # unlike max(), keeps a NaN
    if not worst <= tolerance:
        raise BundleError(
            f"the exported model differs from the trained one by up to {worst:.2g} "
            f"on {len(sample)} real rows and their variations; allowed is {tolerance:g}",
            where="model.onnx",
            fix="do not release this bundle; check the versions of skl2onnx and scikit-learn",
        )
    return worst


def _at_the_splits(pipeline: Any, rows: Rows) -> Rows:
    """Rows with one number each moved onto a split, or to the next float32 above or below it."""
    numbers, k = rows.numbers.copy(), rows.numbers.shape[1]
    nodes = [p.nodes for group in pipeline.named_steps["model"]._predictors for p in group]
    splits = np.concatenate([n[["feature_idx", "num_threshold"]][n["is_leaf"] == 0] for n in nodes])
    splits = np.unique(splits[splits["feature_idx"] < k])
    if not len(splits):
        return rows
    chosen = splits[np.linspace(0, len(splits) - 1, len(rows)).astype(int)]
    edge = chosen["num_threshold"].astype(np.float32)
    towards = np.resize(np.array([np.nan, np.inf, -np.inf], np.float32), len(rows))
    moved = np.where(np.isnan(towards), edge, np.nextafter(edge, towards))
    numbers[np.arange(len(rows)), chosen["feature_idx"].astype(int)] = moved
    return _replace(rows, numbers, rows.categories)


def _replace(rows: Rows, numbers: Any, categories: Any) -> Rows:
    return Rows(rows.ids, rows.time, rows.group, numbers, categories, rows.label, rows.columns)
