"""Aggregates over what was known at some arrival number, without going through every pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from setpoint.domain.features import Aggregate

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Seen:
    """Aggregates over those entries of a stretch of places that were there at some arrival.

    A merge sort tree: blocks of 1, 2, 4... entries, each sorted by arrival with running
    aggregates. Every stretch is made of at most two blocks a level, and a binary search in a
    block says how much of it had arrived; so n entries and q stretches take
    O((n + q log n) log n) whatever their lengths, and nothing is ever subtracted.

    Attributes:
        places: Place of each entry, ascending, may repeat.
        since: Arrival number from which an entry is seen.
        lo: First place of each stretch.
        hi: Last place plus one of each stretch.
        at: Arrival number at which each stretch is looked at.
    """

    places: Ints
    since: Ints
    lo: Ints
    hi: Ints
    at: Ints

    def aggregate(self, compute: Aggregate, values: Floats) -> Floats:
        """``compute`` over the entries seen of each stretch; null values are NaN."""
        null = np.isnan(values)
        if compute == "max":
            largest = self._fold(np.maximum, np.where(null, -np.inf, values), -np.inf)
            return np.asarray(np.where(np.isneginf(largest), np.nan, largest))
        if compute == "count":
            return self._fold(np.add, np.ones(len(values)), 0.0)
        total = self._fold(np.add, np.where(null, 0.0, values), 0.0)
        if compute == "sum":
            return total
        count = self._fold(np.add, (~null).astype(np.float64), 0.0)
        mean = np.full(len(count), np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        return mean

    def _fold(self, ufunc: np.ufunc, values: Floats, empty: float) -> Floats:
        result = np.full(len(self.lo), empty)
        lo = np.searchsorted(self.places, self.lo)
        hi = np.searchsorted(self.places, self.hi)
        known, rank = np.unique(self.since, return_inverse=True)
        at = np.searchsorted(known, self.at, side="right")
        size = 1 << max(len(values) - 1, 0).bit_length()
        rank = np.append(rank, np.full(size - len(values), len(known)))
        values = np.append(values, np.full(size - len(values), empty))
        stride = len(known) + 1
        width = 1
        while (lo < hi).any():
            order = np.argsort(rank.reshape(-1, width), axis=1, kind="stable")
            order += np.arange(0, size, width)[:, None]
            rank, values = rank[order.ravel()], values[order.ravel()]
            running = ufunc.accumulate(values.reshape(-1, width), axis=1).ravel()
            keys = rank + np.arange(size) // width * stride
            for block, used in _edges(lo, hi):
                end = np.searchsorted(keys, block * stride + at[used])
                some = end > block * width
                used, end = used[some], end[some]
                result[used] = ufunc(result[used], running[end - 1])
            lo, hi, width = (lo + 1) >> 1, hi >> 1, width * 2
        return result


def _edges(lo: Ints, hi: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Blocks at the two ends of ``lo..hi`` that no pair of blocks covers, and whose they are."""
    left = np.flatnonzero((lo & 1 == 1) & (lo < hi))
    yield lo[left], left
    right = np.flatnonzero((hi & 1 == 1) & (((lo + 1) >> 1) << 1 < hi))
    yield hi[right] - 1, right
