"""A column of values however it is held: NumPy array, list, Arrow array, Arrow chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from setpoint.errors import DataError

Column: TypeAlias = "NDArray[Any] | Sequence[Any] | pa.Array | pa.ChunkedArray"


def is_text(values: Column) -> bool:
    """Whether the values are text: by type, or by the first known value of untyped ones."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return values.dtype.kind in "US"
    first = next((v for v in values if v is not None and v == v), None)
    return isinstance(first, str)


def as_numbers(name: str, values: Column, float32: bool) -> Iterator[NDArray[Any]]:
    """The column as float arrays with NaN for missing, without a copy where possible.

    Args:
        name: Name of the column, for the error.
        values: Its values.
        float32: Cast to float32, else to float64.

    Raises:
        DataError: It holds something that is not a number.
    """
    dtype = np.dtype(np.float32 if float32 else np.float64)
    try:
        if isinstance(values, pa.ChunkedArray):
            for chunk in values.chunks:
                yield _from_arrow(chunk, dtype)
        elif isinstance(values, pa.Array):
            yield _from_arrow(values, dtype)
        else:
            with np.errstate(over="ignore"):
                yield np.asarray(values).astype(dtype, copy=False)
    except (ValueError, TypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise DataError(
            f"it is not numeric: {err}",
            where=f"column {name!r}",
            fix="name it among the categories, or correct the column",
        ) from err


def _from_arrow(values: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    # Array.to_numpy imports pandas; the buffer behind the array needs no import and no copy.
    wanted = pa.from_numpy_dtype(dtype)
    if values.type != wanted:
        values = pc.cast(values, wanted, safe=False)
    if values.null_count:
        values = pc.fill_null(values, float("nan"))
    data = values.buffers()[1]
    if data is None or not len(values):
        return np.empty(0, dtype=dtype)
    return np.frombuffer(data, dtype=dtype)[values.offset : values.offset + len(values)]


def tally(values: Column) -> Counter[str]:
    """Rows by value as text; missing values are the empty text."""
    found: Counter[str] = Counter()
    if isinstance(values, pa.Array | pa.ChunkedArray) and pa.types.is_dictionary(values.type):
        chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        items = [pair for chunk in chunks for pair in _coded(chunk)]
    elif isinstance(values, pa.Array | pa.ChunkedArray):
        pairs = pc.value_counts(values)
        items = list(zip(pairs.field(0).to_pylist(), pairs.field(1).to_pylist(), strict=True))
    else:
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        items = list(Counter(plain).items())
    for value, rows in items:
        missing = value is None or value != value
        found["" if missing else str(value)] += rows
    return found


def _coded(values: pa.DictionaryArray) -> list[tuple[Any, int]]:
    """Rows by value of dictionary-encoded values: codes are counted, not values."""
    names = [*values.dictionary.to_pylist(), None]
    codes = values.indices.cast(pa.int64())
    if codes.null_count:
        codes = pc.fill_null(codes, len(names) - 1)
    plain = np.frombuffer(codes.buffers()[1], np.int64, len(codes), codes.offset * 8)
    counts = np.bincount(plain, minlength=len(names))
    return [(names[i], int(counts[i])) for i in np.flatnonzero(counts)]
