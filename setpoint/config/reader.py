"""Reads a project file; each mistake is told with its line, field, value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from setpoint.config.data import Data, Target
from setpoint.config.decisions import Costs
from setpoint.config.features import Features
from setpoint.config.fields import Section
from setpoint.config.gates import Gates
from setpoint.config.mistakes import explain
from setpoint.config.policies import Release
from setpoint.config.project import Project
from setpoint.config.references import reference_faults
from setpoint.errors import ProjectFileError


class _Loader(yaml.SafeLoader):
    """Reads only ``true`` and ``false`` as booleans, so that a label may be ``yes`` or ``on``."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _BOOLEAN]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def load_project(path: Path) -> Project:
    """Read and check a project file; raises as ``read_project`` does."""
    return read_project(path)[0]


def read_project(path: Path) -> tuple[Project, bytes]:
    """Read and check a project file.

    Returns:
        What it says, and the bytes that say so.

    Raises:
        ProjectFileError: The file is missing, not YAML, or breaks the schema; the message has
            one line a mistake: line, field, value and what is allowed.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise ProjectFileError(
            f"cannot read the project file: {err.strerror}",
            where=str(path),
            fix="name an existing file, or write one with 'setpoint init --from DATA'",
        ) from err
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise ProjectFileError(
            f"cannot read the project file: it is not UTF-8 text (byte {content[err.start]:#04x})",
            where=f"{path}, line {line}",
            fix="save the file as UTF-8",
        ) from err
    return parse_project(text, where=str(path)), content


def parse_project(text: str, where: str = "setpoint.yaml") -> Project:
    """Check the text of a project file; see :func:`load_project`."""
    try:
        tree = yaml.compose(text, Loader=_Loader)
        content = yaml.load(text, Loader=_Loader)  # a safe loader: it makes plain values only
    except (yaml.YAMLError, ValueError) as err:  # ValueError: a date that does not exist
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ProjectFileError(
            f"not valid YAML: {getattr(err, 'problem', err)}",
            where=f"{where}{line}",
            fix="mend the indentation or quoting at that line",
        ) from err
    except RecursionError as err:
        raise ProjectFileError(
            "the YAML is nested too deep to be read",
            where=where,
            fix="a project file has at most five levels; docs/project-file.md lists them",
        ) from err
    if not isinstance(content, dict):
        raise ProjectFileError(
            "the project file is empty or not a mapping",
            where=where,
            fix="start from 'setpoint init --from DATA'",
        )
    if twice := _given_twice(tree):
        raise ProjectFileError("\n".join(twice), where=where, fix="delete one of the two lines")
    try:
        return Project.model_validate(content)
    except ValidationError as err:
        raise ProjectFileError(
            "\n".join(_lines(tree, [*err.errors(include_url=False), *_beside(content)])),
            where=where,
            fix="change the fields named; docs/project-file.md lists what is allowed",
        ) from err


def _given_twice(tree: yaml.Node | None) -> list[str]:
    """Mistakes: fields of which YAML keeps the last and drops the others without a word."""
    found = []
    for path, mapping in _mappings(tree):
        first: dict[tuple[str, str], int] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                said = f"is given twice, on lines {first[name]} and {line}"
                found.append((line, f"line {line}: {path}{key.value}: {said}"))
            first.setdefault(name, line)
    return [mistake for _, mistake in sorted(found)]


def _mappings(tree: yaml.Node | None) -> Iterator[tuple[str, yaml.MappingNode]]:
    """Each mapping of the file, with the path of the fields in it."""
    todo: list[tuple[str, yaml.Node | None]] = [("", tree)]
    seen: set[int] = set()  # an anchor may be used often, or lead back to where it is
    while todo:
        path, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += [(f"{path}{i}.", part) for i, part in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            yield path, node
            todo += [(f"{path}{key.value}.", value) for key, value in node.value]


def _beside(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Wrong references of a file that has other mistakes as well, where they can be told."""
    sections: dict[str, type[Section]] = {"data": Data, "target": Target, "costs": Costs}
    sections |= {"features": Features, "gates": Gates, "release": Release}
    try:
        read = {n: kind.model_validate(content.get(n, {})) for n, kind in sections.items()}
    except ValidationError:
        return []
    faults = reference_faults(**read)  # type: ignore[arg-type]
    return [{"type": "fault", "loc": f.at, "input": f.value, "msg": f.rule} for f in faults]


def _lines(tree: yaml.Node | None, errors: list[Any]) -> list[str]:
    """One line a mistake, in the order of the file."""
    found = set()
    for error in errors:
        if error["type"] == "too_short" and error["input"]:
            continue  # it is long enough: its entries are wrong, which is told of each
        loc, text = explain(error)
        line = _locate(tree, loc)
        found.add((line, f"line {line}: {text}"))
    return [text for _, text in sorted(found)]


def _locate(tree: yaml.Node | None, loc: tuple[str, ...]) -> int:
    """Line (from 1) of the deepest part of ``loc`` that the file has."""
    node, line = tree, 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            break
    return line
