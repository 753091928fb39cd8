"""Specs as plain JSON values and back, strictly."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from setpoint.errors import BundleError

REWRITE = "deploy the bundle again from the registry; never edit a bundle in place"

T = TypeVar("T")


def canonical_json(value: Any, name: str) -> bytes:
    """``value`` as JSON that is the same for equal values: sorted keys, no spaces, UTF-8.

    Raises:
        BundleError: It holds what JSON cannot: NaN, infinity, objects.
    """
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{name} cannot be written as JSON: {error}",
            where=name,
            fix="use finite numbers, text, lists and dictionaries only",
        ) from error
    return text.encode()


def parse_json(data: bytes, name: str) -> Any:
    """JSON bytes as plain values.

    Raises:
        BundleError: They are not JSON; it names the file.
    """
    try:
        return json.loads(data)
    except ValueError as error:
        raise BundleError(f"{name} is not JSON: {error}", where=name, fix=REWRITE) from error


def to_plain(value: Any) -> Any:
    """A spec or manifest as plain JSON values; tuples become lists, NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def from_plain(kind: type[T], value: Any, where: str = "") -> T:
    """The inverse of ``to_plain``: strict, and unknown or missing fields are errors.

    Args:
        kind: ``FeatureSpec``, ``TableSpec``, ``DecisionSpec``, ``Manifest``, ...
        value: What ``to_plain`` gave, after any number of trips through JSON.
        where: Named in errors, e.g. the file.

    Raises:
        BundleError: A field is missing, unknown or of another type.
    """
    return cast(T, _decode(kind, value, where or getattr(kind, "__name__", str(kind))))


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any or (origin is Literal and value in args):
        return value
    if origin in (Union, types.UnionType):
        return _decode_union(args, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _decode_dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is datetime and isinstance(value, str):
        return _decode_time(value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (str, int, float, bool, type(None)) and type(value) is kind:
        return value
    name = getattr(kind, "__name__", str(kind))
    raise BundleError(f"{value!r} is no {name}", where=where, fix=REWRITE)


def _decode_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _decode(kind, value, where)
        except BundleError:
            continue
    raise BundleError(f"{value!r} is none of the types allowed", where=where, fix=REWRITE)


def _decode_dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    missing = [
        name
        for name, field in fields.items()
        if name not in value
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    for name in [*sorted(value.keys() - fields.keys()), *missing]:
        what = "is missing" if name in missing else "is not a known field"
        raise BundleError(f"{name} {what}", where=where, fix=REWRITE)
    return kind(**{n: _decode(hints[n], item, f"{where}.{n}") for n, item in value.items()})


def _decode_time(value: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise BundleError(f"{value!r} is no time", where=where, fix=REWRITE) from error
    return moment
