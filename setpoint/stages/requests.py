"""Rows of a file as the requests that the scoring service would have got for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.conform import conform
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.errors import DataError

NULL_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
"""Text of files that stands for a missing number or time."""
BOOLEAN_WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def requests_of(
    batch: pa.RecordBatch, table: TableSpec, sources: Mapping[str, str], zone: str | None
) -> list[dict[str, Any]]:
    """Each row as a request; what has no form of its declared kind stays as it is, to be refused.

    Args:
        batch: Rows as read; columns that are not declared are left out.
        table: Columns of a request.
        sources: Declared name to the column that it is read from.
        zone: IANA name of the zone of times that carry none.

    Raises:
        DataError: A declared column is missing, or there more than once.
    """
    names = batch.schema.names
    wanted = {column.name: sources.get(column.name, column.name) for column in table.columns}
    odd = [name for name in wanted.values() if names.count(name) != 1]
    if odd:
        raise DataError(
            f"{len(odd)} columns are missing or double: {', '.join(odd[:10])}",
            where="the table to be scored",
            fix=f"bring each of them once; its columns are {', '.join(names[:30])}",
        )
    columns = {
        one.name: _column(pa.chunked_array([batch.column(wanted[one.name])]), one, zone)
        for one in table.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(values: pa.ChunkedArray, column: ColumnSpec, zone: str | None) -> list[Any]:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        if column.kind in ("number", "integer", "boolean"):
            return [_parsed(text, column.kind) for text in values.to_pylist()]
        if column.kind == "time":
            values = _moments(values)
    try:
        return _conformed(values, column, zone)
    except DataError:
        return [_one(values.slice(i, 1), column, zone) for i in range(len(values))]


def _conformed(values: pa.ChunkedArray, column: ColumnSpec, zone: str | None) -> list[Any]:
    alone = TableSpec((column,), column.name, column.name)
    found = conform(pa.table({column.name: values}), alone, column.name, time_zone=zone)
    return [_as_json(value) for value in found.column(0).to_pylist()]


def _one(value: pa.ChunkedArray, column: ColumnSpec, zone: str | None) -> Any:
    # a single integer may be a year, an order or an epoch: a column says which, a value does not
    if column.kind != "time" or not pa.types.is_integer(value.type):
        try:
            return _conformed(value, column, zone)[0]
        except DataError:
            pass
    plain = value[0].as_py()
    return plain if isinstance(plain, int | float | str | None) else str(plain)


def _moments(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of times without the words for none, as integers where all of them are."""
    text = pc.utf8_trim_whitespace(values)
    missing = pc.is_in(text, pa.array(sorted(NULL_WORDS), text.type))
    text = pc.if_else(missing, pa.scalar(None, text.type), text)
    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        return text


def _parsed(text: str | None, kind: str) -> Any:
    word = (text or "").strip()
    if word in NULL_WORDS:
        return None
    if kind == "boolean":
        return BOOLEAN_WORDS.get(word.lower(), word)
    for read in (int, float) if kind == "integer" else (float,):
        try:
            return read(word)
        except ValueError:
            continue
    return word


def _as_json(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.isoformat() if isinstance(value, date) else value  # a datetime is a date
