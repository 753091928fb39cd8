"""What a client can make of its own request: small changes by chance, and an attack on trees.

A client writes the raw columns of its request. What is made of earlier events, and of the time, is
left as it is: a request moves it little, and the next request anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from setpoint.domain.training import Floats, Rows

Scorer = Callable[[Rows], Floats]
"""Calibrated scores of rows, [n]."""
Singles = npt.NDArray[np.float32]

MOST_POINTS = 24
"""Values of an input that the attack tries in a row, at most: as many splits lie within reach."""


@dataclass(frozen=True)
class Reach:
    """How far a client may move one input of its request.

    Attributes:
        name: The input.
        at: Its place among the numbers, or among the categories where ``values`` are given.
        relative: Share of its value, >= 0.
        absolute: The same in its unit, >= 0; the larger of both counts.
        whole: Whether it holds whole numbers.
        low: Smallest value that a request may have.
        high: Largest one.
        values: What a category may become; empty for a number.
    """

    name: str
    at: int
    relative: float = 0.0
    absolute: float = 0.0
    whole: bool = False
    low: float = -np.inf
    high: float = np.inf
    values: tuple[str, ...] = ()

    def around(self, values: Singles) -> tuple[Floats, Floats]:
        """Smallest and largest value within reach of each, [n]; NaN where it is missing."""
        exact = values.astype(np.float64)
        half = np.maximum(np.abs(exact) * self.relative, self.absolute)
        if self.whole:
            half = np.floor(half)
        # A value that is outside already may stay there and go back, and no further.
        low = np.maximum(exact - half, np.minimum(self.low, exact))
        high = np.minimum(exact + half, np.maximum(self.high, exact))
        return low, high


def tree_cuts(pipeline: Any, numbers: int) -> dict[int, Singles]:
    """Splits of each number of boosted trees, rising, by its place.

    Args:
        pipeline: As fitted by ``setpoint.domain.training.fit_pipeline``.
        numbers: Numeric inputs; what comes after them are encoded categories.
    """
    nodes = [p.nodes for group in pipeline.named_steps["model"]._predictors for p in group]
    found: dict[int, Singles] = {}
    for i in range(numbers):
        splits = [n["num_threshold"][(n["feature_idx"] == i) & (n["is_leaf"] == 0)] for n in nodes]
        found[i] = np.unique(np.concatenate(splits).astype(np.float32))
    return found


def jitter(rows: Rows, reaches: Sequence[Reach], rng: np.random.Generator) -> Rows:
    """The rows with every number within reach moved by chance, evenly over what is allowed."""
    numbers = rows.numbers.copy()
    for reach in (r for r in reaches if not r.values):
        low, high = reach.around(rows.numbers[:, reach.at])
        moved = low + (high - low) * rng.random(len(rows))
        numbers[:, reach.at] = np.rint(moved) if reach.whole else moved
    return replace(rows, numbers=numbers)


def evade(
    score: Scorer,
    rows: Rows,
    reaches: Sequence[Reach],
    budget: int,
    cuts: Mapping[int, Singles],
) -> tuple[Rows, Floats]:
    """Lower the score of each row as far as a greedy attacker can who knows the model.

    Coordinate descent: at each step the one change of one input that lowers the score most, tried
    at every split of the trees within reach (evenly chosen where there are more than
    ``MOST_POINTS``) and at both ends. With one input it finds the lowest score there is; with
    several it may miss some, as an attacker of the same means would.

    Args:
        score: The model.
        rows: Rows to disguise.
        reaches: What may be changed, and how far.
        budget: Inputs that are changed in a row, at most.
        cuts: Splits of the trees by place of a number; without any, even steps are tried.

    Returns:
        The rows as disguised, and their scores, [n].
    """
    numbers, categories = rows.numbers.copy(), rows.categories.copy()
    best = score(rows)
    touched = np.zeros((len(rows), len(reaches)), dtype=bool)
    for _ in range(min(budget, len(reaches))):
        found = _best_move(score, replace(rows, numbers=numbers, categories=categories), reaches,
                           cuts, touched, best)  # fmt: skip
        for j, reach in enumerate(reaches):
            taken = found.input == j
            if reach.values:
                categories[taken, reach.at] = found.value[taken]
            else:
                numbers[taken, reach.at] = found.value[taken].astype(np.float32)
            touched[taken, j] = True
        best = found.score
        if (found.input < 0).all():
            break
    return replace(rows, numbers=numbers, categories=categories), best


@dataclass
class _Move:
    """The best change of each row: its input (-1 for none), its value, and the score after it."""

    input: npt.NDArray[np.intp]
    value: npt.NDArray[np.object_]
    score: Floats


def _best_move(
    score: Scorer,
    rows: Rows,
    reaches: Sequence[Reach],
    cuts: Mapping[int, Singles],
    touched: npt.NDArray[np.bool_],
    best: Floats,
) -> _Move:
    n = len(rows)
    found = _Move(np.full(n, -1), np.full(n, None, dtype=object), best.copy())
    for j, reach in enumerate(reaches):
        tried = _tried(reach, rows, cuts.get(reach.at))
        width = tried.shape[1]
        many = rows.take(np.repeat(np.arange(n), width))
        if reach.values:
            categories = many.categories.copy()
            categories[:, reach.at] = tried.ravel()
            many = replace(many, categories=categories)
        else:
            numbers = many.numbers.copy()
            numbers[:, reach.at] = tried.ravel()
            many = replace(many, numbers=numbers)
        scores = score(many).reshape(n, width)
        lowest = scores.argmin(axis=1)
        value = scores[np.arange(n), lowest]
        better = (value < found.score) & ~touched[:, j]
        found.input[better] = j
        found.score[better] = value[better]
        found.value[better] = tried[np.arange(n), lowest].astype(object)[better]
    return found


def _tried(reach: Reach, rows: Rows, cuts: Singles | None) -> npt.NDArray[Any]:
    """Values to try in each row, [n, tries]."""
    if reach.values:
        return np.tile(np.array(reach.values, dtype=object), (len(rows), 1))
    low, high = reach.around(rows.numbers[:, reach.at])
    ends = np.stack([low, high], axis=1)
    if cuts is None or not len(cuts):
        steps = np.linspace(0, 1, MOST_POINTS)
        inside = low[:, None] + (high - low)[:, None] * steps
    else:
        inside = _at_cuts(
            low, high, np.unique(np.floor(cuts) if reach.whole else cuts).astype(np.float64)
        )
    if reach.whole:
        inside = np.rint(inside)
    return _inside(np.hstack([ends, inside]), low, high)


def _at_cuts(low: Floats, high: Floats, points: Floats) -> Floats:
    """Splits within reach, [n, tries]; a split is the last value on its left, so all sides are."""
    first = np.searchsorted(points, low, side="left")
    last = np.searchsorted(points, high, side="right")
    steps = np.linspace(0, 1, MOST_POINTS)
    places = first[:, None] + np.rint(np.maximum(last - first - 1, 0)[:, None] * steps)
    found: Floats = points[np.minimum(places.astype(np.intp), len(points) - 1)]
    return found


def _inside(tried: Floats, low: Floats, high: Floats) -> Singles:
    """The same as float32, none of them outside: rounding goes inwards."""
    tried = np.clip(tried, low[:, None], high[:, None])
    near = tried.astype(np.float32)
    near = np.where(near > high[:, None], np.nextafter(near, np.float32(-np.inf)), near)
    near = np.where(near < low[:, None], np.nextafter(near, np.float32(np.inf)), near)
    return near.astype(np.float32)
