"""Shapley values of a model's inputs against one baseline row, from the model's answers alone.

An input's value is what putting the row's in the place of the baseline's adds to the answer,
averaged over the orders in which the inputs can be replaced. Here it is the mean over a few
orders, each taken forwards and backwards (Castro et al. 2009; Mitchell et al. 2022): exact where
no more than two inputs act together, and always adding up to the whole difference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Evaluate = Callable[[Places, Bools], Floats]
"""Answers [m] of mixed rows: which row each is made of [m], and which inputs are the row's [m, d];
the others are the baseline's."""

SEED = 20_240_501
"""The orders are the same for every row, batch and process."""


def orders_of(width: int, pairs: int) -> Places:
    """``pairs`` orders of ``width`` inputs, each with its reverse, [2 * pairs, width]."""
    random = np.random.default_rng(SEED)
    drawn = [random.permutation(width) for _ in range(pairs)]
    return np.array([order for one in drawn for order in (one, one[::-1])], np.intp)


def contributions(
    evaluate: Evaluate, changed: Bools, answers: Floats, baseline: float, orders: Places
) -> Floats:
    """Shapley values of every row's inputs; all mixed rows are evaluated at once.

    Args:
        evaluate: The model.
        changed: Which inputs of each row differ from the baseline's, [n, d]; the others are
            worth 0 and cost nothing.
        answers: The model's answers on the rows, [n].
        baseline: Its answer on the baseline.
        orders: Orders of the inputs, as of ``orders_of``, [p, d].

    Returns:
        [n, d], in the unit of the answers; a row's values add up to its answer less ``baseline``.
    """
    moved = changed[:, orders]  # whether a step of a walk changes anything, [n, p, d]
    done = moved.cumsum(axis=2)
    whole = done[:, :, -1:]
    place = np.argsort(orders, axis=1)
    # answers along each walk by the changes made so far: none is the baseline, all is the row
    walk = np.full((*done.shape[:2], orders.shape[1] + 1), baseline)
    np.put_along_axis(walk, whole, np.where(whole > 0, answers[:, None, None], baseline), axis=2)
    row, order, step = np.nonzero(moved & (done < whole))
    if len(row):
        present = changed[row] & (place[order] <= step[:, None])
        walk[row, order, done[row, order, step]] = evaluate(row, present)
    gained = np.take_along_axis(walk, done, axis=2) - np.take_along_axis(walk, done - moved, axis=2)
    by_input = np.take_along_axis(gained, np.broadcast_to(place, gained.shape), axis=2)
    return np.asarray(by_input.mean(axis=1), np.float64)
