"""Which column is the label: only one of exactly two values can be."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.errors import DataError
from setpoint.init.columns import Look, as_kind, category_line, in_order, texts_of

TARGETS = ("label", "target", "fraud", "is_fraud", "default", "churn", "employed", "repaid", "y")
TELLING = ("default", "fraud", "label", "target", "churn", "repaid", "outcome", "class")
_SHOWN = 5


@dataclass(frozen=True)
class Label:
    """A column of exactly two values.

    Attributes:
        name: Its name.
        declared: Its declaration.
        positive: The value that counts as positive.
        values: Its values as text, null where unknown.
    """

    name: str
    declared: str
    positive: str
    values: pa.ChunkedArray


def found_label(look: Look, where: str) -> Label:
    """The column that was named.

    Raises:
        DataError: It has not exactly two values.
    """
    label = as_label(look)
    if label is None:
        raise DataError(
            f"--target {look.name}: {_why_not(look)}",
            where=where,
            fix="name a column of exactly two values; nulls are labels that are not known yet",
        )
    return label


def guess_label(looks: list[Look], where: str) -> tuple[Label, tuple[str, ...]]:
    """The column whose name tells most, or else the last, and the others that could be meant.

    Raises:
        DataError: No column has exactly two values.
    """
    labels = [label for label in map(as_label, looks) if label is not None]
    if not labels:
        telling = [look for look in looks if _rank(look.name) < _UNTOLD]
        named = f"; {telling[0].name}: {_why_not(telling[0])}" if telling else ""
        raise DataError(
            f"label column not found: no column has exactly two values{named}",
            where=where,
            fix="add a column of two values, one of them the outcome to predict",
        )
    last = len(labels)
    order = sorted(enumerate(labels), key=lambda at: (_rank(at[1].name), last - at[0]))
    return order[0][1], tuple(label.name for _, label in order[1:])


def as_label(look: Look) -> Label | None:
    """The column as a label; ``None`` if it has not exactly two values."""
    if look.missing_words:
        # Only a type that is parsed turns a word such as NA into null.
        if look.kind == "boolean":
            return _label(look, "boolean", look.values.cast(pa.string()))
        if look.whole is not None:
            return _label(look, "integer", look.whole.cast(pa.string()))
        return None
    texts = texts_of(look)
    return None if texts is None else _label(look, "category", texts)


def _label(look: Look, kind: str, texts: pa.ChunkedArray) -> Label | None:
    if pc.count_distinct(texts).as_py() != 2:
        return None
    nullable = ", nullable: true" if texts.null_count else ""
    line = category_line(texts) if kind == "category" else f"{{type: {kind}{nullable}}}"
    return Label(look.name, line, in_order(texts)[-1], texts)


_UNTOLD = len(TARGETS) + len(TELLING)


def _rank(name: str) -> int:
    """How much a name tells of a label; smaller is more."""
    lower = name.lower()
    if lower in TARGETS:
        return TARGETS.index(lower)
    parts = re.split(r"[^a-z0-9]+", lower)
    told = (i for i, word in enumerate(TELLING) if word in parts or word in lower)
    return len(TARGETS) + next(told, len(TELLING))


def _why_not(look: Look) -> str:
    texts = as_kind(look.name, look.raw, "category") if look.kind != "time" else None
    if texts is None:
        return f"it has values of type {look.raw.type}, and a label has two texts or whole numbers"
    found = in_order(texts)
    if not found:
        return "it has no values"
    shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return (
        f"it has {len(found)} value{'s' if len(found) > 1 else ''} ({shown}), and a label has two"
    )
