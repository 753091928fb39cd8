"""From model inputs to scores and reason codes: ONNX on one thread, nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.bundle import Bundle
from setpoint.errors import BundleError

Inputs = tuple[list[float], list[str]]
"""The numbers and the categories of one row, in model order."""
Floats = npt.NDArray[np.float64]

REASONS = 3
SMALLEST = 1e-9
"""Probabilities are kept this far from 0 and 1 before their log odds are taken."""
AGAIN = "package the model again with the exporter of this project"


class Scorer:
    """Scores rows with the model of a bundle.

    Args:
        bundle: A verified bundle.

    Raises:
        BundleError: The model cannot be loaded, or its inputs are not those of the feature spec.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._names = bundle.features.names
        self._k = len(bundle.features.number_names)
        self._c = len(bundle.features.categories)
        self._x = np.asarray(bundle.decision.knots.x, np.float64)
        self._y = np.asarray(bundle.decision.knots.y, np.float64)
        self._typical = [bundle.decision.baselines[name] for name in self._names]
        self._session = _load(bundle)
        self._check_shape(bundle)

    def score(self, rows: Sequence[Inputs]) -> tuple[Floats, Floats]:
        """Score rows in one call.

        Returns:
            Calibrated and raw probabilities of the positive class, each [N], 0 to 1.
        """
        numbers = np.array([row[0] for row in rows], np.float64).reshape(len(rows), self._k)
        categories = np.array([row[1] for row in rows], object).reshape(len(rows), self._c)
        raw = self._raw(numbers, categories)
        return np.interp(raw, self._x, self._y), raw

    def reasons(self, rows: Sequence[Inputs], raw: Floats) -> list[list[str]]:
        """Names of the features that raised each row's odds most, strongest first.

        Each feature in turn is replaced by its typical value; its contribution is the fall of
        the log odds. The odds are those before calibration: a calibration map is flat in
        places, and there every feature would count for nothing.

        Args:
            rows: The rows, [N].
            raw: Their raw probabilities, [N].

        Returns:
            Up to three names a row; only features that raised the odds.
        """
        n, width = len(rows), self._k + self._c
        numbers = np.repeat(
            np.array([r[0] for r in rows], np.float64).reshape(n, self._k), width, 0
        )
        categories = np.repeat(np.array([r[1] for r in rows], object).reshape(n, self._c), width, 0)
        for index, typical in enumerate(self._typical):
            if index < self._k:
                numbers[index::width, index] = math.nan if typical is None else typical
            else:
                categories[index::width, index - self._k] = "" if typical is None else typical
        without = self._raw(numbers, categories).reshape(n, width)
        fall = _log_odds(raw)[:, None] - _log_odds(without)
        order = np.argsort(-fall, axis=1, kind="stable")[:, :REASONS]
        return [
            [self._names[i] for i in chosen if fall[row, i] > 0] for row, chosen in enumerate(order)
        ]

    def _raw(self, numbers: Floats, categories: npt.NDArray[Any]) -> Floats:
        feed: dict[str, npt.NDArray[Any]] = {}
        if self._k:
            feed["numbers"] = numbers.astype(np.float32)
        if self._c:
            feed["categories"] = categories
        probabilities = self._session.run(["probabilities"], feed)[0]
        return np.asarray(probabilities[:, 1], np.float64)

    def _check_shape(self, bundle: Bundle) -> None:
        wanted = {"numbers": self._k, "categories": self._c}
        found = {one.name: one.shape[-1] for one in self._session.get_inputs()}
        if found != {name: width for name, width in wanted.items() if width}:
            raise BundleError(
                f"model.onnx has the inputs {found}, features.json has {wanted}",
                where=str(bundle.folder),
                fix=AGAIN,
            )
        if "probabilities" not in {one.name for one in self._session.get_outputs()}:
            raise BundleError(
                "model.onnx has no output 'probabilities'", where=str(bundle.folder), fix=AGAIN
            )


def _load(bundle: Bundle) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            bundle.model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise BundleError(
            f"model.onnx cannot be loaded: {error}", where=str(bundle.folder), fix=AGAIN
        ) from error


def _log_odds(probability: Floats) -> Floats:
    kept = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept / (1 - kept)), np.float64)
