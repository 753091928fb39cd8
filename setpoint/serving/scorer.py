"""From model inputs to scores and reason codes: ONNX on one thread, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.bundle import Bundle
from setpoint.domain.exploration import EXPLORATION, explores
from setpoint.errors import BundleError
from setpoint.serving.explain import MORE_PAIRS, Explainer

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
        self._spec = bundle.decision
        self._digest = bundle.digest
        self._k = len(bundle.features.number_names)
        self._c = len(bundle.features.categories)
        self._x = np.asarray(bundle.decision.knots.x, np.float64)
        self._y = np.asarray(bundle.decision.knots.y, np.float64)
        self._session = _load(bundle, bundle.model)
        self._check_shape(bundle)
        self._explainer = self._explain(bundle)

    def score(self, rows: Sequence[Inputs]) -> tuple[Floats, Floats]:
        """Score rows in one call.

        Returns:
            Calibrated and raw probabilities of the positive class, each [N], 0 to 1.
        """
        raw = self._raw(*self._arrays(rows))
        return np.interp(raw, self._x, self._y), raw

    def adverse(
        self, rows: Sequence[Inputs], scores: Floats, raw: Floats, ids: Iterable[str]
    ) -> dict[int, list[str]]:
        """The rows that get the adverse action, with their reason codes.

        Args:
            rows: The rows, [N].
            scores: Their calibrated probabilities, [N].
            raw: Their raw ones, [N].
            ids: Their ids, [N]; looked at only where the bundle explores.

        Returns:
            By place in ``rows``: those from the threshold on with the features that raised their
            odds, and those that exploration drew.
        """
        spec = self._spec
        found: dict[int, list[str]] = {}
        above = [i for i, score in enumerate(scores) if score >= spec.threshold]
        if above:
            texts = self.reasons([rows[i] for i in above], raw[above])
            found = dict(zip(above, texts, strict=True))
        if spec.exploration:
            for i, identity in enumerate(ids):
                if i not in found and explores(identity, self._digest, spec.exploration):
                    found[i] = [EXPLORATION]
        return found

    def label_propensity(self, score: float) -> float | None:
        """Probability with which a score is sent to review; ``None`` if nothing is explored."""
        if not self._spec.exploration:
            return None
        return 1.0 if score >= self._spec.threshold else self._spec.exploration

    def reasons(self, rows: Sequence[Inputs], raw: Floats) -> list[list[str]]:
        """Names of the features that raised each row's odds most, strongest first.

        Args:
            rows: The rows, [N].
            raw: Their raw probabilities, [N].

        Returns:
            Up to three names a row; only features that raised the odds. There is at least one
            where the row's odds are above the baseline's.
        """
        raised = self._explainer.contributions(*self._arrays(rows), log_odds(raw))
        order = np.argsort(-raised, axis=1, kind="stable")[:, :REASONS]
        return [
            [self._names[i] for i in chosen if raised[row, i] > 0]
            for row, chosen in enumerate(order)
        ]

    def contributions(self, row: Inputs) -> dict[str, float]:
        """What each feature added to the row's log odds before calibration, largest first.

        They add up to the row's log odds less those of the bundle's baseline row.
        """
        _, raw = self.score([row])
        found = self._explainer.contributions(*self._arrays([row]), log_odds(raw), MORE_PAIRS)[0]
        order = np.argsort(-found, kind="stable")
        return {self._names[i]: float(found[i]) for i in order}

    def inputs(self, features: Mapping[str, float | str | None]) -> Inputs:
        """Logged features as a row in model order; ``None`` is a missing one."""
        values = [features[name] for name in self._names]
        numbers = [math.nan if value is None else float(value) for value in values[: self._k]]
        return numbers, ["" if value is None else str(value) for value in values[self._k :]]

    def _arrays(self, rows: Sequence[Inputs]) -> tuple[Floats, npt.NDArray[Any]]:
        numbers = np.array([row[0] for row in rows], np.float64).reshape(len(rows), self._k)
        categories = np.array([row[1] for row in rows], object).reshape(len(rows), self._c)
        return numbers, categories

    def _raw(self, numbers: Floats, categories: npt.NDArray[Any]) -> Floats:
        probabilities = _run(self._session, "probabilities", numbers, categories)
        return np.asarray(probabilities[:, 1], np.float64)

    def _log_odds(self, numbers: Floats, categories: npt.NDArray[Any]) -> Floats:
        return log_odds(self._raw(numbers, categories))

    def _explain(self, bundle: Bundle) -> Explainer:
        def load(model: bytes) -> Callable[[str, Floats, npt.NDArray[Any]], npt.NDArray[Any]]:
            return partial(_run, _load(bundle, model))

        numbers, categories = self._arrays([self.inputs(bundle.decision.baselines)])
        return Explainer(bundle.model, load, self._log_odds, numbers[0], categories[0])

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


def _load(bundle: Bundle, model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise BundleError(
            f"model.onnx cannot be loaded: {error}", where=str(bundle.folder), fix=AGAIN
        ) from error


def _run(
    session: Any, output: str, numbers: Floats, categories: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    feed: dict[str, npt.NDArray[Any]] = {}
    if numbers.shape[1]:
        feed["numbers"] = numbers.astype(np.float32)
    if categories.shape[1]:
        feed["categories"] = categories
    return np.asarray(session.run([output], feed)[0])


def log_odds(probability: Floats) -> Floats:
    """Log odds of probabilities, which are kept off 0 and 1."""
    kept = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept / (1 - kept)), np.float64)
