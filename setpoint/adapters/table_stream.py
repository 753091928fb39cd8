"""A table of any size, a few rows at a time: Parquet, CSV, Delta Lake; local or on S3."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from setpoint.adapters.s3 import S3Options
from setpoint.adapters.sources import BatchRef, list_batches
from setpoint.domain.validation import bounded
from setpoint.errors import DataError

ROWS = 4096
"""Rows of a batch, at most."""
_FIX = "name a .parquet, .csv or .csv.gz file, a folder of them, or a Delta Lake table"


@dataclass(frozen=True)
class TableStream:
    """A table to be read once, front to back.

    Attributes:
        uri: File, folder of files, Delta Lake table or ``s3://`` address.
        work: Folder for what has to be fetched first.
        s3: How S3 is reached.
    """

    uri: str
    work: Path
    s3: S3Options | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in the order of file names and within a file as they lie there.

        CSV comes as text; an empty field is null.

        Raises:
            DataError: There is nothing, or it cannot be read.
        """
        try:
            delta = self._delta()
            if delta is not None:
                yield from delta
                return
            for ref in list_batches(self.uri, self.s3):
                with self._opened(ref) as file:
                    yield from _of_file(ref, file)
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
            raise _unreadable(self.uri, bounded(error, 300)) from error

    def _delta(self) -> Iterator[pa.RecordBatch] | None:
        if self.uri.lower().endswith((".parquet", ".csv", ".csv.gz")):
            return None
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        remote = self.uri.startswith("s3://")
        options = (self.s3 or S3Options()).delta_options() if remote else None
        try:
            if not DeltaTable.is_deltatable(self.uri, options):
                return None
            dataset = DeltaTable(self.uri, storage_options=options).to_pyarrow_dataset()
        except DeltaError as error:
            raise _unreadable(self.uri, bounded(error, 300)) from error
        batches: Iterator[pa.RecordBatch] = dataset.to_batches(
            batch_size=ROWS, batch_readahead=1, fragment_readahead=1, use_threads=False
        )
        return batches

    @contextmanager
    def _opened(self, ref: BatchRef) -> Iterator[IO[bytes]]:
        if not ref.uri.startswith("s3://"):
            with Path(ref.uri).open("rb") as file:
                yield file
            return
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = ref.uri.removeprefix("s3://").partition("/")
        fetched = self.work / "fetched"
        try:
            (self.s3 or S3Options()).client().download_file(bucket, key, str(fetched))
        except (BotoCoreError, ClientError) as error:
            raise _unreadable(ref.uri, f"S3 answers: {bounded(error, 300)}") from error
        with fetched.open("rb") as file:
            yield file
        fetched.unlink()


def _of_file(ref: BatchRef, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    name = ref.name.lower()
    if name.endswith(".parquet"):
        # pages are read as they are needed: a row group may be as large as the file
        parquet = pq.ParquetFile(file, buffer_size=1 << 16, pre_buffer=False)
        yield from parquet.iter_batches(ROWS, use_threads=False)
    elif name.endswith((".csv", ".csv.gz")):
        with gzip.open(file) if name.endswith(".gz") else nullcontext(file) as plain:
            names = _header(plain)
            plain.seek(0)
            yield from _csv(plain, names)
    else:
        raise _unreadable(ref.uri, f"files of type {Path(name).suffix or 'none'!r} cannot be read")


def _header(file: Any) -> list[str]:
    line = next((line for line in file if line.strip()), b"")
    return list(pacsv.read_csv(pa.BufferReader(line.rstrip(b"\r\n") + b"\n")).column_names)


def _csv(file: Any, names: list[str]) -> Iterator[pa.RecordBatch]:
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    reader = pacsv.open_csv(
        file,
        read_options=pacsv.ReadOptions(use_threads=False, block_size=1 << 20),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )
    for batch in reader:
        for start in range(0, batch.num_rows, ROWS):
            yield batch.slice(start, ROWS)


def _unreadable(uri: str, reason: str) -> DataError:
    return DataError(f"the table cannot be read: {reason}", where=uri, fix=_FIX)
