"""Rows and answers as Arrow IPC streams. pyarrow is imported when the first one comes."""

from __future__ import annotations

import importlib.util
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from setpoint.serving.problems import Refusal, shown

if TYPE_CHECKING:
    import pyarrow as pa

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
PART = 64
"""Rows converted at once."""
_EPOCH = datetime(1970, 1, 1)
_COMPRESSION = 3
"""Place of ``compression`` in the table ``RecordBatch`` of Arrow's Message.fbs."""
_HEADER = 2
"""Place of ``header`` in the table ``Message``."""


def installed() -> bool:
    """Whether Arrow can be read here."""
    return importlib.util.find_spec("pyarrow") is not None


def read_rows(body: bytes, most: int) -> tuple[int, Iterator[dict[str, Any]]]:
    """The rows of a stream: their number, and each as JSON would have it.

    Times become RFC 3339 text, NaN null. Nothing is converted before it is asked for.

    Args:
        body: The stream, uncompressed.
        most: Rows allowed.

    Raises:
        Refusal: It is not a stream (400), is compressed or of other types (422), or has too many
            rows (413).
    """
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.ipc

    try:
        _refuse_compressed(pa, body)
        stream = pa.ipc.open_stream(body)
        _refuse_schema(pa, stream.schema)
        zones = {f.name: "Z" if f.type.tz else "" for f in stream.schema if _is_time(pa, f.type)}
        batches, rows = [], 0
        for batch in stream:
            rows += batch.num_rows
            if rows > most:
                raise too_many(rows, most)
            batch.validate(full=True)  # offsets may point anywhere
            batches.append(_plain(pa, batch))
    except (pa.ArrowException, OSError, struct.error, IndexError, ValueError) as error:
        raise Refusal(
            "bad_arrow",
            f"the body is no Arrow IPC stream: {str(error)[:200]}",
            fix="send what pyarrow.ipc.new_stream writes, whole",
            status=400,
        ) from error
    return rows, _rows(batches, zones)


def too_many(rows: int, most: int) -> Refusal:
    """What is said to more rows than a request may have."""
    return Refusal(
        "too_large",
        f"the request has {rows} rows or more, allowed are {most}",
        fix=f"send at most {most} rows in a request",
        status=413,
    )


def write_rows(lines: Sequence[bytes]) -> bytes:
    """Answers, each as a line of JSON, as one stream; absent members are null."""
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.json

    # by way of JSON, because pa.array imports pandas
    schema = _answer_schema(pa)
    table = pa.Table.from_batches([], schema)
    if lines:
        parse = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        read = pa.json.ReadOptions(use_threads=False)
        table = pa.json.read_json(pa.BufferReader(b"\n".join(lines)), read, parse)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _answer_schema(pa: Any) -> pa.Schema:
    text = pa.string()
    names = ("decision_id", "action", "model_version", "model_digest")
    problem = ("type", "title", "detail", "field", "fix")
    return pa.schema(
        [(name, text) for name in names]
        + [("score", pa.float64()), ("threshold", pa.float64())]
        + [("reason_codes", pa.list_(text)), ("status", pa.int32())]
        + [(name, text) for name in problem]
    )


def _refuse_schema(pa: Any, schema: pa.Schema) -> None:
    names = schema.names
    for one in schema:
        found = f"is of type {one.type}" if not _is_flat(pa, one.type) else ""
        found = "is there more than once" if names.count(one.name) > 1 else found
        if found:
            fix = "send one column of numbers, text, booleans or timestamps for each of the model"
            name = one.name[:80]
            raise Refusal("arrow", f"the column {shown(name)} {found[:200]}", field=name, fix=fix)


def _is_time(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_timestamp(kind))


def _is_flat(pa: Any, kind: Any) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return bool(text or number or types.is_timestamp(kind) or types.is_null(kind))


def _refuse_compressed(pa: Any, body: bytes) -> None:
    """A few compressed bytes could become any number of them."""
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        if message.type != "schema" and _is_compressed(bytes(message.metadata), message.type):
            raise Refusal(
                "arrow",
                "the stream is compressed",
                fix="write it without compression; it is small enough",
            )


def _is_compressed(metadata: bytes, kind: str) -> bool:
    header = _member(metadata, struct.unpack_from("<I", metadata)[0], _HEADER)
    table = _follow(metadata, header)
    if kind == "dictionary":
        table = _follow(metadata, _member(metadata, table, 1))
    return _member(metadata, table, _COMPRESSION) != 0


def _member(data: bytes, table: int, place: int) -> int:
    """Where a member of a flatbuffer table is; 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    at = 4 + 2 * place
    offset = struct.unpack_from("<H", data, vtable + at)[0] if at < size else 0
    return table + offset if offset else 0


def _follow(data: bytes, at: int) -> int:
    return int(at + struct.unpack_from("<I", data, at)[0])


def _plain(pa: Any, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times as microseconds since the epoch: pyarrow's own way to ``datetime`` imports pandas."""
    for i, one in enumerate(batch.schema):
        if pa.types.is_timestamp(one.type):
            values = pa.compute.cast(batch.column(i), pa.timestamp("us", one.type.tz), safe=False)
            batch = batch.set_column(i, one.name, values.cast(pa.int64()))
    return batch


def _rows(batches: Sequence[pa.RecordBatch], zones: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for start in range(0, batch.num_rows, PART):
            for row in batch.slice(start, PART).to_pylist():
                times = {name: _moment(row[name], offset) for name, offset in zones.items()}
                yield {name: _as_json(value) for name, value in row.items()} | times


def _moment(micros: int | None, offset: str) -> Any:
    if micros is None:
        return None
    try:
        return f"{(_EPOCH + timedelta(microseconds=micros)).isoformat()}{offset}"
    except OverflowError:  # beyond the years that there are: refused as no time
        return micros


def _as_json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
