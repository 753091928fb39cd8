"""The hash chain of the ledger: every entry holds the digest and signature of the one before it.

So a signature stands for all that was written before it, the other signatures included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

GENESIS = "0" * 64
"""What the first entry names as the digest before it."""
ROTATED = "key_rotated"
"""Kind of the entry from which on another key signs: ``evidence["to"]``; the old one signs it."""
REVOKED = "key_revoked"
"""Kind of the entry that a key (``evidence["key"]``) is void from a time (``"since"``) on."""

Row = tuple[int, str, str, str, str, str, str, str, str]
"""An entry as stored: the fields of ``Entry`` in order, the evidence as canonical JSON text."""


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        seq: Number from 1, without gaps.
        time: When it was written, ISO 8601, UTC.
        kind: What happened: ``promoted``, ``refused``, ``rolled_back``, ``retrained`` ...
        subject: What it happened to, e.g. ``cards/v3``.
        evidence: Findings, digests, ids; strict JSON.
        previous: What the entry before is bound by: its digest, and its signature if it has one.
        digest: SHA-256 over all of the above, hex.
        key: Id of the key that signed; empty if nobody did.
        signature: Signature of the digest, hex; empty if nobody signed.
    """

    seq: int
    time: str
    kind: str
    subject: str
    evidence: Mapping[str, Any]
    previous: str
    digest: str
    key: str = ""
    signature: str = ""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN is refused.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def entry_digest(seq: int, time: str, kind: str, subject: str, evidence: Any, previous: str) -> str:
    """SHA-256 of an entry's content, hex."""
    text = canonical([seq, time, kind, subject, evidence, previous])
    return hashlib.sha256(text.encode()).hexdigest()


def bound(digest: str, key: str, signature: str) -> str:
    """What the entry after this one names as the one before it."""
    if not key and not signature:
        return digest
    return hashlib.sha256(
        f"{digest}:{key}:{signature}".encode("utf-8", "surrogatepass")
    ).hexdigest()


def link(last: Entry | None, time: str, kind: str, subject: str, evidence: Any) -> Entry:
    """The entry that follows ``last``, not signed yet; ``None`` for the first."""
    seq, previous = 1, GENESIS
    if last is not None:
        seq, previous = last.seq + 1, bound(last.digest, last.key, last.signature)
    # As it will be read back: JSON turns keys into text, and text sorts differently from numbers.
    evidence = json.loads(canonical(evidence))
    digest = entry_digest(seq, time, kind, subject, evidence, previous)
    return Entry(seq, time, kind, subject, evidence, previous, digest)


@dataclass(frozen=True)
class Break:
    """Where a ledger is broken and how.

    Attributes:
        seq: Number of the entry, or of the line of the seals.
        reason: What is wrong with it.
        of: ``entry`` or ``seal``; ``key`` where the content holds, and who signed it is void.
    """

    seq: int
    reason: str
    of: str = "entry"

    @property
    def where(self) -> str:
        """The place in words."""
        return f"line {self.seq} of the seals" if self.of == "seal" else f"entry {self.seq}"

    @property
    def title(self) -> str:
        """What it is, and where, in words."""
        return f"{'void' if self.of == 'key' else 'broken'} at {self.where}"

    def __str__(self) -> str:
        return f"{self.title}: {self.reason}"


def key_in_force(kind: str, evidence: str, key: str) -> str:
    """Key that signs what follows an entry; empty if nothing was signed yet.

    Args:
        kind: The entry's.
        evidence: Its evidence as JSON text.
        key: The key that signed it.
    """
    if kind != ROTATED or not key:
        return key
    try:
        return str(json.loads(evidence)["to"])
    except (ValueError, TypeError, KeyError):  # altered; its signature shows it
        return key


def follow(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Follow the chain from its start, one row in memory at a time.

    Yields:
        Each row, and what is wrong with it; nothing after the first that something is wrong with.
    """
    expected, previous = 1, GENESIS
    for row in rows:
        fault = _fault(row, expected, previous)
        yield row, fault
        if fault:
            return
        expected += 1
        previous = bound(row[6], row[7], row[8])


def _fault(row: Row, expected: int, previous: str) -> str:
    seq, time, kind, subject, evidence, named, digest, key, _ = row
    if seq != expected:
        return f"entry {expected} is missing or out of order"
    if named != previous:
        return "does not follow from the entry before it"
    try:
        # The same bytes as those of ``entry_digest``, without parsing the evidence.
        head = f"[{seq},{quoted(time)},{quoted(kind)},{quoted(subject)}"
        text = f"{head},{evidence},{quoted(named)}]".encode()
        whole = hashlib.sha256(text).hexdigest() == digest
        if not whole and not key:
            # Written before entries were signed, its keys may stand in another order.
            plain = json.loads(evidence)
            whole = digest == entry_digest(seq, time, kind, subject, plain, named)
    except (ValueError, TypeError):  # content that was never JSON, such as NaN or bytes
        whole = False
    return "" if whole else "its content was changed after it was written"


def verify(entries: Iterable[Entry]) -> Break | None:
    """Follow the chain of entries from its start; signatures are not checked.

    Returns:
        The first break, or ``None`` if every entry follows from the one before.
    """
    for row, fault in follow(map(_row, entries)):
        if fault:
            return Break(row[0], fault)
    return None


def _row(entry: Entry) -> Row:
    try:
        evidence = canonical(dict(entry.evidence))
    except (ValueError, TypeError):
        evidence = ""  # no JSON, so its content was changed
    parts = (entry.seq, entry.time, entry.kind, entry.subject, evidence)
    return (*parts, entry.previous, entry.digest, entry.key, entry.signature)
