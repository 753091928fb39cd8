"""Figures of a decided set of rows: detection, ranking, cost. Pure NumPy, one pass.

A row is *acted* on when its score is at or above the threshold. A rate whose denominator is 0 is
NaN, never 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import DataError

Floats = NDArray[np.float64]
AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """What one outcome costs a row: ``fixed + times * column``.

    Attributes:
        fixed: Money.
        column: Numeric column of the row, e.g. its amount; ``None`` for a fixed cost only.
        times: Money per unit of ``column``.
    """

    fixed: float = 0.0
    column: str | None = None
    times: float = 1.0

    def of(self, columns: Mapping[str, AnyArray], n: int) -> Floats:
        """Cost of each of ``n`` rows, [n].

        Raises:
            DataError: The column is missing, of another length, or not finite somewhere.
        """
        if self.column is None:
            return np.full(n, float(self.fixed))
        if self.column not in columns:
            raise DataError(
                f"the cost column {self.column!r} is not among {sorted(columns)}",
                where="costs",
                fix="keep the column with the rows, or correct its name in the project file",
            )
        values = np.asarray(columns[self.column]).astype(np.float64)
        _same_length(n, **{self.column: values})
        bad = ~np.isfinite(values)
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} values are missing or infinite, the first in row "
                f"{int(np.argmax(bad))}",
                where=f"costs column {self.column!r}",
                fix="leave out rows whose cost is unknown, or declare the column not nullable",
            )
        return np.asarray(self.fixed + self.times * values, dtype=np.float64)


@dataclass(frozen=True)
class CostArrays:
    """Cost of each row under each outcome, money, [n] each."""

    false_negative: Floats
    false_positive: Floats
    true_positive: Floats
    true_negative: Floats

    def take(self, rows: AnyArray) -> CostArrays:
        """Those of some rows, by number or mask."""
        return CostArrays(
            self.false_negative[rows],
            self.false_positive[rows],
            self.true_positive[rows],
            self.true_negative[rows],
        )

    def acting(self, label: AnyArray) -> Floats:
        """Cost of each row if it is acted on, [n]."""
        return np.where(label == 1, self.true_positive, self.false_positive)

    def leaving(self, label: AnyArray) -> Floats:
        """Cost of each row if it is left alone, [n]."""
        return np.where(label == 1, self.false_negative, self.true_negative)


@dataclass(frozen=True)
class CostMatrix:
    """What each outcome costs."""

    false_negative: Cell = Cell()
    false_positive: Cell = Cell()
    true_positive: Cell = Cell()
    true_negative: Cell = Cell()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the costs are read from."""
        cells = (self.false_negative, self.false_positive, self.true_positive, self.true_negative)
        return tuple(dict.fromkeys(c.column for c in cells if c.column is not None))

    def arrays(self, columns: Mapping[str, AnyArray], n: int) -> CostArrays:
        """Costs of ``n`` rows under each outcome.

        Raises:
            DataError: A cost column is missing or holds missing values.
        """
        return CostArrays(
            self.false_negative.of(columns, n),
            self.false_positive.of(columns, n),
            self.true_positive.of(columns, n),
            self.true_negative.of(columns, n),
        )

    def of(self, label: AnyArray, acted: AnyArray, columns: Mapping[str, AnyArray]) -> Floats:
        """Cost of each row as decided, money, [n].

        Args:
            label: 1 positive, else 0, [n].
            acted: Whether the row was acted on, [n].
            columns: Columns by name, [n] each.

        Raises:
            DataError: Lengths differ, a label is neither 0 nor 1, or a cost column is unusable.
        """
        label, acted = _labels(label), np.asarray(acted, dtype=bool)
        _same_length(len(label), acted=acted)
        costs = self.arrays(columns, len(label))
        return np.where(acted, costs.acting(label), costs.leaving(label))


@dataclass(frozen=True)
class Confusion:
    """Counts of decided rows; adds up across windows."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def n(self) -> int:
        """Rows in all."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def recall(self) -> float:
        """Detection rate: share of the positives acted on."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """Share of positives among the rows acted on."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def alert_rate(self) -> float:
        """Share of rows acted on."""
        return _ratio(self.tp + self.fp, self.n)

    @property
    def false_positive_rate(self) -> float:
        """Share of the negatives acted on."""
        return _ratio(self.fp, self.fp + self.tn)


def confusion(label: AnyArray, acted: AnyArray) -> Confusion:
    """Count decided rows by truth and action.

    Args:
        label: 0 or 1, [n].
        acted: Whether the row was acted on, [n].

    Raises:
        DataError: Lengths differ, or a label is neither 0 nor 1.
    """
    label, acted = _labels(label), np.asarray(acted, dtype=bool)
    _same_length(len(label), acted=acted)
    tn, fp, fn, tp = np.bincount(label * 2 + acted, minlength=4).tolist()
    return Confusion(tp, fp, fn, tn)


def recall(label: AnyArray, acted: AnyArray) -> float:
    """Detection rate: share of the positives acted on."""
    return confusion(label, acted).recall


def precision(label: AnyArray, acted: AnyArray) -> float:
    """Share of positives among the rows acted on."""
    return confusion(label, acted).precision


def alert_rate(acted: AnyArray) -> float:
    """Share of rows acted on."""
    return _ratio(int(np.count_nonzero(acted)), len(acted))


def roc_auc(label: AnyArray, score: AnyArray) -> float:
    """Area under the ROC curve; ties count half. NaN if there is one class only.

    Raises:
        DataError: Lengths differ, a label is neither 0 nor 1, or a score is NaN.
    """
    positives, totals = _by_score(label, score)
    negatives = totals - positives
    p, q = int(positives.sum()), int(negatives.sum())
    if not p or not q:
        return float("nan")
    above = np.cumsum(positives) - positives
    return float((negatives * (above + 0.5 * positives)).sum() / p / q)


def average_precision(label: AnyArray, score: AnyArray) -> float:
    """Average precision: Σ (recall step) · precision over distinct scores. NaN without positives.

    Raises:
        DataError: Lengths differ, a label is neither 0 nor 1, or a score is NaN.
    """
    positives, totals = _by_score(label, score)
    p = int(positives.sum())
    if not p:
        return float("nan")
    return float((positives * np.cumsum(positives) / np.cumsum(totals)).sum() / p)


@dataclass(frozen=True)
class Cuts:
    """Every threshold that decides rows otherwise than the next, highest first.

    Attributes:
        thresholds: From the one that acts on the fewest to 0, which acts on all, [m].
        totals: Cost of all rows under each, against acting on none, [m]; infinite where a score of
            1 is acted on whatever the threshold.
        slack: Sums in another order differ in the last bits; less does not tell two totals apart.
    """

    thresholds: Floats
    totals: Floats
    slack: float

    def cheapest(self, allowed: NDArray[np.bool_] | None = None) -> float | None:
        """The threshold of least total cost, of equal ones the highest; ``None``: none is allowed.

        Args:
            allowed: Which may be chosen, [m]; all of them by default.
        """
        totals = self.totals if allowed is None else np.where(allowed, self.totals, np.inf)
        if not np.isfinite(totals).any():
            return None
        return float(self.thresholds[np.argmax(totals <= totals.min() + self.slack)])


def threshold_cuts(score: AnyArray, label: AnyArray, costs: CostArrays) -> Cuts:
    """All cut points of these rows with what each costs.

    A threshold lies midway between two neighbouring scores, so that rounding a score does not
    change its side. Acting on no row is possible only where the highest score is under 1, since a
    threshold is 0 to 1.

    Args:
        score: Calibrated probability, 0 to 1, [n].
        label: 0 or 1, [n].
        costs: Costs of the same rows.

    Raises:
        DataError: There are no rows, lengths differ, or a score is not within 0 to 1.
    """
    score, label = np.asarray(score, dtype=np.float64), _labels(label)
    _same_length(len(label), score=score, costs=costs.false_negative)
    if not len(score) or not (score.min() >= 0 and score.max() <= 1):
        raise DataError(
            f"{len(score)} scores do not all lie within 0 to 1",
            where="score",
            fix="give calibrated probabilities of at least one row",
        )
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    saved = np.cumsum((costs.acting(label) - costs.leaving(label))[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    totals = np.append(0.0 if ranked[0] < 1 else np.inf, saved[last])
    edges = np.concatenate([[1.0], ranked[last], [0.0]])
    middle = 0.5 * (edges[:-1] + edges[1:])
    thresholds = np.where(middle > edges[1:], middle, edges[:-1])
    thresholds[-1] = 0.0
    return Cuts(thresholds, totals, 1e-12 * float(np.abs(saved).max()))


def best_threshold(score: AnyArray, label: AnyArray, costs: CostArrays) -> float:
    """The threshold of least total cost on these rows, exact over all cut points.

    Of equal costs the highest threshold wins: the fewest rows acted on.

    Args:
        score: Calibrated probability, 0 to 1, [n].
        label: 0 or 1, [n].
        costs: Costs of the same rows.

    Returns:
        The threshold, 0 to 1; act where ``score >= threshold``.

    Raises:
        DataError: There are no rows, lengths differ, or a score is not within 0 to 1.
    """
    cheapest = threshold_cuts(score, label, costs).cheapest()
    return 0.0 if cheapest is None else cheapest


def _by_score(label: AnyArray, score: AnyArray) -> tuple[Floats, Floats]:
    """Positives and rows at each distinct score, highest first."""
    label, score = _labels(label), np.asarray(score, dtype=np.float64)
    _same_length(len(label), score=score)
    if nans := int(np.isnan(score).sum()):
        raise DataError(f"{nans} scores are NaN", where="score", fix="judge only scored rows")
    values, codes = np.unique(-score, return_inverse=True)
    positives = np.bincount(codes, weights=label, minlength=len(values)).astype(np.float64)
    return positives, np.bincount(codes, minlength=len(values)).astype(np.float64)


def _labels(label: AnyArray) -> NDArray[np.int64]:
    values = np.asarray(label)
    good = (values == 0) | (values == 1)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{int((~good).sum())} labels are neither 0 nor 1, the first in row {row}: "
            f"{values[row]!r}",
            where="label",
            fix="leave out rows whose label is not known yet",
        )
    return values.astype(np.int64)


def _same_length(n: int, **arrays: AnyArray) -> None:
    for name, values in arrays.items():
        if len(values) != n:
            raise DataError(f"{len(values)} values for {n} rows", where=name, fix="give one a row")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
