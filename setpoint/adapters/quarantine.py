"""Refused batches, kept whole beside the reason."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from setpoint.adapters.sources import BatchRef, S3Options, read_bytes, write_bytes


def quarantine(
    batch: BatchRef | pa.Table,
    reason: str | Mapping[str, Any],
    folder: str | Path,
    *,
    name: str = "",
    s3: S3Options | None = None,
) -> str:
    """Keep a refused batch whole, with the reason beside it; repeating it changes nothing.

    Args:
        batch: The file as it came (its bytes are copied, readable or not), or rows.
        reason: Why; a mapping is kept as it is, its values must be JSON.
        folder: Local folder or ``s3://`` address.
        name: Name for rows; a file keeps its own.
        s3: How S3 is reached, for a file or folder there.

    Returns:
        The folder of this batch: it holds the data and ``reason.json``.

    Raises:
        DataError: The batch cannot be read, or the folder cannot be written.
    """
    if isinstance(batch, BatchRef):
        name, data = name or batch.name, read_bytes(batch.uri, s3)
    else:
        name = f"{(name or 'batch').removesuffix('.parquet')}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(batch, sink)
        data = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(data).hexdigest()
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "batch"
    place = f"{str(folder).rstrip('/')}/{safe}-{digest[:12]}"
    note = {
        "batch": name,
        "source": batch.uri if isinstance(batch, BatchRef) else "",
        "bytes": len(data),
        "sha256": digest,
        "reason": dict(reason) if isinstance(reason, Mapping) else reason,
    }
    write_bytes(f"{place}/{safe}", data, s3)
    write_bytes(f"{place}/reason.json", json.dumps(note, indent=2, default=str).encode(), s3)
    return place
