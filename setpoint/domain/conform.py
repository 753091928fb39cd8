"""A table as it came, brought to the declared columns and types; anything lossy is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.schema import ColumnKind, ColumnSpec, TableSpec
from setpoint.domain.validation import bounded
from setpoint.errors import DataError

IntegerTime = Literal["auto", "year", "order"]

ARROW_TYPES: dict[ColumnKind, pa.DataType] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "category": pa.string(),
    "id": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "boolean": pa.bool_(),
}
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_ORDER_START = 946_684_800  # 2000-01-01T00:00:00Z, seconds
_MAX_ORDER = 2**37  # minutes; keeps the microseconds within 64 bits
_EPOCHS = {  # integers from one to two times this are read as times since 1970: microseconds each
    10**9: 1_000_000,
    10**12: 1_000,
}
_TRAILING_ZEROS = r"^(-?\d+)\.0+$"
_MAX_FAULTS = 10


@dataclass(frozen=True)
class _Options:
    time_zone: str
    integer_time: IntegerTime


class _Unfit(Exception):
    """A column cannot be brought to its kind; the text says why."""


def conform(
    table: pa.Table,
    spec: TableSpec,
    where: str,
    *,
    time_zone: str | None = None,
    ignore: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
    integer_time: IntegerTime = "auto",
) -> pa.Table:
    """Cast losslessly to the declared kinds, in the declared order.

    Whole numbers become ``number`` while they are exact (up to 2^53), whole floats become
    ``integer``, 0 and 1 become ``boolean``, NaN becomes null. Codes become text: 1, 1.0 and the
    text ``1.0`` all become ``1``, unless ``1.0`` is itself a declared value. Times may be
    timestamps, dates (midnight in ``time_zone``, else UTC), ISO 8601 text, or integers: a column
    wholly within 1900 to 2200 holds years (1 January, UTC), one wholly within 1e9 to 2e9 epoch
    seconds (2001 to 2033), one wholly within 1e12 to 2e12 epoch milliseconds, one wholly below 1e9
    is an order and ``n`` stands for 2000-01-01 plus ``n`` minutes; others are refused. Say which
    with ``integer_time`` where several could be meant.

    Args:
        table: Rows as read.
        spec: Declared columns.
        where: Name of the batch, for messages.
        time_zone: IANA name of the zone that times without one are in; none: they are refused.
        ignore: Columns that may be there and are left out.
        aliases: Declared name to the column it is copied from, e.g. ``{"order": "ID"}``.
        integer_time: How integers of kind ``time`` are read.

    Returns:
        ``number`` float64, ``integer`` int64, ``category`` and ``id`` string, ``time``
        timestamp[us, UTC], ``boolean`` bool.

    Raises:
        DataError: Columns are missing, unknown or double, or of a type that does not fit; all
            of them are named.
    """
    sources = {name: (aliases or {}).get(name, name) for name in spec.names}
    options = _Options(time_zone or "", integer_time)
    faults = _name_faults(table.column_names, sources, ignore)
    columns: list[pa.ChunkedArray] = []
    for column in spec.columns:
        source = sources[column.name]
        if table.column_names.count(source) != 1:
            continue
        found = table[source]
        try:
            columns.append(_as_kind(found, column, options))
        except _Unfit as unfit:
            faults.append(
                f"column {column.name}: found {found.type}, expected {column.kind} "
                f"({ARROW_TYPES[column.kind]}): {unfit}"
            )
    if faults:
        raise _unfit_error(faults, where)
    types = [pa.field(c.name, ARROW_TYPES[c.kind]) for c in spec.columns]
    return pa.table(columns, schema=pa.schema(types))


def _name_faults(
    names: list[str], sources: Mapping[str, str], ignore: Collection[str]
) -> list[str]:
    wanted = set(sources.values())
    missing = [name for name, source in sources.items() if source not in names]
    extra = sorted(set(names) - wanted - set(ignore))
    double = sorted(name for name in wanted if names.count(name) > 1)
    faults = [f"column {name}: missing, expected a column of that name" for name in missing]
    faults += [f"column {name}: found, but not declared" for name in extra]
    return faults + [f"column {name}: found {names.count(name)} times" for name in double]


def _unfit_error(faults: list[str], where: str) -> DataError:
    shown = [bounded(fault, 300) for fault in faults[:_MAX_FAULTS]]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    return DataError(
        "the columns are not those declared\n    " + "\n    ".join(shown),
        where=where,
        fix="correct the batch, or declare its columns and types in data.columns of the project "
        "file",
    )


def _as_kind(values: pa.ChunkedArray, column: ColumnSpec, options: _Options) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = _cast(values, values.type.value_type)
    if pa.types.is_floating(values.type):
        values = _cast(values, pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    if pa.types.is_null(values.type):
        return _cast(values, ARROW_TYPES[column.kind])
    if column.kind == "category":
        return _category(values, column)
    if column.kind == "time":
        return _time(values, options)
    casts: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
        "number": _number,
        "integer": _integer,
        "id": _text,
        "boolean": _boolean,
    }
    return casts[column.kind](values)


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _Unfit(bounded(error, 200)) from error


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _number(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not _is_numeric(values.type):
        raise _Unfit("these are not numbers")
    return _cast(values, pa.float64())


def _integer(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not _is_numeric(values.type):
        raise _Unfit("these are not integers")
    return _cast(values, pa.int64())


def _boolean(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_boolean(values.type):
        return values
    whole = _integer(values)
    bounds = pc.min_max(whole).as_py()
    if bounds["min"] is not None and not 0 <= bounds["min"] <= bounds["max"] <= 1:
        raise _Unfit(f"values from {bounds['min']} to {bounds['max']} are not 0 or 1")
    return _cast(whole, pa.bool_())


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if _is_text(values.type):
        return _cast(values, pa.string())
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
        return _cast(values, pa.string())
    if _is_numeric(values.type):
        return _cast(_cast(values, pa.int64()), pa.string())
    raise _Unfit("these are neither text nor whole numbers")


def _category(values: pa.ChunkedArray, column: ColumnSpec) -> pa.ChunkedArray:
    text = _text(values)
    if not _is_text(values.type):
        return text
    whole = pc.replace_substring_regex(text, _TRAILING_ZEROS, r"\1")
    if not column.values:
        return whole
    return pc.if_else(pc.is_in(text, pa.array(column.values, pa.string())), text, whole)


def _time(values: pa.ChunkedArray, options: _Options) -> pa.ChunkedArray:
    kind = values.type
    if _is_text(kind):
        return _time_of_text(_cast(values, pa.string()), options)
    if pa.types.is_timestamp(kind):
        return _microseconds(values if kind.tz else _in_zone(values, options.time_zone))
    if pa.types.is_date(kind):
        return _microseconds(
            _in_zone(_cast(values, pa.timestamp("us")), options.time_zone or "UTC")
        )
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _time_of_integer(_cast(values, pa.int64()), options.integer_time)
    raise _Unfit("these are not times")


def _in_zone(values: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    """Times without a zone, as of that one."""
    if not zone:
        raise _Unfit(
            "the times carry no zone; write them with one, or name theirs as data.time_zone of "
            "the project file, e.g. UTC"
        )
    try:
        return pc.assume_timezone(values, zone)
    except pa.ArrowInvalid as error:
        raise _Unfit(f"as of {zone}: {bounded(error, 200)}; write times with a zone") from error


def _microseconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """To microseconds UTC; what is finer is cut off, what overflows is refused."""
    options = pc.CastOptions(target_type=ARROW_TYPES["time"], allow_time_truncate=True)
    try:
        return pc.cast(values, options=options)
    except pa.ArrowInvalid as error:
        raise _Unfit(bounded(error, 200)) from error


def _time_of_text(values: pa.ChunkedArray, options: _Options) -> pa.ChunkedArray:
    reason = ""
    for kind in (pa.timestamp("us", tz="UTC"), pa.timestamp("ns", tz="UTC")):
        try:
            return _microseconds(_cast(values, kind))
        except _Unfit as unfit:
            reason = reason or str(unfit)
    for kind in (pa.timestamp("us"), pa.timestamp("ns")):
        try:
            naive = _cast(values, kind)
        except _Unfit:
            continue
        return _microseconds(_in_zone(naive, options.time_zone))
    raise _Unfit(f"these are not ISO 8601 times with a zone: {reason}")


def _time_of_integer(values: pa.ChunkedArray, how: IntegerTime) -> pa.ChunkedArray:
    bounds = pc.min_max(values).as_py()
    low, high = bounds["min"], bounds["max"]
    if low is None:
        return _cast(pa.chunked_array([pa.nulls(len(values))]), ARROW_TYPES["time"])
    years = low >= _FIRST_YEAR and high <= _LAST_YEAR
    if how == "year" and not years:
        raise _Unfit(f"{low} to {high} are not years from {_FIRST_YEAR} to {_LAST_YEAR}")
    if how != "order" and years:
        text = pc.binary_join_element_wise(_cast(values, pa.string()), "-01-01T00:00:00Z", "")
        return _cast(text, ARROW_TYPES["time"])
    if how == "auto" and high >= min(_EPOCHS):
        return _time_of_epoch(values, low, high)
    if max(abs(low), abs(high)) > _MAX_ORDER:
        raise _Unfit(f"{low} to {high} are too large to be an order of rows")
    micros = pc.multiply(pc.add(pc.multiply(values, 60), _ORDER_START), 1_000_000)
    return _cast(micros, ARROW_TYPES["time"])


def _time_of_epoch(values: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    for start, micros in _EPOCHS.items():
        if start <= low and high <= 2 * start:
            return _cast(pc.multiply(values, micros), ARROW_TYPES["time"])
    raise _Unfit(
        f"{low} to {high} are too large to be an order of rows (below 1e9) and are not all epoch "
        "seconds (1e9 to 2e9) or all epoch milliseconds (1e12 to 2e12); write times as ISO 8601 "
        "with a zone"
    )
