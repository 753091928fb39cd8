"""What a training was made from, and how a second one differs from it.

The bundle's manifest names snapshot, parameters, seeds, commit and environment; this record holds
the rest that the bytes of a model depend on, with digests that tell why a rebuild is another model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from setpoint.domain.plain import canonical_json, to_plain
from setpoint.domain.split import Split
from setpoint.domain.training import Rows

RECORD = "record.json"
UNCOVERED = "project file: not covered by the record's digest"
"""What is said of a record that was made before it had the digest of the project file."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class RowsDigest:
    """Rows by what can make them differ; SHA-256 in hexadecimal.

    Attributes:
        rows: How many.
        members: Of their ids, whatever their order.
        order: Of their ids, in order.
        content: Of inputs, labels and weights, in order.
    """

    rows: int
    members: str
    order: str
    content: str


@dataclass(frozen=True)
class Conditions:
    """What a training ran on.

    Attributes:
        commit: Code commit.
        environment: Digest of the installed distributions.
        python: Version of Python.
        machine: Kind of processor and system.
        threads: Threads that fit.
    """

    commit: str
    environment: str
    python: str
    machine: str
    threads: int


@dataclass(frozen=True)
class TrainingRecord:
    """What a training was made from, beside the bundle's manifest.

    Attributes:
        events: Delta version of the events.
        labels: Delta version of the labels.
        data_until: Event time up to which data were known; what came later is not in it.
        judged_since: Event time from which rows tune and judge; ``None``: the project file says.
        broken: Event times left out because the data were broken then, as known at the time.
        exploration: Digest of the weights of rows that stand for others (``exploration_digest``).
        rows: Of each part of the split.
        conditions: What it ran on.
        project: SHA-256 of the bytes of the project file, hex; empty in records of before it.
    """

    events: int
    labels: int
    data_until: datetime
    judged_since: datetime | None
    broken: tuple[Span, ...]
    exploration: str
    rows: dict[str, RowsDigest]
    conditions: Conditions
    project: str = ""

    def to_json(self) -> bytes:
        """Canonical JSON; ``plain.from_plain`` reads it back."""
        return canonical_json(to_plain(self), RECORD)

    @property
    def digest(self) -> str:
        """SHA-256 of the record, hex."""
        return hashlib.sha256(self.to_json()).hexdigest()


def project_digest(content: bytes) -> str:
    """SHA-256 of a project file's bytes, hex."""
    return hashlib.sha256(content).hexdigest()


def project_differs(record: TrainingRecord, found: bytes) -> str:
    """How a project file is not the one that the record names; empty where nothing shows it.

    Args:
        record: Of the training.
        found: Bytes of the project file that is kept beside it.
    """
    digest = project_digest(found)
    if record.project in ("", digest):
        return ""
    was = record.project
    return f"project file: digest {_short(digest, was)}, recorded {_short(was, digest)}"


def split_digests(split: Split) -> dict[str, RowsDigest]:
    """Digests of the parts that make a model: ``fit`` and ``tune``."""
    return {"fit": rows_digest(split.fit), "tune": rows_digest(split.tune)}


def rows_digest(rows: Rows) -> RowsDigest:
    """Digests of rows; equal rows in equal order have equal ones on every machine."""
    ids = [str(one) for one in rows.ids.tolist()]
    content = hashlib.sha256(np.ascontiguousarray(rows.numbers).tobytes())
    content.update(json.dumps([[str(v) for v in row] for row in rows.categories.tolist()]).encode())
    content.update(rows.label.tobytes())
    content.update(b"" if rows.weight is None else rows.weight.tobytes())
    return RowsDigest(len(ids), _of(sorted(ids)), _of(ids), content.hexdigest())


def _of(ids: list[str]) -> str:
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


def exploration_digest(split: Split) -> str:
    """Digest of what no snapshot tells: which rows stand for how many others; else ``none``."""
    heavy = {
        str(i): w
        for part in (split.fit, split.tune, split.judge)
        if part.weight is not None
        for i, w in zip(part.ids.tolist(), part.weight.tolist(), strict=True)
        if w != 1
    }
    return (
        hashlib.sha256(json.dumps(heavy, sort_keys=True).encode()).hexdigest() if heavy else "none"
    )


def rows_differ(recorded: Mapping[str, RowsDigest], found: Mapping[str, RowsDigest]) -> list[str]:
    """How the rows of a second training differ, one sentence a part; nothing where they do not."""
    told = []
    for part, was in recorded.items():
        now = found.get(part)
        if now is None or now.members != was.members:
            there = "none" if now is None else f"{now.rows:,}"
            told.append(f"rows that {part}: others, {there} against {was.rows:,}")
        elif now.order != was.order:
            told.append(f"rows that {part}: the same {was.rows:,} in another order")
        elif now.content != was.content:
            told.append(f"rows that {part}: other inputs, labels or weights")
    return told


def conditions_differ(recorded: Conditions, found: Conditions) -> list[str]:
    """What a second training ran on that the first did not; nothing where they are the same."""
    words = {
        "commit": "code commit",
        "environment": "versions of packages (environment digest)",
        "python": "Python",
        "machine": "machine",
        "threads": "threads",
    }
    pairs = {name: (getattr(recorded, name), getattr(found, name)) for name in words}
    return [
        f"{words[name]}: {_short(now, was)}, recorded {_short(was, now)}"
        for name, (was, now) in pairs.items()
        if was != now
    ]


def _short(value: object, other: object) -> str:
    """The beginning of a digest, or all of it where the beginning is the other's too."""
    text = str(value)
    return text if text[:16] == str(other)[:16] else text[:16]
