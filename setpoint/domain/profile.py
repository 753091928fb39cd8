"""The reference profile: how each input was distributed in training, as bins and counts.

Bins are fixed once, from the training data, and stored with the model; a window is then counted
against them in one blocked pass, and counts add up across windows, files and machines.

Cells of a numeric column, in this order:

* equal-frequency bins, right-closed, the outer ones open; their edges are values of the training
  data (order statistics, no interpolation);
* atoms: values that more rows have than a bin's share (ties, zero-inflation), each its own cell
  and taken out of the bin it lies in;
* null: missing and NaN.

Cells of a category: each value seen in training (the most frequent ``max_categories``), other
(all further and unseen values), null (missing, NaN and the empty text).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from setpoint.domain.columns import Column, as_numbers, is_text, tally
from setpoint.errors import DataError

Ints = NDArray[np.int64]

FORMAT = 1
HIGHER = 0.6
"""Probability of the higher value from which a column is said to have moved."""
BLOCK = 65_536
"""Rows counted at a time: a block stays in the processor's cache."""

_REBUILD = "build the profile again with build_profile"


@dataclass(frozen=True)
class ColumnProfile:
    """How one input was distributed in training.

    Attributes:
        name: Name of the input.
        kind: ``number`` or ``category``.
        edges: Inner edges of the bins, strictly increasing; one bin more than edges.
        atoms: Values that are cells of their own, increasing.
        categories: Values of a category, most frequent first.
        counts: Rows of the training data in each cell.
        float32: Whether values are cast to float32 before they are compared, as in serving.
        truncated: Whether the training data had more categories than are listed.
    """

    name: str
    kind: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    atoms: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    float32: bool = True
    truncated: bool = False

    @property
    def bins(self) -> int:
        """Number of cells that are ordered bins; 0 for a category."""
        return len(self.edges) + 1 if self.kind == "number" else 0

    @property
    def cells(self) -> int:
        """Number of cells; the last one is null."""
        if self.kind == "number":
            return self.bins + len(self.atoms) + 1
        return len(self.categories) + 2

    @property
    def rows(self) -> int:
        """Rows of the training data."""
        return sum(self.counts)

    @cached_property
    def index(self) -> dict[str, int]:
        """Cell of each listed category, and of the empty text."""
        return {c: i for i, c in enumerate(self.categories)} | {"": self.cells - 1}

    @property
    def labels(self) -> tuple[str, ...]:
        """What each cell holds, for people."""
        if self.kind == "category":
            return (*self.categories, "(other)", "(missing)")
        ends = [f"{edge:.6g}" for edge in self.edges]
        bins = [
            f"({low}, {high}]" for low, high in zip(["-inf", *ends], [*ends, "inf"], strict=True)
        ]
        return (*bins, *(f"= {atom:.6g}" for atom in self.atoms), "(missing)")

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        common = {"name": self.name, "kind": self.kind, "counts": list(self.counts)}
        if self.kind == "category":
            return common | {"categories": list(self.categories), "truncated": self.truncated}
        return common | {
            "edges": list(self.edges),
            "atoms": list(self.atoms),
            "float32": self.float32,
        }


@dataclass(frozen=True)
class Profile:
    """The reference profile of a model: one ``ColumnProfile`` an input."""

    columns: tuple[ColumnProfile, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(column.name for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        return {"format": FORMAT, "columns": [column.to_dict() for column in self.columns]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Profile:
        """Read what ``to_dict`` wrote.

        Raises:
            DataError: It is of another format, or a column is incomplete or contradicts itself.
        """
        if data.get("format") != FORMAT:
            raise DataError(
                f"the profile has format {data.get('format')!r}, not {FORMAT}",
                where="profile",
                fix=_REBUILD,
            )
        return cls(tuple(_read_column(item) for item in data.get("columns", ())))


def _read_column(data: Mapping[str, Any]) -> ColumnProfile:
    where = f"profile column {data.get('name')!r}"
    try:
        column = ColumnProfile(
            name=str(data["name"]),
            kind="number" if data["kind"] == "number" else "category",
            edges=tuple(float(x) for x in data.get("edges", ())),
            atoms=tuple(float(x) for x in data.get("atoms", ())),
            categories=tuple(str(x) for x in data.get("categories", ())),
            counts=tuple(int(x) for x in data["counts"]),
            float32=bool(data.get("float32", True)),
            truncated=bool(data.get("truncated", False)),
        )
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(f"it cannot be read: {err!r}", where=where, fix=_REBUILD) from err
    sorted_edges = all(a < b for a, b in zip(column.edges, column.edges[1:], strict=False))
    if len(column.counts) != column.cells or min(column.counts) < 0 or not sorted_edges:
        raise DataError(
            f"{len(column.counts)} counts for {column.cells} cells, edges {column.edges}",
            where=where,
            fix=_REBUILD,
        )
    return column


@dataclass(frozen=True)
class Counts:
    """Rows of a window in each cell of a profile; they add up.

    Attributes:
        cells: By column, rows in each cell, int64. Columns that the window lacks are left out.
    """

    cells: Mapping[str, Ints]

    def __add__(self, other: Counts) -> Counts:
        """Counts of both windows together.

        Raises:
            DataError: They were counted against different profiles.
        """
        total = dict(self.cells)
        for name, cells in other.cells.items():
            mine = total.get(name)
            if mine is not None and len(mine) != len(cells):
                raise DataError(
                    f"{len(mine)} cells and {len(cells)} cells cannot be added",
                    where=name,
                    fix="count both windows against the same profile",
                )
            total[name] = cells if mine is None else mine + cells
        return Counts(total)

    def rows(self, name: str) -> int:
        """Rows counted of a column; 0 if the window lacks it."""
        cells = self.cells.get(name)
        return 0 if cells is None else int(cells.sum())

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        return {name: cells.tolist() for name, cells in self.cells.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Sequence[int]]) -> Counts:
        """Read what ``to_dict`` wrote."""
        return cls({name: np.asarray(cells, dtype=np.int64) for name, cells in data.items()})


def build_profile(
    columns: Mapping[str, Column],
    *,
    categories: Collection[str] | None = None,
    bins: int = 10,
    float32: bool = True,
    max_categories: int = 1_000,
) -> Profile:
    """Profile of the training data.

    Args:
        columns: Model inputs by name, of equal length; NumPy arrays, lists or Arrow arrays.
        categories: Names of those that are categories; the others are numbers. ``None``: those
            whose first known value is text.
        bins: Number of equal-frequency bins of a number, at least 2.
        float32: Cast numbers to float32 first, as the serving model does; ties move otherwise.
        max_categories: Values of a category that are told apart.

    Returns:
        Bins and counts of every column, in the order given.

    Raises:
        DataError: There are no rows, lengths differ, ``categories`` names a column that does not
            exist, or a number cannot be read as one.
    """
    if categories is None:
        categories = [name for name, values in columns.items() if is_text(values)]
    _check_frame(columns, categories, bins)
    built = []
    for name, values in columns.items():
        if name in categories:
            column = _category_cells(name, values, max_categories)
        else:
            column = _number_cells(name, values, bins, float32)
        counts = count_column(column, values)
        built.append(_with_counts(column, counts))
    return Profile(tuple(built))


def _with_counts(column: ColumnProfile, counts: Ints) -> ColumnProfile:
    fields = {f: getattr(column, f) for f in ColumnProfile.__dataclass_fields__}
    return ColumnProfile(**(fields | {"counts": tuple(counts.tolist())}))


def _check_frame(columns: Mapping[str, Column], categories: Collection[str], bins: int) -> None:
    lengths = {name: len(values) for name, values in columns.items()}
    unknown = sorted(set(categories) - set(columns))
    problem = ""
    if not lengths or min(lengths.values()) == 0:
        problem = "there are no rows"
    elif len(set(lengths.values())) > 1:
        problem = f"columns have different lengths: {lengths}"
    elif unknown:
        problem = f"no column is called {unknown[0]!r}"
    elif bins < 2:
        problem = f"{bins} bins tell nothing apart"
    if problem:
        raise DataError(
            problem,
            where="profile",
            fix="give all model inputs of the training rows and at least 2 bins",
        )


def _number_cells(name: str, values: Column, bins: int, float32: bool) -> ColumnProfile:
    blocks = [part[~np.isnan(part)] for part in as_numbers(name, values, float32)]
    known = np.sort(np.concatenate(blocks))
    n = len(known)
    if n == 0:
        return ColumnProfile(name, "number", float32=float32)
    # A run longer than a bin's share covers at least one of these positions.
    step = max(n // bins, 1)
    candidates = np.unique(known[::step])
    left, right = np.searchsorted(known, candidates), np.searchsorted(known, candidates, "right")
    heavy = candidates[((right - left) > n / bins) & np.isfinite(candidates)]
    rest = known[~np.isin(known, heavy)] if len(heavy) else known
    wanted = max(1, round(bins * len(rest) / n))
    places = np.ceil(np.arange(1, wanted) * len(rest) / wanted).astype(np.int64) - 1
    edges = np.unique(rest[places]) if len(rest) else rest
    # The last bin is open: an edge at the largest value would leave it empty.
    edges = edges[np.isfinite(edges) & (edges < known[-1])]
    return ColumnProfile(
        name, "number", tuple(edges.tolist()), tuple(heavy.tolist()), float32=float32
    )


def _category_cells(name: str, values: Column, max_categories: int) -> ColumnProfile:
    found = tally(values)
    found.pop("", None)
    # By count, then by name: the same data give the same profile whatever their order.
    ordered = sorted(found, key=lambda c: (-found[c], c))
    truncated = len(ordered) > max_categories
    kept = tuple(ordered[:max_categories])
    return ColumnProfile(name, "category", categories=kept, truncated=truncated)


def count(profile: Profile, columns: Mapping[str, Column]) -> Counts:
    """Count a window against a profile in one blocked pass.

    Args:
        profile: The reference profile.
        columns: Columns of the window by name; others than the profile's are ignored, and those
            it lacks are left out of the counts.

    Raises:
        DataError: A numeric column cannot be read as numbers.
    """
    return Counts(
        {c.name: count_column(c, columns[c.name]) for c in profile.columns if c.name in columns}
    )


def count_column(column: ColumnProfile, values: Column) -> Ints:
    """Rows of one column in each cell of its profile, int64.

    Raises:
        DataError: A numeric column cannot be read as numbers.
    """
    if column.kind == "category":
        return _count_categories(column, values)
    cells = np.zeros(column.cells, dtype=np.int64)
    for part in as_numbers(column.name, values, column.float32):
        for start in range(0, len(part), BLOCK):
            cells += _count_block(column, part[start : start + BLOCK])
    return cells


def _count_block(column: ColumnProfile, block: NDArray[Any]) -> Ints:
    nulls = np.count_nonzero(block != block)
    below = [np.count_nonzero(block <= block.dtype.type(edge)) for edge in column.edges]
    bins = np.diff([0, *below, len(block) - nulls])
    atoms = [np.count_nonzero(block == block.dtype.type(atom)) for atom in column.atoms]
    for atom, rows in zip(column.atoms, atoms, strict=True):
        bins[np.searchsorted(column.edges, atom)] -= rows
    return np.array([*bins, *atoms, nulls], dtype=np.int64)


def _count_categories(column: ColumnProfile, values: Column) -> Ints:
    cells = np.zeros(column.cells, dtype=np.int64)
    other = column.cells - 2
    for value, rows in tally(values).items():
        cells[column.index.get(value, other)] += rows
    return cells


def direction(column: ColumnProfile, cells: Ints) -> str:
    """Which way numbers moved: ``higher``, ``lower``, or empty for neither, or for categories.

    A row of the window is higher than one of the training data, drawn at random, with probability
    ``P``, ties counted half, missing values left out (Mann and Whitney's statistic over ``n m``,
    on bins): from .6 on it is higher, from .4 down lower.

    Args:
        column: The profile of the column.
        cells: Rows of the window in each of its cells.
    """
    if column.kind != "number":
        return ""
    places = np.arange(column.bins + len(column.atoms))
    # an atom lies in the bin that it was taken out of
    places[column.bins :] = np.searchsorted(column.edges, column.atoms, side="left")
    base, seen = (
        np.bincount(places, weights=counts, minlength=column.bins)
        for counts in (np.asarray(column.counts[:-1]), cells[:-1])
    )
    if not base.sum() or not seen.sum():
        return ""
    below = np.cumsum(base) - base / 2
    higher = float((seen * below).sum() / (seen.sum() * base.sum()))
    return "higher" if higher >= HIGHER else "lower" if higher <= 1 - HIGHER else ""
