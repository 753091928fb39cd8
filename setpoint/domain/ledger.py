"""The hash chain of the ledger: every entry holds the digest of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
"""What the first entry names as the digest before it."""


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        seq: Number from 1, without gaps.
        time: When it was written, ISO 8601, UTC.
        kind: What happened: ``promoted``, ``refused``, ``rolled_back``, ``retrained`` ...
        subject: What it happened to, e.g. ``cards/v3``.
        evidence: Findings, digests, ids; strict JSON.
        previous: Digest of the entry before.
        digest: SHA-256 over all of the above, hex.
    """

    seq: int
    time: str
    kind: str
    subject: str
    evidence: Mapping[str, Any]
    previous: str
    digest: str


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


def link(last: Entry | None, time: str, kind: str, subject: str, evidence: Any) -> Entry:
    """The entry that follows ``last``; ``None`` for the first."""
    seq, previous = (last.seq + 1, last.digest) if last else (1, GENESIS)
    # As it will be read back: JSON turns keys into text, and text sorts differently from numbers.
    evidence = json.loads(canonical(evidence))
    digest = entry_digest(seq, time, kind, subject, evidence, previous)
    return Entry(seq, time, kind, subject, evidence, previous, digest)


@dataclass(frozen=True)
class Break:
    """Where a chain is broken and how."""

    seq: int
    reason: str


def verify(entries: Iterable[Entry]) -> Break | None:
    """Follow the chain from its start.

    Returns:
        The first break, or ``None`` if every entry follows from the one before.
    """
    last: Entry | None = None
    for entry in entries:
        expected = last.seq + 1 if last else 1
        if entry.seq != expected:
            return Break(entry.seq, f"entry {expected} is missing or out of order")
        if entry.previous != (last.digest if last else GENESIS):
            return Break(entry.seq, "does not follow from the entry before it")
        parts = (entry.time, entry.kind, entry.subject, dict(entry.evidence), entry.previous)
        try:
            whole = entry.digest == entry_digest(entry.seq, *parts)
        except (ValueError, TypeError):  # content that was never JSON, such as NaN or bytes
            whole = False
        if not whole:
            return Break(entry.seq, "its content was changed after it was written")
        last = entry
    return None
