"""Which column may have which role: all references between the sections of the project file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from setpoint.config.data import Data, Target
from setpoint.config.decisions import Costs
from setpoint.config.features import Features
from setpoint.config.fields import Fault, Place
from setpoint.config.gates import Gates
from setpoint.config.policies import Release
from setpoint.domain.schema import ColumnKind

RESERVED = ("label", "label_known_at")
"""Columns that the loop adds to events; so are all that start with ``_``."""

_ANY: tuple[ColumnKind, ...] = ("number", "integer", "category", "id", "time", "boolean")


@dataclass(frozen=True)
class _Use:
    """A column named somewhere, for what, and the types it may have there."""

    at: Place
    column: str
    role: str
    kinds: tuple[ColumnKind, ...]


def near(name: str, known: list[str]) -> str:
    """A question after the one that was probably meant; empty if none is near."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def is_reserved(column: str) -> bool:
    """Whether an event may not have a column of this name."""
    return column in RESERVED or column.startswith("_")


def same_but_for_case(columns: Sequence[str]) -> tuple[str, ...]:
    """The first two columns whose names differ only in case, which validation takes for one."""
    seen: dict[str, str] = {}
    for name in columns:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            return other, name
    return ()


def reference_faults(
    data: Data,
    target: Target,
    costs: Costs,
    features: Features,
    gates: Gates,
    release: Release,
) -> list[Fault]:
    """All references to columns and entities that cannot be followed or make no sense."""
    faults = [
        Fault(("data", "columns", name), name, f"is reserved: {', '.join(RESERVED)} and names that "
              "start with _ are the loop's own; give it another name and its own as source")
        for name in data.columns
        if is_reserved(name) and not (name in RESERVED and name == target.column)
    ]  # fmt: skip
    if alike := same_but_for_case(list(data.columns)):
        rule = f"differs from {alike[0]!r} only in case; give it another name and its own as source"
        faults.append(Fault(("data", "columns", alike[1]), alike[1], rule))
    for use in _uses(data, costs, features, gates, release):
        faults += _use_faults(use, data, target)
    faults += _target_faults(data, target)
    faults += [
        Fault(("gates", "robustness", "bounds", name), name, "is no input: features.columns has "
              f"{', '.join(features.columns) or 'none'}")
        for name in gates.robustness.bounds
        if name in data.columns and name not in features.columns
    ]  # fmt: skip
    known = list(data.entities)
    for place, entity in _entity_uses(features):
        if entity not in data.entities:
            there = ", ".join(known) or "none"
            rule = f"is not in data.entities; {near(entity, known)}there are: {there}"
            faults.append(Fault(place, entity, rule))
    return faults


def input_faults(names: tuple[str, ...]) -> list[Fault]:
    """What is wrong with the names of the model's inputs."""
    faults = []
    if not names:
        rule = "declares no input for the model: name some in columns, calendar, windows or risks"
        faults.append(Fault(("features",), None, rule))
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        rule = f"declares {', '.join(twice)} more than once"
        faults.append(Fault(("features",), None, rule))
    return faults


def monotone_faults(declared: list[str], numbers: tuple[str, ...]) -> list[Fault]:
    """Inputs with a declared direction that are no numbers of the model."""
    return [
        Fault(
            ("gates", "explainability", "monotone", name),
            name,
            f"is no numeric input; {near(name, list(numbers))}there are: {', '.join(numbers)}",
        )
        for name in declared
        if name not in numbers
    ]


def _uses(
    data: Data, costs: Costs, features: Features, gates: Gates, release: Release
) -> Iterator[_Use]:
    yield _Use(("data", "event_id"), data.event_id, "the event id", ("id",))
    yield _Use(("data", "event_time"), data.event_time, "the event time", ("time",))
    for name, column in data.entities.items():
        kinds: tuple[ColumnKind, ...] = ("id", "category", "integer")
        yield _Use(("data", "entities", name), column, "an entity", kinds)
    for i, column in enumerate(data.protected):
        kinds = ("category", "boolean", "integer")
        yield _Use(("data", "protected", i), column, "a protected column", kinds)
    if data.source is not None:
        yield _Use(("data", "source"), data.source, "a source", ("category", "id", "integer"))
    for i, column in enumerate(features.columns):
        kinds = ("number", "integer", "boolean", "category", "id")
        yield _Use(("features", "columns", i), column, "an input", kinds)
    for i, window in enumerate(features.windows):
        if window.column:
            kinds = ("number", "integer", "boolean")
            place = ("features", "windows", i, "column")
            yield _Use(place, window.column, "what a window aggregates", kinds)
    for i, column in enumerate(gates.explainability.forbidden):
        yield _Use(("gates", "explainability", "forbidden", i), column, "a forbidden column", _ANY)
    for name, bound in gates.robustness.bounds.items():
        kinds = ("category", "id") if bound.any else ("number", "integer")
        yield _Use(("gates", "robustness", "bounds", name), name, "what so a bound moves", kinds)
    for i, column in enumerate(gates.slices.columns):
        kinds = ("category", "boolean", "integer")
        yield _Use(("gates", "slices", "columns", i), column, "a slice", kinds)
    for i, column in enumerate(release.segments):
        kinds = ("category", "boolean", "integer")
        yield _Use(("release", "segments", i), column, "a segment", kinds)
    for name in Costs.model_fields:
        column = getattr(costs, name).column
        if column is not None:
            kinds = ("number", "integer")
            yield _Use(("costs", name, "column"), column, "a cost", kinds)


def _use_faults(use: _Use, data: Data, target: Target) -> Iterator[Fault]:
    if use.column not in data.columns:
        if use.column == target.column:
            yield Fault(use.at, use.column, f"is the target; {use.role} is known before it")
            return
        known = list(data.columns)
        rule = f"is not in data.columns; {near(use.column, known)}there are: {', '.join(known)}"
        yield Fault(use.at, use.column, rule)
        return
    kind = data.columns[use.column].type
    own = use.at in (("data", "event_id"), ("data", "event_time"))
    if use.column == target.column and not own:
        yield Fault(use.at, use.column, f"is the target; {use.role} is known before it")
    elif use.at[:2] == ("features", "columns") and use.column == data.event_id:
        yield Fault(use.at, use.column, "is the event id, which says nothing of the next event")
    elif use.at[:2] == ("features", "columns") and use.column == "score":
        rule = "is the name of the model's own score; give the column another and its own as source"
        yield Fault(use.at, use.column, rule)
    elif kind not in use.kinds:
        rule = f"is of type {kind}; {use.role} is of type {_either(use.kinds)}"
        if use.kinds == ("time",):
            rule += ", also where it is a year or a number that orders the rows"
        yield Fault(use.at, use.column, rule)


def _either(kinds: tuple[ColumnKind, ...]) -> str:
    *first, last = kinds
    return f"{', '.join(first)} or {last}" if first else last


def _target_faults(data: Data, target: Target) -> Iterator[Fault]:
    place, name = ("target", "column"), target.column
    if name in (data.event_id, data.event_time):
        role = "data.event_id" if name == data.event_id else "data.event_time"
        yield Fault(place, name, f"is {role}; the target is a column of its own")
        return
    if name == "known_at":
        yield Fault(place, name, "is reserved for the time at which a label became known")
    if name not in data.columns:
        if not data.labels:
            known = list(data.columns)
            rule = f"is not in data.columns, and no data.labels are given; {near(name, known)}"
            yield Fault(place, name, f"{rule}there are: {', '.join(known)}")
        return
    column = data.columns[name]
    kinds: tuple[ColumnKind, ...] = ("category", "boolean", "integer")
    if column.type not in kinds:
        rule = f"is of type {column.type}; the target is of type {_either(kinds)}"
        yield Fault(place, name, rule)
        return
    values = ("true", "false") if column.type == "boolean" else column.values
    if values and len(set(values)) != 2:
        at = ("data", "columns", name, "values")
        rule = f"the target has two values; here are {len(values)}"
        yield Fault(at, list(values), rule)
    elif values and target.positive not in values:
        rule = f"is not a value of column {name!r}: {' or '.join(repr(v) for v in values)}"
        yield Fault(("target", "positive"), target.positive, rule)


def _entity_uses(features: Features) -> Iterator[tuple[Place, str]]:
    for i, window in enumerate(features.windows):
        yield ("features", "windows", i, "entity"), window.entity
    for i, risk in enumerate(features.risks):
        yield ("features", "risks", i, "entity"), risk.entity
