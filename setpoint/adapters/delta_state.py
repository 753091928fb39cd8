"""What each commit of the Delta table says of its snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, Transaction

from setpoint.domain.signatures import Check, Sign, Signature, parse_signature, snapshot_message
from setpoint.domain.table_digest import RollingDigest, advance, start
from setpoint.errors import StateError

_KEY = "setpoint"
_SIGNATURE = "setpoint_signature"
_WRITER = "setpoint-append"


@dataclass(frozen=True)
class Signing:
    """How snapshots are signed.

    Attributes:
        sign: Signs with the key in force.
        check: Whether a trusted key signed a message.
        begun: Whether a table was ever signed; then one that is not has lost its signature.
        begin: Says that a table was signed.
    """

    sign: Sign
    check: Check
    begun: Callable[[str], bool]
    begin: Callable[[str], None]


@dataclass(frozen=True)
class State:
    """A snapshot as its commit records it.

    Attributes:
        digest: Content digest of all rows.
        rows: Number of rows.
        chain: Digest of the complete blocks, see ``RollingDigest``.
        chain_rows: Rows in those blocks.
        batches: Name, digest, rows and note of each batch, in order.
        signature: Who signed all of the above; ``None`` if nobody did.
    """

    digest: str
    rows: int
    chain: str
    chain_rows: int
    batches: tuple[tuple[str, str, int, str], ...]
    signature: Signature | None = None

    @property
    def record(self) -> str:
        """What a commit says of it, and what is signed."""
        plain = asdict(self)
        del plain["signature"]
        return json.dumps(plain, separators=(",", ":"))

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
            text = entry.get(_SIGNATURE)
            signature = parse_signature(text) if text else None
            return cls(**plain, batches=batches, signature=signature)
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

    def signed(self, table: str, signing: Signing | None) -> State:
        """The same, signed if there is something to sign with.

        Args:
            table: ``events`` or ``labels``.
            signing: How.
        """
        if signing is None:
            return self
        return replace(self, signature=signing.sign(snapshot_message(table, self.record)))

    def commit(self) -> CommitProperties:
        """The properties of the commit that makes this state the newest.

        Delta lets two plain appends pass beside each other; one transaction id for all writers
        makes them collide, and whoever loses looks again.
        """
        said = {_KEY: self.record}
        if self.signature is not None:
            said[_SIGNATURE] = json.dumps(asdict(self.signature), separators=(",", ":"))
        return CommitProperties(
            custom_metadata=said,
            app_transactions=[Transaction(_WRITER, len(self.batches))],
            max_commit_retries=0,
        )


EMPTY = State("", 0, "", 0, ())
