"""What the fields of the project file are made of: durations, shares, names, addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from setpoint.domain.features import duration_label

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|d)$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> timedelta:
    """Read ``"90s"``, ``"15m"``, ``"12h"`` or ``"7d"``.

    Raises:
        ValueError: The value is none of these.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError("a duration is a number and a unit: 90s, 15m, 12h or 7d")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError as err:
        raise ValueError("a duration is at most 999999999d") from err


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0")
    return value


def _whole_second(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("windows of features are counted in whole seconds: 1s is the shortest")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda d: duration_label(int(d.total_seconds())), return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["7d", "12h"]}),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
WindowLength = Annotated[Duration, AfterValidator(_whole_second)]


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(_no_boolean)]
Whole = Annotated[int, BeforeValidator(_no_boolean)]
Share = Annotated[Number, Field(ge=0, le=1)]
ErrorRate = Annotated[Number, Field(gt=0, le=0.2)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_Address = Annotated[str, Field(min_length=1)]
_ADDRESS: dict[str, Any] = {"type": "string", "minLength": 1}
Addresses = Annotated[
    tuple[_Address, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS}]}),
]
SomeAddresses = Annotated[
    tuple[_Address, ...],
    Field(min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS, "minItems": 1}]}),
]


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


LabelValue = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "integer"}]}),
]


class Section(BaseModel):
    """A part of the project file: it cannot be changed, and a field it does not know is refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # a trace in a log must not show what may be a secret
    )


Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """A mistake of a section that its fields alone do not show.

    Attributes:
        at: Where, from the section down, e.g. ``("columns", 0)``.
        value: The value that is wrong.
        rule: What is allowed.
    """

    at: Place
    value: Any
    rule: str


def refuse(section: str, faults: Sequence[Fault]) -> None:
    """Report mistakes, each at its own place; a validator of the section calls this.

    Raises:
        ValidationError: There are some.
    """
    if faults:
        details = [
            InitErrorDetails(
                type=PydanticCustomError("fault", "{rule}", {"rule": f.rule}),
                loc=f.at,
                input=f.value,
            )
            for f in faults
        ]
        raise ValidationError.from_exception_data(section, details)
