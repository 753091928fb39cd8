"""Explanations as numbers: what each input adds to a row's log odds, and what can be said of them.

Contributions are arrays [n, d], rows by inputs, numbers first, in log odds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from setpoint.domain.training import Rows

Floats = npt.NDArray[np.float64]
Score = Callable[[Rows], Floats]
"""Probability of the positive class, [n]."""

DRAWS = 300
"""Neighbours drawn around each row for its surrogate."""
WIDTH = 0.75
"""Width of the kernel, times the root of the number of inputs: that of the package lime."""
QUANTILES = np.linspace(0.05, 0.95, 11)
"""Where an input is moved to; beyond, few rows say what a score should be."""
SPARSE = 1e-7
"""Probabilities nearer to 0 or 1 than this count as this: float32 has no finer ones."""


def importance(values: Floats) -> Floats:
    """Share of the absolute contributions that each input carries, [d]; all 0 if none has any."""
    weight = np.abs(values).mean(axis=0) if len(values) else np.zeros(values.shape[1])
    total = float(weight.sum())
    return np.asarray(weight / total if total > 0 else weight, dtype=np.float64)


def agreement(one: Floats, other: Floats) -> Floats:
    """Cosine of two contributions of the same row, -1 to 1, [n]; 0 where one of them is nothing.

    Large contributions count most. A rank correlation gives the order among inputs that add
    nearly nothing, which is chance, the same weight.
    """
    size = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    product = np.einsum("ij,ij->i", one, other)
    cosine = np.divide(product, size, out=np.zeros(len(one)), where=size > 0)
    return np.asarray(cosine, dtype=np.float64)


def even_sample(rows: Rows, most: int) -> Rows:
    """At most ``most`` rows, evenly over the order in which they come."""
    every = max(1, -(-len(rows) // most))
    return rows.take(np.arange(len(rows)) % every == 0)


def surrogates(score: Score, rows: Rows, background: Rows, seed: int) -> Floats:
    """A linear model around each row (LIME, Ribeiro et al. 2016), [n, d].

    A neighbour keeps each input of the row with probability 1/2 and has the others of a row of the
    background. Neighbours weigh by how much they keep, and a ridge regression of their log odds on
    what is kept gives each input's effect. All rows have the same draws, so two models are
    compared without their noise.

    Args:
        score: The model.
        rows: Rows to explain, n >= 1.
        background: Where other values come from, at least one row.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    k, c = rows.numbers.shape[1], rows.categories.shape[1]
    keep = rng.random((DRAWS, k + c)) < 0.5
    other = rng.integers(len(background), size=DRAWS)
    n = len(rows)
    numbers = np.where(keep[None, :, :k], rows.numbers[:, None], background.numbers[other][None])
    texts = np.where(
        keep[None, :, k:], rows.categories[:, None], background.categories[other][None]
    )
    mixed = with_inputs(rows, np.repeat(np.arange(n), DRAWS), numbers.reshape(-1, k),
                        texts.reshape(-1, c))  # fmt: skip
    odds = logit(np.clip(score(mixed), SPARSE, 1 - SPARSE)).reshape(n, DRAWS)
    return np.asarray(odds @ _ridge(keep).T, dtype=np.float64)


def _ridge(keep: npt.NDArray[np.bool_]) -> Floats:
    """Operator from log odds of neighbours to effects of inputs, [d, draws]."""
    d = keep.shape[1]
    replaced = (~keep).sum(axis=1)
    weight = np.sqrt(np.exp(-replaced / (WIDTH**2 * d)))
    design = np.column_stack([np.ones(len(keep)), keep])
    penalty = np.eye(d + 1)
    penalty[0, 0] = 0.0
    weighted = design.T * weight
    return np.asarray(np.linalg.solve(weighted @ design + penalty, weighted)[1:], np.float64)


def with_inputs(
    rows: Rows,
    place: npt.NDArray[np.intp],
    numbers: npt.NDArray[np.float32],
    categories: npt.NDArray[np.object_],
) -> Rows:
    """Rows made of ``place`` [m] with other inputs, [m, k] and [m, c]."""
    return Rows(
        rows.ids[place],
        rows.time[place],
        rows.group[place],
        np.asarray(numbers, dtype=np.float32),
        np.asarray(categories, dtype=object),
        rows.label[place],
        {},
    )


def falls(score: Score, rows: Rows, column: int, rising: bool) -> tuple[Floats, Floats, Floats]:
    """How far scores go against a direction while one input is moved over ``QUANTILES``.

    Args:
        score: The model.
        rows: Rows, n >= 1; the other inputs stay as they are.
        column: Place of the input among the numbers.
        rising: Whether scores are to rise with it.

    Returns:
        Largest move against the direction from any lower to any higher value, >= 0, [n]; the
        grid [g]; and the scores [n, g].
    """
    seen = rows.numbers[:, column]
    seen = seen[np.isfinite(seen)]
    if not len(seen):
        return np.zeros(len(rows)), np.zeros(0), np.zeros((len(rows), 0))
    # float32, as the model sees it
    grid = np.unique(np.quantile(seen, QUANTILES).astype(np.float32))
    place = np.repeat(np.arange(len(rows)), len(grid))
    numbers = rows.numbers[place].copy()
    numbers[:, column] = np.tile(grid, len(rows))
    moved = with_inputs(rows, place, numbers, rows.categories[place])
    found = score(moved).reshape(len(rows), len(grid))
    toward = found if rising else -found
    against = (np.maximum.accumulate(toward, axis=1) - toward).max(axis=1)
    return against, grid.astype(np.float64), found


def shuffled(rows: Rows, seed: int) -> Rows:
    """The rows with each other's labels."""
    order = np.random.default_rng(seed).permutation(len(rows))
    weight = None if rows.weight is None else rows.weight[order]
    return replace(rows, label=rows.label[order], weight=weight)
