"""A table's content digest: the same for equal columns, types and values in equal order.

How the table is stored (files, chunks, row groups, dictionary encoding) changes nothing. The
digest is a chain over blocks of ``BLOCK_ROWS`` rows, so that appending rows to a long table
hashes the last block and the new rows only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.errors import DataError

BLOCK_ROWS = 8_192


@dataclass(frozen=True)
class RollingDigest:
    """Digest of the complete blocks of a table.

    Attributes:
        chain: Digest of columns, types and the complete blocks, hexadecimal.
        rows: Rows in those blocks, a multiple of ``BLOCK_ROWS``.
    """

    chain: str
    rows: int


def plain_table(table: pa.Table) -> pa.Table:
    """The table with dictionaries decoded and all text as ``string``."""
    fields = [pa.field(f.name, _plain_type(f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def table_digest(table: pa.Table) -> str:
    """SHA-256 of columns, types and values, 64 hexadecimal digits.

    Raises:
        DataError: A column's type has no canonical form, e.g. a list.
    """
    return advance(start(table.schema), table)[1]


def start(schema: pa.Schema) -> RollingDigest:
    """The digest of no rows of a table with these columns."""
    columns = [[field.name, str(_plain_type(field.type))] for field in schema]
    text = json.dumps(columns, separators=(",", ":"), ensure_ascii=False)
    return RollingDigest(hashlib.sha256(text.encode()).hexdigest(), 0)


def advance(state: RollingDigest, rows: pa.Table) -> tuple[RollingDigest, str]:
    """Append rows.

    Args:
        state: Digest so far.
        rows: All rows from row ``state.rows`` on, those of the incomplete block included.

    Returns:
        The digest of the complete blocks, and the digest of the whole table.

    Raises:
        DataError: A column's type has no canonical form.
    """
    rows = plain_table(rows)
    chain, at = bytes.fromhex(state.chain), 0
    while rows.num_rows - at >= BLOCK_ROWS:
        chain = hashlib.sha256(chain + _block_digest(rows.slice(at, BLOCK_ROWS))).digest()
        at += BLOCK_ROWS
    tail = rows.slice(at)
    total = state.rows + rows.num_rows
    whole = hashlib.sha256(b"end" + chain + total.to_bytes(8, "little") + _block_digest(tail))
    return RollingDigest(chain.hex(), state.rows + at), whole.hexdigest()


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _block_digest(block: pa.Table) -> bytes:
    digest = hashlib.sha256()
    for name, column in zip(block.column_names, block.columns, strict=True):
        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # no chunk at all, or text beyond 2 GB
            array = pa.concat_arrays(array.chunks) if array.num_chunks else _empty(array.type)
        digest.update(_values(pc.cast(array.is_valid(), pa.uint8())))
        for part in _parts(array, name):
            digest.update(part)
    return digest.digest()


def _empty(kind: pa.DataType) -> pa.Array:
    return pa.array([], type=kind)


def _parts(array: pa.Array, name: str) -> list[memoryview]:
    """What is hashed of the values: nulls stand as zero or empty text."""
    kind = array.type
    if pa.types.is_null(kind):
        return []
    if pa.types.is_string(kind):
        filled = pc.fill_null(array, "")
        return [_values(pc.cast(pc.binary_length(filled), pa.int32())), _text(filled)]
    if pa.types.is_boolean(kind):
        return [_values(pc.cast(pc.fill_null(array, False), pa.uint8()))]
    if pa.types.is_timestamp(kind):
        return [_values(pc.fill_null(array.view(pa.int64()), 0))]
    if pa.types.is_integer(kind):
        return [_values(pc.fill_null(array, 0))]
    if kind in (pa.float32(), pa.float64()):
        # One NaN and one zero: bit patterns that compare alike must hash alike.
        filled = pc.fill_null(array, 0)
        one_nan = pc.if_else(pc.is_nan(filled), pa.scalar(float("nan"), kind), filled)
        return [_values(pc.add(one_nan, pa.scalar(0.0, kind)))]
    raise DataError(
        f"values of type {kind} have no content digest",
        where=f"column {name}",
        fix="store numbers, integers, text, times or booleans",
    )


def _values(array: pa.Array) -> memoryview:
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    if buffer is None:
        return memoryview(b"")
    return memoryview(buffer)[array.offset * width : (array.offset + len(array)) * width]


def _text(array: pa.Array) -> memoryview:
    offsets, data = array.buffers()[1:]
    if data is None or not len(array):
        return memoryview(b"")
    ends = memoryview(offsets).cast("B").cast("i")
    return memoryview(data)[ends[array.offset] : ends[array.offset + len(array)]]
