"""Batches of data from a local file or folder, or from S3."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from setpoint.adapters.files import write_atomically
from setpoint.adapters.s3 import S3Options, list_objects, read_object, split_uri, write_object
from setpoint.domain.conform import conform
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.validation import bounded
from setpoint.errors import DataError

__all__ = ["BatchRef", "Source", "batch_key", "conform", "list_batches", "parse_batch",
           "read_batch", "read_bytes", "write_bytes"]  # fmt: skip

_NULL_WORDS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_BOOLEAN_WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True)
class BatchRef:
    """One file of data.

    Attributes:
        uri: Local path or ``s3://bucket/key``.
        name: File name.
        size: Bytes.
        etag: Changes when the content does: S3's etag, or the local time of change.
    """

    uri: str
    name: str
    size: int
    etag: str


@dataclass(frozen=True)
class Source:
    """A place that batches are read from.

    Attributes:
        uri: File, folder, ``file://`` or ``s3://`` address.
        s3: How S3 is reached, needed for ``s3://`` only.
    """

    uri: str
    s3: S3Options | None = None

    def list_batches(self) -> list[BatchRef]:
        """See ``list_batches``."""
        return list_batches(self.uri, self.s3)

    def read_batch(self, ref: BatchRef, table: TableSpec) -> pa.Table:
        """See ``read_batch``."""
        return read_batch(ref, table, self.s3)


def list_batches(uri: str, s3: S3Options | None = None) -> list[BatchRef]:
    """The files of a folder, not of its sub-folders, sorted by name; or the one file.

    Names that start with ``.`` or ``_`` are left out: writers use them for what is not finished.

    Raises:
        DataError: There is no such file or folder, or S3 refuses.
    """
    found = _list_s3(uri, s3) if uri.startswith("s3://") else _list_local(_local_path(uri))
    return sorted((r for r in found if not r.name.startswith((".", "_"))), key=lambda r: r.name)


def batch_key(declared: str, ref: BatchRef) -> str:
    """What a batch is known by, wherever the project lies: the declared address and the file name.

    Args:
        declared: The address as the project file writes it, of a file or a folder.
        ref: A file found there.
    """
    address = declared.rstrip("/") if "://" in declared else normpath(declared)
    last = address.rpartition("/")[2]
    return address if ref.name in (last, unquote(last)) else f"{address}/{ref.name}"


def read_batch(
    ref: BatchRef,
    table: TableSpec,
    s3: S3Options | None = None,
    aliases: Mapping[str, str] | None = None,
) -> pa.Table:
    """Read a file and give it to ``parse_batch``.

    Raises:
        DataError: The file is missing or may not be read, or ``parse_batch`` refuses it.
    """
    _reader(ref)  # a file that is no data is not fetched
    return parse_batch(ref, read_bytes(ref.uri, s3), table, aliases)


def parse_batch(
    ref: BatchRef, data: bytes, table: TableSpec, aliases: Mapping[str, str] | None = None
) -> pa.Table:
    """All rows of a ``.parquet``, ``.csv`` or ``.csv.gz`` file; give the result to ``conform``.

    CSV text is turned into the declared kinds, from the column that it is read from.

    Args:
        ref: The file.
        data: Its content.
        table: Declared columns.
        aliases: Declared name to the column of the file it is copied from.

    Returns:
        At least one row. Columns with an alias come under their declared name, the others as
        they came; a column that is only a source is left out.

    Raises:
        DataError: The file is empty, without rows, damaged or of an unknown format, or lacks a
            column that ``aliases`` names.
    """
    reader = _reader(ref)
    if not data:
        raise _unreadable(ref.uri, "the file is empty, 0 bytes")
    try:
        rows = reader(data)
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = f"the file cannot be read as {_suffix(ref.name)}: {bounded(error, 300)}"
        raise _unreadable(ref.uri, reason) from error
    if rows.num_rows == 0:
        raise _unreadable(ref.uri, "the file holds 0 rows")
    rows = _under_declared_names(rows, table, aliases or {}, ref.uri)
    return rows if _suffix(ref.name) == ".parquet" else _typed(rows, table, ref.uri)


def read_bytes(uri: str, s3: S3Options | None = None) -> bytes:
    """The whole content of a file or object.

    Raises:
        DataError: It is missing or may not be read.
    """
    if uri.startswith("s3://"):
        return read_object(uri, s3)
    try:
        return _local_path(uri).read_bytes()
    except OSError as error:
        raise _unreadable(uri, f"the file cannot be opened: {error.strerror}") from error


def write_bytes(uri: str, data: bytes, s3: S3Options | None = None) -> None:
    """Write a file or object whole or not at all; folders are made, an old one is replaced.

    Raises:
        DataError: It may not be written.
    """
    if uri.startswith("s3://"):
        write_object(uri, data, s3)
        return
    path = _local_path(uri)
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DataError(
            f"the file cannot be written: {error.strerror}",
            where=uri,
            fix="check that the folder exists, is writable and has space",
        ) from error


def _unreadable(uri: str, reason: str) -> DataError:
    return DataError(
        reason, where=uri, fix="deliver the file again, complete, or move it out of the folder"
    )


def _suffix(name: str) -> str:
    lower = name.lower()
    return next((s for s in (".parquet", ".csv.gz", ".csv") if lower.endswith(s)), "")


def _reader(ref: BatchRef) -> Callable[[bytes], pa.Table]:
    readers: dict[str, Callable[[bytes], pa.Table]] = {
        ".parquet": _read_parquet,
        ".csv": _read_csv,
        ".csv.gz": lambda data: _read_csv(gzip.decompress(data)),
    }
    suffix = _suffix(ref.name)
    if suffix not in readers:
        raise DataError(
            f"files of type {Path(ref.name).suffix or 'none'!r} cannot be read",
            where=ref.uri,
            fix="deliver .parquet, .csv or .csv.gz, or put _ before the name of what is no data",
        )
    return readers[suffix]


def _local_path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)


def _list_local(path: Path) -> list[BatchRef]:
    if not path.exists():
        raise DataError(
            "there is no such file or folder",
            where=str(path),
            fix="create it, or correct data.events in the project file",
        )
    refs = []
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            info = file.stat()
            refs.append(BatchRef(str(file), file.name, info.st_size, str(info.st_mtime_ns)))
    return refs


def _list_s3(uri: str, s3: S3Options | None) -> list[BatchRef]:
    bucket, _ = split_uri(uri)
    return [
        BatchRef(f"s3://{bucket}/{o['Key']}", o["Key"].rpartition("/")[2], o["Size"],
                 o["ETag"].strip('"'))
        for o in list_objects(uri, s3)
    ]  # fmt: skip


def _read_parquet(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def _read_csv(data: bytes) -> pa.Table:
    """All columns as text; an empty field is null, an empty quoted one is empty text."""
    header, names = data.lstrip(b"\r\n").partition(b"\n")[0], []
    if header:
        names = pacsv.read_csv(io.BytesIO(header + b"\n")).column_names
    if len(set(names)) < len(names):
        double = sorted({name for name in names if names.count(name) > 1})
        raise pa.ArrowInvalid(f"the header names {', '.join(double)} more than once")
    convert = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return pacsv.read_csv(
        io.BytesIO(data),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )


def _under_declared_names(
    rows: pa.Table, table: TableSpec, aliases: Mapping[str, str], uri: str
) -> pa.Table:
    sources = {name: aliases[name] for name in table.names if aliases.get(name, name) != name}
    there = rows.column_names
    wrong = [f"column {n}: the file has {there.count(s)} columns {s!r} to read it from"
             for n, s in sources.items() if there.count(s) != 1]  # fmt: skip
    if wrong:
        raise DataError(
            "; ".join(wrong),
            where=uri,
            fix="correct source in data.columns of the project file, or the header of the file; "
            f"its columns are {bounded(', '.join(there), 300)}",
        )
    spare = set(sources.values()) - (set(table.names) - set(sources))
    named = rows.select([i for i, name in enumerate(there) if name not in spare])
    for name, source in sources.items():
        named = named.append_column(name, rows[source])
    return named


def _typed(rows: pa.Table, table: TableSpec, uri: str) -> pa.Table:
    for column in table.columns:
        at = rows.column_names.index(column.name) if column.name in rows.column_names else -1
        if at >= 0 and column.kind in ("number", "integer", "boolean", "time"):
            rows = rows.set_column(at, column.name, _parse(rows[column.name], column, uri))
    return rows


def _parse(values: pa.ChunkedArray, column: ColumnSpec, uri: str) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(values)
    words = pa.array(_NULL_WORDS, pa.string())
    text = pc.if_else(pc.is_in(text, words), pa.scalar(None, pa.string()), text)
    for kind in {"time": (pa.int64(),), "integer": (pa.int64(), pa.float64())}.get(
        column.kind, (pa.float64(),)
    ):
        try:
            return _booleans(text) if column.kind == "boolean" else text.cast(kind)
        except pa.ArrowInvalid as error:
            reason = error
    if column.kind == "time":
        return text  # no integers: conform reads it as ISO 8601
    raise DataError(
        f"a value cannot be read as {column.kind}: {bounded(reason, 200)}",
        where=f"{uri}, column {column.name}",
        fix=f"write {column.kind} values, and leave missing ones empty",
    )


def _booleans(text: pa.ChunkedArray) -> pa.ChunkedArray:
    lower = pc.utf8_lower(text)
    words = pa.array(list(_BOOLEAN_WORDS), pa.string())
    at = pc.index_in(lower, words)
    strange = pc.drop_null(lower.filter(pc.and_(pc.is_valid(lower), pc.is_null(at))))
    if len(strange):
        raise pa.ArrowInvalid(f"{strange[0].as_py()!r} is neither true, false, 1 nor 0")
    return pc.take(pa.chunked_array([pa.array(list(_BOOLEAN_WORDS.values()))]), at)
