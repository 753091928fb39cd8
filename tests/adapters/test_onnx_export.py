"""The exported model is the trained one, on every kind of input, or it is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setpoint.adapters.onnx_export import check_parity, onnx_scores, to_onnx
from setpoint.domain.training import Parameters, Rows, fit_pipeline, raw_scores
from setpoint.errors import BundleError
from tests.domain.test_training import make_rows

QUICK = Parameters(max_iter=12, min_samples_leaf=5)


def _only(rows: Rows, part: str) -> Rows:
    if part == "numbers":
        return replace(rows, categories=rows.categories[:, :0])
    if part == "categories":
        return replace(rows, numbers=rows.numbers[:, :0])
    return rows


@pytest.mark.parametrize("part", ["both", "numbers", "categories"])
def test_the_export_agrees_with_the_trained_model(part: str) -> None:
    rows = _only(make_rows(400), part)
    pipeline = fit_pipeline(rows, QUICK)
    model = to_onnx(pipeline, rows.numbers.shape[1], rows.categories.shape[1])
    assert check_parity(model, pipeline, rows) <= 1e-6
    assert np.allclose(onnx_scores(model, rows), raw_scores(pipeline, rows), atol=1e-5)


def test_numbers_as_large_as_epoch_seconds_decide_alike_in_the_export() -> None:
    rows = make_rows(4000)
    seconds = (1.7e9 + 4_000 * rows.numbers[:, :1]).astype(np.float32)
    rows = replace(rows, numbers=np.hstack([seconds, rows.numbers[:, 1:]]))
    pipeline = fit_pipeline(rows, QUICK)
    model = to_onnx(pipeline, 2, 1)
    assert np.allclose(onnx_scores(model, rows), raw_scores(pipeline, rows), atol=1e-6)
    assert check_parity(model, pipeline, rows) <= 1e-6


def test_the_export_agrees_on_missing_infinite_and_unknown_inputs() -> None:
    rows = make_rows(400)
    pipeline = fit_pipeline(rows, QUICK)
    model = to_onnx(pipeline, 2, 1)
    numbers = rows.numbers.copy()
    numbers[::3, 0], numbers[1::3, 1] = np.nan, 1e30
    strange = replace(rows, numbers=numbers, categories=np.full_like(rows.categories, ""))
    assert np.allclose(onnx_scores(model, strange), raw_scores(pipeline, strange), atol=1e-5)


def test_the_same_model_is_exported_to_the_same_bytes() -> None:
    rows = make_rows(300)
    first, again = (to_onnx(fit_pipeline(rows, QUICK), 2, 1) for _ in range(2))
    assert first == again


EXPORT = """
import hashlib
from setpoint.adapters.onnx_export import to_onnx
from setpoint.domain.training import fit_pipeline
from tests.adapters.test_onnx_export import QUICK
from tests.domain.test_training import make_rows
print(hashlib.sha256(to_onnx(fit_pipeline(make_rows(300), QUICK), 2, 1)).hexdigest())
"""


def test_every_process_exports_to_the_same_bytes() -> None:
    # Sets are in another order under another seed of the hashes, and each process has its own.
    digests = {
        subprocess.run(
            [sys.executable, "-c", EXPORT],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "01"
    }
    assert len(digests) == 1


def test_another_model_is_refused() -> None:
    rows = make_rows(400)
    other = fit_pipeline(replace(rows, label=(1 - rows.label).astype(np.int8)), QUICK)
    model = to_onnx(fit_pipeline(rows, QUICK), 2, 1)
    with pytest.raises(BundleError, match="differs from the trained one"):
        check_parity(model, other, rows)


class _Blind:
    """A fitted model whose probabilities are not numbers."""

    def __init__(self, fitted: Any) -> None:
        self.named_steps = fitted.named_steps

    def predict_proba(self, inputs: Any) -> Any:
        return np.full((len(inputs), 2), np.nan)


def test_a_model_that_answers_nan_is_refused() -> None:
    rows = make_rows(200)
    fitted = fit_pipeline(rows, QUICK)
    with pytest.raises(BundleError, match="nan"):
        check_parity(to_onnx(fitted, 2, 1), _Blind(fitted), rows)
