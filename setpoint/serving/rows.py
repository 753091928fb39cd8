"""Requests as rows: everything a model must never see is refused here, field by field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.ports import Label
from setpoint.serving.problems import Refusal, shown

LARGEST_ROW = 64 * 1024
LARGEST_LABELS = 1024 * 1024
"""Bytes of a body."""
LONGEST_TEXT = 1000
LARGEST_NUMBER = 3.4e38
"""The largest size of a number; models take float32, where more becomes infinity."""
LARGEST_INTEGER = 2**63 - 1
LARGEST_EXACT = 2**53
"""Below it a float is one integer and no other."""
LONGEST_ID = 200
FIRST_YEAR, LAST_YEAR = 1970, 2199
RFC_3339 = "send RFC 3339 with an offset, e.g. 2024-05-01T12:00:00Z"

Check = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """A valid request.

    Attributes:
        id: The event's id as text.
        event_time: UTC, aware.
        request: The row as it came.
        event: The row with times as aware ``datetime`` and integers as ``int``.
    """

    id: str
    event_time: datetime
    request: dict[str, Any]
    event: dict[str, Any]


class RowReader:
    """Reads and validates the rows of one schema.

    Args:
        table: The columns of a request.
    """

    def __init__(self, table: TableSpec) -> None:
        self._table = table
        self._checks = {column.name: _check_of(column) for column in table.columns}
        self._nullable = {column.name for column in table.columns if column.nullable}
        self._nullable -= {table.event_id, table.event_time}

    def read(self, body: bytes) -> Row:
        """A request body as a row.

        Raises:
            Refusal: With the field, its value and the rule.
        """
        return self.check(decode_json(body))

    def check(self, request: Any) -> Row:
        """A decoded request as a row.

        Raises:
            Refusal: With the field, its value and the rule.
        """
        if not isinstance(request, dict):
            raise Refusal(
                "not_object",
                f"the row is {shown(request)}, not an object",
                fix="send one JSON object: one row",
            )
        if request.keys() != self._checks.keys():
            self._refuse_names(request)
        event: dict[str, Any] = {}
        for name, check in self._checks.items():
            value = request[name]
            if value is None:
                if name not in self._nullable:
                    raise Refusal(
                        "null", f"{name} is null", field=name, fix=f"send a value of {name}"
                    )
                event[name] = None
            else:
                event[name] = check(value)
        identity = str(event[self._table.event_id])
        return Row(identity, event[self._table.event_time], request, event)

    def _refuse_names(self, request: dict[str, Any]) -> None:
        for name in self._checks:
            if name not in request:
                fix = "send it" if name not in self._nullable else "send it, null if unknown"
                raise Refusal("missing", f"{name} is missing", field=name, fix=fix)
        extra = sorted(request.keys() - self._checks.keys())[0]
        raise Refusal(
            "extra",
            f"{shown(extra)} is not a column of this model",
            field=extra[:LONGEST_TEXT],
            fix=f"send only: {', '.join(self._checks)}",
        )


def decode_json(body: bytes) -> Any:
    """JSON, strictly: no NaN, no infinity, UTF-8 only.

    Raises:
        Refusal: It is not JSON (400).
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            "bad_json",
            f"the body is not JSON: {error}",
            fix="send UTF-8 JSON; NaN and Infinity are not JSON, send null where allowed",
            status=400,
        ) from error


def read_labels(body: bytes) -> list[Label]:
    """The labels of a request: ``{"labels": [{"id", "label", "known_at"}]}`` or the list alone.

    Raises:
        Refusal: One of them is malformed; none is taken then.
    """
    data = decode_json(body)
    if isinstance(data, dict) and data.keys() == {"labels"}:
        data = data["labels"]
    if not isinstance(data, list) or not data:
        raise Refusal(
            "labels",
            f"the body is {shown(data)}, not a list of labels",
            field="labels",
            fix='send {"labels": [{"id": ..., "label": 0 or 1, "known_at": ...}]}',
        )
    return [_label(item, f"labels[{index}]") for index, item in enumerate(data)]


def _label(item: Any, where: str) -> Label:
    if not isinstance(item, dict) or item.keys() != {"id", "label", "known_at"}:
        raise Refusal(
            "labels",
            f"{where} is {shown(item)}",
            field=where,
            fix="send exactly id, label and known_at",
        )
    if type(item["label"]) is not int or item["label"] not in (0, 1):
        raise Refusal(
            "labels",
            f"{where}.label is {shown(item['label'])}, not 0 or 1",
            field=f"{where}.label",
            fix="send 1 for the positive class, 0 for the other",
        )
    known_at = _time(f"{where}.known_at")(item["known_at"])
    return Label(str(_identity(f"{where}.id")(item["id"])), item["label"], known_at)


def same_event(reader: RowReader, logged: Mapping[str, Any], row: Row) -> bool:
    """Whether a logged request is the same row, however its times and numbers are written."""
    if logged == row.request:
        return True
    try:
        return reader.check(dict(logged)).event == row.event
    except Refusal:  # logged under another schema: not the same row
        return False


# ------------------------------------------------------------------- one check per kind


def _check_of(column: ColumnSpec) -> Check:
    if column.kind == "time":
        return _time(column.name)
    if column.kind == "id":
        return _identity(column.name)
    if column.kind == "category":
        return _category(column)
    if column.kind == "boolean":
        return _boolean(column.name)
    return _number(column)


def _mistyped(name: str, value: Any, fix: str) -> Refusal:
    return Refusal("type", f"{name} is {shown(value)}", field=name, fix=fix)


def _number(column: ColumnSpec) -> Check:
    name, integer = column.name, column.kind == "integer"
    low = -math.inf if column.min is None else column.min
    high = math.inf if column.max is None else column.max
    limits = f"send {'an integer' if integer else 'a number'} from {low:g} to {high:g}"

    def check(value: Any) -> Any:
        if type(value) is not float and type(value) is not int:
            raise _mistyped(name, value, limits)
        largest = LARGEST_INTEGER if integer else LARGEST_NUMBER
        # written so that NaN, which compares false, is refused too
        if not (low <= value <= high and -largest <= value <= largest):
            raise Refusal("range", f"{name} is {shown(value)}", field=name, fix=limits)
        if integer and type(value) is float:
            if value != int(value):
                raise _mistyped(name, value, limits)
            return int(value)
        return value

    return check


def _category(column: ColumnSpec) -> Check:
    name, allowed = column.name, frozenset(column.values)
    listed = ", ".join(column.values[:20]) + (", ..." if len(column.values) > 20 else "")
    fix = f"send one of: {listed}" if allowed else f"send text up to {LONGEST_TEXT} characters"

    def check(value: Any) -> Any:
        if type(value) is not str or len(value) > LONGEST_TEXT:
            raise _mistyped(name, value, fix)
        if allowed and value not in allowed:
            raise Refusal("category", f"{name} is {shown(value)}", field=name, fix=fix)
        return value

    return check


def _identity(name: str) -> Check:
    fix = "send printable text of 1 to 200 characters, or an integer"

    def check(value: Any) -> Any:
        if type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            return value
        if type(value) is float and abs(value) < LARGEST_EXACT and value == int(value):
            return int(value)
        if type(value) is str and 0 < len(value) <= LONGEST_ID and value.isprintable():
            return value
        raise _mistyped(name, value, fix)

    return check


def _boolean(name: str) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not bool:
            raise _mistyped(name, value, "send true or false")
        return value

    return check


def _time(name: str) -> Check:
    def check(value: Any) -> datetime:
        try:
            moment = msgspec.convert(value, datetime) if type(value) is str else None
        except msgspec.ValidationError:
            moment = None
        if moment is None:
            raise Refusal("time", f"{name} is {shown(value)}", field=name, fix=RFC_3339)
        if moment.tzinfo is None:
            what = f"{name} is {shown(value)}, which has no offset"
            raise Refusal("time", what, field=name, fix=RFC_3339)
        if not FIRST_YEAR < moment.year < LAST_YEAR:
            what = f"{name} is {shown(value)}, an absurd year"
            fix = f"send a time between {FIRST_YEAR} and {LAST_YEAR}"
            raise Refusal("range", what, field=name, fix=fix)
        return moment.astimezone(UTC)

    return check
