"""What each commit of the Delta table says of its snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, Transaction

from setpoint.domain.table_digest import RollingDigest, advance, start
from setpoint.errors import StateError

_KEY = "setpoint"
_WRITER = "setpoint-append"


@dataclass(frozen=True)
class State:
    """A snapshot as its commit records it.

    Attributes:
        digest: Content digest of all rows.
        rows: Number of rows.
        chain: Digest of the complete blocks, see ``RollingDigest``.
        chain_rows: Rows in those blocks.
        batches: Name, digest, rows and note of each batch, in order.
    """

    digest: str
    rows: int
    chain: str
    chain_rows: int
    batches: tuple[tuple[str, str, int, str], ...]

    @classmethod
    def of_commit(cls, entry: Mapping[str, Any]) -> State | None:
        """What an entry of the table's history records, ``None`` if others wrote it.

        Raises:
            StateError: The record is damaged.
        """
        if _KEY not in entry:
            return None
        try:
            plain = json.loads(entry[_KEY])
            batches = tuple(
                (str(name), str(digest), int(rows), str(*note))  # a note may be left out
                for name, digest, rows, *note in plain.pop("batches")
            )
            return cls(**plain, batches=batches)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"the commit of version {entry.get('version')} cannot be read: {error!r}",
                where="_delta_log",
                fix="restore the folder from a backup",
            ) from error

    def extended(self, tail: pa.Table, rows: pa.Table, batch: tuple[str, str, str]) -> State:
        """The state after one more batch.

        Args:
            tail: All rows from row ``chain_rows`` on, the new ones included.
            rows: The new ones.
            batch: Their name, digest and note.
        """
        rolling = RollingDigest(self.chain, self.chain_rows) if self.rows else start(rows.schema)
        rolling, digest = advance(rolling, tail)
        name, content, note = batch
        batches = (*self.batches, (name, content, rows.num_rows, note))
        return State(digest, self.rows + rows.num_rows, rolling.chain, rolling.rows, batches)

    def commit(self) -> CommitProperties:
        """The properties of the commit that makes this state the newest.

        Delta lets two plain appends pass beside each other; one transaction id for all writers
        makes them collide, and whoever loses looks again.
        """
        return CommitProperties(
            custom_metadata={_KEY: json.dumps(asdict(self), separators=(",", ":"))},
            app_transactions=[Transaction(_WRITER, len(self.batches))],
            max_commit_retries=0,
        )


EMPTY = State("", 0, "", 0, ())
