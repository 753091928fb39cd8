"""Rows of a decision log as an Arrow table: the columns asked for and no others.

Request and features are kept as one JSON object a row. Arrow's own reader takes the wanted fields
out of many rows at once; rows whose fields change their kind are taken one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.json as arrow_json

from setpoint.adapters.decision_sql import named_bodies
from setpoint.errors import DataError
from setpoint.ports import FIXED, RECORD, DecisionQuery

MOMENT = pa.timestamp("us", tz="UTC")
TYPES: dict[str, pa.DataType] = {
    "id": pa.string(),
    "event_time": MOMENT,
    "score": pa.float64(),
    "threshold": pa.float64(),
    "action": pa.string(),
    "version": pa.string(),
    "label": pa.int8(),
    "label_known_at": MOMENT,
    "propensity": pa.float64(),
    "label_propensity": pa.float64(),
    "bundle_digest": pa.string(),
    "trace_id": pa.string(),
    "client": pa.string(),
    "reasons": pa.list_(pa.string()),
    "request": pa.string(),
    "features": pa.string(),
}
SAMPLE = 64
"""Rows from which the kinds of fields are guessed."""
BLOCK = 4 * 1024 * 1024
"""Bytes of JSON that are parsed at a time."""


def check_columns(query: DecisionQuery) -> None:
    """Check that a log has the columns asked for.

    Raises:
        DataError: It has no such column.
    """
    unknown = [name for name in query.columns if name not in TYPES]
    if unknown:
        raise DataError(
            f"a decision has no column {unknown[0]!r}",
            where="columns",
            fix=f"ask for some of {', '.join((*FIXED, *RECORD))}",
        )


def to_table(query: DecisionQuery, columns: Sequence[Sequence[Any]]) -> pa.Table:
    """Values as they are stored, as the table that ``DecisionLog.read`` promises.

    Args:
        query: What was asked for.
        columns: For each of ``query.columns`` its values (times in microseconds since 1970 or
            aware, reasons as JSON), then for each of ``named_bodies`` the JSON objects in UTF-8.
            Empty where there are no rows.
    """
    bodies = named_bodies(query)
    values = columns or [()] * (len(query.columns) + len(bodies))
    table: dict[str, Any] = {}
    for name, column in zip(query.columns, values, strict=False):
        plain = [msgspec.json.decode(one) for one in column] if name == "reasons" else column
        table[name] = pa.array(plain, TYPES[name])
    taken = {*FIXED, *query.columns}
    for body, texts in zip(bodies, values[len(query.columns) :], strict=True):
        names = list(dict.fromkeys(getattr(query, body)))
        for name, array in decode(texts, names, floats=body == "features").items():
            own = f"r_{name}" if name in taken else name
            table[f"f_{name}" if body == "features" else own] = array
    return pa.table(table)


def decode(bodies: Sequence[bytes], names: Sequence[str], floats: bool) -> dict[str, Any]:
    """The fields called ``names`` of JSON objects, a column each; missing ones are null.

    A field is float64, int64, boolean or text; text if its kinds are mixed; float64 if all null.

    Args:
        bodies: JSON objects in UTF-8.
        names: Wanted fields, each once.
        floats: Whether all numbers are floats.
    """
    if bodies:
        try:
            return _parse(bodies, names, floats)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # a kind that the first rows do not show, or a row longer than a block
    return _walk(bodies, names, floats)


def _parse(bodies: Sequence[bytes], names: Sequence[str], floats: bool) -> dict[str, Any]:
    sample = _walk(bodies[:SAMPLE], names, floats)
    schema = pa.schema([(name, array.type) for name, array in sample.items()])
    table = arrow_json.read_json(
        pa.BufferReader(b"\n".join(bodies)),
        arrow_json.ReadOptions(use_threads=False, block_size=BLOCK),
        arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    for name, array in sample.items():
        # Of a field that is null in all of the sample nothing is known, unless it is a feature.
        guessed = array.null_count == len(array) and not floats
        if guessed and table[name].null_count < len(bodies):
            raise pa.ArrowInvalid(f"{name} comes later")
    return {name: table[name] for name in names}


def _walk(bodies: Iterable[bytes], names: Sequence[str], floats: bool) -> dict[str, Any]:
    # A struct of the wanted fields alone: the decoder skips over all others without objects.
    fields = [(f"c{i}", Any, None) for i in range(len(names))]
    rename = {f"c{i}": name for i, name in enumerate(names)}
    decoder = msgspec.json.Decoder(msgspec.defstruct("Wanted", fields, rename=rename))
    rows = [msgspec.structs.astuple(decoder.decode(body)) for body in bodies]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return {name: _array(column, floats) for name, column in zip(names, columns, strict=True)}


def _array(values: Sequence[Any], floats: bool) -> pa.Array:
    kinds = {type(value) for value in values} - {type(None)}
    numbers = kinds <= {int, float} and (floats or float in kinds)
    if numbers or not kinds:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if len(kinds) == 1 and kinds <= {int, bool, str}:
        return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values], pa.string())
