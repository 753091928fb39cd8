"""What each column of a data file is, from its values, as ingesting will read them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.conform import conform
from setpoint.domain.schema import ColumnKind, ColumnSpec, TableSpec
from setpoint.errors import DataError
from setpoint.init.quoting import quoted

MAX_CATEGORIES = 30
MAX_CODES = 12
_NULL_WORDS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_BOOLEAN_WORDS = ("true", "false")
_LEADING_ZERO = r"^[+-]?0\d"
_DATE = re.compile(r"^\s*\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Look:
    """One column of the file.

    Attributes:
        name: Its name.
        raw: As it was read.
        kind: Type to declare; empty if there is none for it.
        values: The values as that type, null where missing.
        whole: The values as whole numbers, if all of them are.
        naive: Whether it holds times without a zone.
        missing_words: Whether a text of the file, e.g. NA, stands for a missing number.
        unusable: Why no type fits.
        no_input: Why it is no input of a model as it is.
    """

    name: str
    raw: pa.ChunkedArray
    kind: ColumnKind | Literal[""]
    values: pa.ChunkedArray
    whole: pa.ChunkedArray | None = None
    naive: bool = False
    missing_words: bool = False
    unusable: str = ""
    no_input: str = ""


def look_at(name: str, raw: pa.ChunkedArray, *, csv: bool) -> Look:
    """What a column is.

    Args:
        name: Its name.
        raw: Its values as read.
        csv: Whether they come from a CSV file, where numbers, truths and times are text.
    """
    if pa.types.is_dictionary(raw.type):
        raw = raw.cast(raw.type.value_type)
    if pa.types.is_floating(raw.type):
        raw = raw.cast(pa.float64())
        raw = pc.if_else(pc.is_nan(raw), pa.scalar(None, pa.float64()), raw)
    kind = raw.type
    if raw.null_count == len(raw):
        texts = as_kind(name, raw, "category")
        why = "it has no values"
        if texts is None:
            return Look(name, raw, "", raw, unusable=why)
        return Look(name, raw, "category", texts, no_input=why)
    if pa.types.is_boolean(kind):
        return Look(name, raw, "boolean", raw)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _number(name, raw, raw)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _time(name, raw) or _unusable(name, raw)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _text(name, raw.cast(pa.string()), csv=csv)
    return _unusable(name, raw)


def as_kind(
    name: str, values: pa.ChunkedArray, kind: ColumnKind, zone: str | None = None
) -> pa.ChunkedArray | None:
    """The values brought to a declared type, as ingesting does it; ``None`` if they do not fit."""
    spec = TableSpec((ColumnSpec(name, kind),), "", "")
    try:
        return conform(pa.table({name: values}), spec, name, time_zone=zone)[name]
    except DataError:
        return None


def texts_of(look: Look) -> pa.ChunkedArray | None:
    """The values as the text that a category has; ``None`` if they are no categories."""
    return None if look.kind in ("", "time") else as_kind(look.name, look.raw, "category")


def in_order(values: pa.ChunkedArray) -> list[str]:
    """The different texts, numbers by size."""
    found = [v for v in pc.unique(values).to_pylist() if v is not None]
    try:
        return sorted(found, key=lambda text: (float(text), text))
    except ValueError:
        return sorted(found)


def category_line(values: pa.ChunkedArray) -> str:
    """Declaration of a category, with its values if they are few."""
    parts = ["type: category"]
    if pc.count_distinct(values).as_py() <= MAX_CATEGORIES:
        listed = ", ".join(quoted(text) for text in in_order(values))
        parts += [f"values: [{listed}]"] if listed else []
    return _line(parts, nullable=values.null_count > 0)


def declared(look: Look) -> str:
    """Declaration of a column: type, bounds, categories, nulls."""
    if look.kind == "category":
        return category_line(look.values)
    bounds = _bounds(look.values) if look.kind == "number" else []
    return _line([f"type: {look.kind}", *bounds], nullable=look.values.null_count > 0)


def infinite(look: Look) -> int:
    """How many values are infinite."""
    if look.kind != "number":
        return 0
    return int(pc.sum(pc.is_inf(look.values)).as_py() or 0)


def _line(parts: list[str], *, nullable: bool) -> str:
    return "{" + ", ".join([*parts, *(["nullable: true"] if nullable else [])]) + "}"


def _bounds(values: pa.ChunkedArray) -> list[str]:
    """Bounds with room above and below: they stop absurd values, not new ones."""
    found = pc.min_max(values).as_py()
    least, most = found["min"], found["max"]
    room = 10 * ((most - least) or 1.0)
    low, high = (0.0 if least >= 0 else least - room), most + room
    parts = []
    for name, edge in (("min", low), ("max", high)):
        short = float(f"{edge:.6g}")
        holds = short <= least if name == "min" else short >= most
        if abs(edge) <= sys.float_info.max:
            parts.append(f"{name}: {_yaml_number(f'{edge:.6g}' if holds else repr(edge))}")
    return parts


def _yaml_number(text: str) -> str:
    """With the point that YAML asks of a number with an exponent."""
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text


def _unusable(name: str, raw: pa.ChunkedArray) -> Look:
    why = f"values of type {raw.type} cannot be declared"
    if pa.types.is_duration(raw.type):
        why = "a length of time cannot be declared: write its seconds as a number"
    return Look(name, raw, "", raw, unusable=why)


def _time(name: str, raw: pa.ChunkedArray) -> Look | None:
    why = "a second time: take a difference of it beforehand"
    for zone in (None, "UTC"):
        values = as_kind(name, raw, "time", zone)
        if values is not None:
            return Look(name, raw, "time", values, naive=zone is not None, no_input=why)
    return None


def _number(
    name: str, raw: pa.ChunkedArray, numbers: pa.ChunkedArray, *, words: bool = False
) -> Look:
    """A column of numbers: a few whole ones are codes, too large ones identify something."""
    whole = as_kind(name, numbers, "integer")
    values = as_kind(name, numbers, "number")
    if values is None:
        ids = as_kind(name, raw, "id")
        why = "whole numbers above 2^53 are not exact as an input"
        return _unusable(name, raw) if ids is None else Look(name, raw, "id", ids, no_input=why)
    if whole is not None and pc.count_distinct(whole).as_py() <= MAX_CODES:
        texts = as_kind(name, raw, "category")
        if texts is not None:
            return Look(name, raw, "category", texts, whole, missing_words=words)
    return Look(name, raw, "number", values, whole, missing_words=words)


def _text(name: str, raw: pa.ChunkedArray, *, csv: bool) -> Look:
    known = raw
    if csv:
        trimmed = pc.utf8_trim_whitespace(raw)
        missing = pc.is_in(trimmed, pa.array(_NULL_WORDS))
        known = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
        words = known.null_count > raw.null_count
        found = _number_of_text(name, raw, known, words) or _boolean_of_text(
            name, raw, known, words
        )
        if found is not None:
            return found
    first = pc.drop_null(known)
    if len(first) and _DATE.match(first[0].as_py()):
        time = _time(name, known)
        if time is not None:
            return time
    texts = as_kind(name, raw, "category")
    assert texts is not None  # any text is a category
    different = pc.count_distinct(texts).as_py()
    rare = different > max(MAX_CATEGORIES, (len(texts) - texts.null_count) // 2)
    return Look(
        name, raw, "category", texts, no_input="its texts hardly ever come twice" if rare else ""
    )


def _number_of_text(
    name: str, raw: pa.ChunkedArray, known: pa.ChunkedArray, words: bool
) -> Look | None:
    """A text column of numbers; codes with a leading zero are text."""
    if (
        known.null_count == len(known)
        or pc.any(pc.match_substring_regex(known, _LEADING_ZERO)).as_py()
    ):
        return None
    for kind in (pa.int64(), pa.float64()):
        try:
            return _number(name, raw, known.cast(kind), words=words)
        except pa.ArrowInvalid:
            continue
    return None


def _boolean_of_text(
    name: str, raw: pa.ChunkedArray, known: pa.ChunkedArray, words: bool
) -> Look | None:
    lower = pc.utf8_lower(known)
    different = {text for text in pc.unique(lower).to_pylist() if text is not None}
    if not different or not different <= set(_BOOLEAN_WORDS):
        return None
    return Look(name, raw, "boolean", pc.equal(lower, "true"), missing_words=words)
