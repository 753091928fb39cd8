"""What raised a row's odds: Shapley values of the log odds, from the bundle alone.

A contribution is against the bundle's baseline row, in log odds before calibration: a calibration
map is flat in places, and there every input would count for nothing. A row's contributions add up
to its log odds less the baseline's, so whatever is above the baseline has at least one reason.

The project's own models are trees with one column for each input: exact. For any other model they
are the mean over a few orders of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.serving.shapley import contributions, orders_of
from setpoint.serving.trees import read_trees, with_output

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[Any]
LogOdds = Callable[[Floats, Texts], Floats]
"""Numbers [n, k] and categories [n, c] to log odds [n]."""
Load = Callable[[bytes], Callable[[str, Floats, Texts], npt.NDArray[Any]]]
"""Loads a model; what it returns gives an output by name."""

PAIRS = 2
"""Pairs of orders in an answer, where trees cannot be read: about 0.3 ms a row of 25 inputs."""
MORE_PAIRS = 64
"""Pairs of orders where somebody asks for the contributions."""
UNSEEN = "\x00"
SLACK = 1e-3
"""How far trees as read and the model may be apart, log odds; its answers are float32."""


class Explainer:
    """Contributions of the inputs of one model.

    Args:
        model: The verified ONNX model.
        load: Loads a model.
        log_odds: The model.
        numbers: The baseline's numbers, NaN where missing, [k].
        categories: The baseline's categories, [c].
    """

    def __init__(
        self, model: bytes, load: Load, log_odds: LogOdds, numbers: Floats, categories: Texts
    ) -> None:
        self._log_odds = log_odds
        self._numbers = numbers.astype(np.float32)
        self._categories = categories
        self._k = len(numbers)
        self._baseline = float(log_odds(numbers[None], categories[None])[0])
        self._trees = self._read(model, load)

    @property
    def exact(self) -> bool:
        """Whether contributions are exact; else they are means over orders of the inputs."""
        return self._trees is not None

    def contributions(
        self, numbers: Floats, categories: Texts, log_odds: Floats, pairs: int = PAIRS
    ) -> Floats:
        """Contributions of all inputs, numbers first, log odds, [n, k + c].

        Args:
            numbers: [n, k], NaN where missing.
            categories: [n, c].
            log_odds: The model's answers, [n].
            pairs: Pairs of orders, where they are not exact.
        """
        if self._trees is not None:
            trees, encode, inside = self._trees
            return np.array(
                [trees.contributions(row, inside) for row in encode(numbers, categories)]
            )
        rows = numbers.astype(np.float32)
        same = (rows == self._numbers) | (np.isnan(rows) & np.isnan(self._numbers))
        changed = np.concatenate([~same, categories != self._categories], axis=1)

        def mixed(row: npt.NDArray[np.intp], present: npt.NDArray[np.bool_]) -> Floats:
            return self._log_odds(
                np.where(present[:, : self._k], rows[row], self._numbers),
                np.where(present[:, self._k :], categories[row], self._categories),
            )

        orders = orders_of(changed.shape[1], pairs)
        return contributions(mixed, changed, log_odds, self._baseline, orders)

    def _read(self, model: bytes, load: Load) -> Any:
        """Trees, encoder and the baseline's place; ``None`` unless they are seen to be right."""
        found = read_trees(model)
        if found is None:
            return None
        trees, tensor = found
        output = load(with_output(model, tensor))

        def encode(numbers: Floats, categories: Texts) -> npt.NDArray[np.float32]:
            return np.asarray(output(tensor, numbers, categories), np.float32)

        numbers, categories = self._probes()
        width = self._k + len(self._categories)
        columns = encode(numbers, categories)
        if columns.shape[1] != width or trees.above.shape[0] > width:
            return None
        trees = trees.widened(width)
        moved = ~((columns == columns[0]) | (np.isnan(columns) & np.isnan(columns[0])))
        own = np.eye(width, dtype=bool)
        margins = np.array([trees.margin(row) for row in columns])
        drift = (margins - margins[0]) - (self._log_odds(numbers, categories) - self._baseline)
        if (moved[1:] & ~own).any() or np.abs(drift).max() > SLACK:
            return None
        return trees, encode, trees.inside(columns[0])

    def _probes(self) -> tuple[Floats, Texts]:
        """The baseline, and one row for each input in which that one alone is another."""
        width = self._k + len(self._categories)
        numbers = np.repeat(self._numbers[None].astype(np.float64), width + 1, 0)
        categories = np.repeat(self._categories[None], width + 1, 0)
        for i in range(width):
            if i < self._k:
                numbers[i + 1, i] = 1.0 if np.isnan(numbers[0, i]) else np.nan
            else:
                categories[i + 1, i - self._k] = UNSEEN
        return numbers, categories
