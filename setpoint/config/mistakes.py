"""A mistake in a project file in plain words: the field, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from reprlib import Repr
from typing import Any, get_args

from pydantic import BaseModel

from setpoint.config.decisions import CostCell
from setpoint.config.project import Project
from setpoint.config.references import near

_LONGEST = 80
_NAME = "a name is lower case: a letter, then up to 40 letters, digits, _ or -"
_NUMBER, _WHOLE, _CHOICE = "must be a number", "must be a whole number", "must be true or false"
_TEXT = "must be text; put it in quotes"

_RULES: Mapping[str, str] = {
    "bool_parsing": _CHOICE,
    "bool_type": _CHOICE,
    "dict_type": "must be a mapping: names, each with its own fields",
    "finite_number": "must be a finite number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_type": _WHOLE,
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "list_type": "must be a list, e.g. [a, b]",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": _NAME,
    "string_too_short": "must not be empty",
    "string_type": _TEXT,
    "too_short": "must have at least {min_length} of them",
    "tuple_type": "must be a list, e.g. [a, b]",
}

_SECRET = [("notify", "channels"), ("notify", "levels")]

_shorten = Repr()
_shorten.maxstring = _shorten.maxother = _LONGEST
_shorten.maxlevel = 3


def explain(error: Any) -> tuple[tuple[str, ...], str]:
    """A mistake that pydantic found.

    Args:
        error: One entry of ``ValidationError.errors()``.

    Returns:
        The path of the field, and one line: field, value and what is allowed.
    """
    loc = tuple(str(part) for part in error["loc"] if part != "[key]")
    field = ".".join(loc) or "the project file"
    rule = _special(error, loc) or _plain(error)
    value = error.get("input")
    told = error["type"] == "missing" or isinstance(value, dict)
    told = told or (value is None and error["type"] == "fault")
    told = told or loc[:2] in _SECRET  # it may be the address itself, which holds a secret
    return loc, f"{field}: {rule}" if told else f"{field} (is {shown(value)}): {rule}"


def shown(value: Any) -> str:
    """A value as the project file writes it, at most 80 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = _shorten.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _plain(error: Any) -> str:
    rule = _RULES.get(error["type"])
    if rule is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return rule.format_map(error.get("ctx", {}))


def _special(error: Any, loc: tuple[str, ...]) -> str:
    """Rules that tell what the section around the field, or the field itself, consists of."""
    rules: dict[str, Callable[[tuple[str, ...]], str]] = {
        "extra_forbidden": _unknown,
        "invalid_key": _unknown,
        "missing": _missing,
        "model_type": _no_section,
    }
    rule = rules.get(error["type"])
    return rule(loc) if rule is not None else ""


def _unknown(loc: tuple[str, ...]) -> str:
    allowed = list(_section(loc[:-1]).model_fields)
    meant = near(loc[-1], allowed)
    return f"is not a field of this section; {meant}allowed: {', '.join(allowed)}"


def _missing(loc: tuple[str, ...]) -> str:
    field = _section(loc[:-1]).model_fields.get(loc[-1])
    about = f": {field.description}" if field is not None and field.description else ""
    return f"is required and missing{about}"


def _no_section(loc: tuple[str, ...]) -> str:
    section = _section(loc)
    number = "a number, or " if section is CostCell else ""
    return f"must be {number}a mapping with the fields {', '.join(section.model_fields)}"


def _section(loc: tuple[str, ...]) -> type[BaseModel]:
    """The section that a path leads to; names and numbers of entries lead no deeper."""
    section: type[BaseModel] = Project
    for part in loc:
        field = section.model_fields.get(part)
        section = section if field is None else next(_models(field.annotation), section)
    return section


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
