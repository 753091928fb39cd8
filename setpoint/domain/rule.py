"""The fallback rule: one comparison of one input, that decides where no model may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.features import FeatureSpec

if TYPE_CHECKING:
    from setpoint.domain.training import Rows


@dataclass(frozen=True)
class Rule:
    """Which rows get the adverse action; those without a value do, too.

    Attributes:
        column: An input that is a column of the request.
        above: Values above it do; ``None`` unless the column is a number.
        below: Values below it do; one of the two where the column is a number.
        values: These do, where the column is text.
    """

    column: str
    above: float | None = None
    below: float | None = None
    values: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For people: ``amount above 500``."""
        if self.above is not None:
            return f"{self.column} above {self.above:g}"
        if self.below is not None:
            return f"{self.column} below {self.below:g}"
        return f"{self.column} is {' or '.join(self.values)}"

    def acts(self, spec: FeatureSpec, rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether each row gets the adverse action, [n]; numbers are compared as float32."""
        if self.values:
            texts = rows.categories[:, spec.categories.index(self.column)]
            return np.isin(texts.astype(str), ["", *self.values])
        numbers = rows.numbers[:, spec.number_names.index(self.column)]
        if self.above is not None:
            return ~(numbers <= np.float32(self.above))
        return ~(numbers >= np.float32(self.below or 0.0))


@dataclass(frozen=True)
class RuleModel:
    """A rule in the place of a trained model: it is certain of what it says.

    Attributes:
        rule: The rule.
        spec: The inputs of the rows that it is asked about.
        threshold: Score from which the adverse action is taken.
    """

    rule: Rule
    spec: FeatureSpec
    threshold: float = 0.5

    def scores(self, rows: Rows) -> npt.NDArray[np.float64]:
        """1 where the adverse action is taken, else 0, [n]."""
        return self.rule.acts(self.spec, rows).astype(np.float64)

    def parameters(self) -> dict[str, Any]:
        """What a record has in place of a model's parameters."""
        return {"rule": self.rule.label}
