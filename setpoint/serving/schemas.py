"""What a request must look like, as JSON Schema, and an example of it.

Says what ``setpoint.serving.rows`` checks, as far as JSON Schema can: of unprintable characters
those of Latin-1 are named, the limits of a time are its years, and an id beyond 2**53 has to be
written without a fraction or an exponent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from setpoint.domain.bundle import Bundle
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.serving.batch import MOST_ROWS
from setpoint.serving.rows import (
    FIRST_YEAR,
    LARGEST_INTEGER,
    LARGEST_NUMBER,
    LAST_YEAR,
    LONGEST_ID,
    LONGEST_TEXT,
)

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
DIGEST: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
IDENTITY: Json = {
    "anyOf": [
        {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_ID,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad]*$",
        },
        {"type": "integer", "minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER},
    ],
    "description": "Printable text, or an integer",
}
TIME: Json = {
    "type": "string",
    "format": "date-time",
    "description": f"RFC 3339 with an offset; the year after {FIRST_YEAR} and before {LAST_YEAR}",
}
ROWS: Json = {
    "type": "array",
    "items": {},
    "maxItems": MOST_ROWS,
    "description": "Each a Row; what is none gets a Problem in its place",
}
OUTCOMES: Json = {
    "type": "array",
    "items": {
        "anyOf": [
            {"$ref": "#/components/schemas/Decision"},
            {"$ref": "#/components/schemas/Problem"},
        ]
    },
    "description": "One for each row, in order",
}
CONTRIBUTIONS: Json = {
    "type": ["array", "null"],
    "items": {
        "type": "object",
        "properties": {"feature": TEXT, "text": TEXT, "log_odds": {"type": "number"}},
        "required": ["feature", "text", "log_odds"],
    },
    "description": "What each feature added to the log odds before calibration, largest first; "
    "they add up to the row's less the baseline row's; null if another bundle decided",
}


def row_schema(table: TableSpec) -> Json:
    """The schema of a request.

    Args:
        table: The columns of a request.
    """
    always = (table.event_id, table.event_time)
    properties = {}
    for column in table.columns:
        schema = _column(column)
        if column.nullable and column.name not in always:
            schema = _or_null(schema)
        if column.personal:
            schema = {**schema, "x-personal": True}
        properties[column.name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def example_row(bundle: Bundle) -> Json:
    """A row that the service of ``bundle`` accepts; made up, and no row of the training data."""
    typical: Mapping[str, float | str | None] = bundle.decision.baselines
    return {
        column.name: _example(column, bundle, None if column.personal else typical.get(column.name))
        for column in bundle.table.columns
    }


def _column(column: ColumnSpec) -> Json:
    if column.kind == "time":
        return TIME
    if column.kind == "id":
        return IDENTITY
    if column.kind == "boolean":
        return {"type": "boolean"}
    if column.kind == "category":
        if column.values:
            return {"type": "string", "enum": list(column.values)}
        return {"type": "string", "maxLength": LONGEST_TEXT}
    low, high = _bounds(column)
    return {"type": column.kind, "minimum": low, "maximum": high}


def _bounds(column: ColumnSpec) -> tuple[float, float]:
    largest: float = LARGEST_INTEGER if column.kind == "integer" else LARGEST_NUMBER
    low = -largest if column.min is None else max(column.min, -largest)
    high = largest if column.max is None else min(column.max, largest)
    return low, high


def _or_null(schema: Json) -> Json:
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    found = {**schema, "type": [schema["type"], "null"]}
    return {**found, "enum": [*schema["enum"], None]} if "enum" in schema else found


def _example(column: ColumnSpec, bundle: Bundle, typical: float | str | None) -> Any:
    if column.kind == "time":
        return bundle.manifest.created_at.astimezone(UTC).replace(microsecond=0).isoformat()
    if column.kind == "id":
        return "example-1" if column.name == bundle.table.event_id else 1
    if column.kind == "boolean":
        return False
    if column.kind == "category":
        fitting = typical in column.values if column.values else isinstance(typical, str)
        return typical if fitting else [*column.values, "example"][0]
    low, high = _bounds(column)
    value = typical if isinstance(typical, float | int) and math.isfinite(typical) else 0.0
    if column.kind == "integer":
        return int(min(max(round(value), math.ceil(low)), math.floor(high)))
    return min(max(value, low), high)
