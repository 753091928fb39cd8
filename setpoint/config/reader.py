"""Reads a project file; each mistake is told with its line, field, value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from setpoint.config.project import Project
from setpoint.errors import ProjectFileError


def load_project(path: Path) -> Project:
    """Read and check a project file.

    Raises:
        ProjectFileError: The file is missing, not YAML, or breaks the schema; the message has
            one line a mistake: line, field, value and what is allowed.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ProjectFileError(
            f"cannot read the project file: {err}",
            where=str(path),
            fix="name an existing file, or write one with 'setpoint init --from DATA'",
        ) from err
    return parse_project(text, where=str(path))


def parse_project(text: str, where: str = "setpoint.yaml") -> Project:
    """Check the text of a project file; see :func:`load_project`."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as err:  # ValueError: a date that does not exist
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ProjectFileError(
            f"not valid YAML: {getattr(err, 'problem', err)}",
            where=f"{where}{line}",
            fix="mend the indentation or quoting at that line",
        ) from err
    if not isinstance(content, dict):
        raise ProjectFileError(
            "the project file is empty or not a mapping",
            where=where,
            fix="start from 'setpoint init --from DATA'",
        )
    try:
        return Project.model_validate(content)
    except ValidationError as err:
        raise ProjectFileError(
            "\n".join(_mistake(tree, e) for e in err.errors()),
            where=where,
            fix="change the fields named; docs/project-file.md lists what is allowed",
        ) from err


def _mistake(tree: yaml.Node | None, error: Any) -> str:
    loc = [str(part) for part in error["loc"]]
    line = _locate(tree, loc)
    field = ".".join(loc) or "the project file"
    value = error.get("input")
    shown = "" if isinstance(value, dict) or error["type"] == "missing" else f" (is {value!r:.80})"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        message = "is required and missing"
    if error["type"] == "extra_forbidden":
        message = "is not a field of this section"
    return f"line {line}: {field}{shown}: {message}"


def _locate(tree: yaml.Node | None, loc: list[str]) -> int:
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
