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

from setpoint.adapters.s3 import S3Options
from setpoint.adapters.sources import BatchRef, read_bytes, write_bytes
from setpoint.errors import StateError


def quarantine(
    batch: BatchRef | pa.Table,
    reason: str | Mapping[str, Any],
    folder: str | Path,
    *,
    name: str = "",
    s3: S3Options | None = None,
    data: bytes | None = None,
    terms: str = "",
) -> str:
    """Keep a refused batch whole, with the reason beside it; repeating it changes nothing.

    Args:
        batch: The file as it came (its bytes are copied, readable or not), or rows.
        reason: Why; a mapping is kept as it is, its values must be JSON.
        folder: Local folder or ``s3://`` address.
        name: Name for rows; a file keeps its own.
        s3: How S3 is reached, for a file or folder there.
        data: Content of the file, if it was read already.
        terms: Digest of the rules that it was refused by, see ``refused``.

    Returns:
        The folder of this batch: it holds the data and ``reason.json``.

    Raises:
        DataError: The batch cannot be read, or the folder cannot be written.
    """
    if isinstance(batch, BatchRef):
        name, data = name or batch.name, read_bytes(batch.uri, s3) if data is None else data
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
        "terms": terms,
        "reason": dict(reason) if isinstance(reason, Mapping) else reason,
    }
    write_bytes(f"{place}/{safe}", data, s3)
    write_bytes(f"{place}/reason.json", json.dumps(note, indent=2, default=str).encode(), s3)
    return place


def refused(folder: Path, terms: str) -> dict[str, Path]:
    """Batches in a local quarantine that were refused by these rules.

    Args:
        folder: The quarantine.
        terms: Digest of the rules.

    Returns:
        SHA-256 of each batch, with the folder it is kept in.

    Raises:
        StateError: A note about a batch is damaged.
    """
    found = {}
    for file in sorted(folder.glob("*/reason.json")):
        try:
            note = json.loads(file.read_text("utf-8"))
            if note["terms"] == terms:
                found[str(note["sha256"])] = file.parent
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise StateError(
                f"the note about a refused batch cannot be read: {err!r}",
                where=str(file),
                fix="delete its folder; the batch is then tried again",
            ) from err
    return found
