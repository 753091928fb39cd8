"""The documents say what is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from benchmarks import report
from setpoint.cli import app
from setpoint.config import CostCell, Project
from setpoint.domain.features import duration_label

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section of the project file with its path; a cost is told once for all four."""
    yield path, model
    for name, field in model.model_fields.items():
        found = next(_models(field.annotation), None)
        if found is CostCell:
            continue
        if found is not None:
            yield from sections(found, f"{path}.{name}".lstrip("."))
    if not path:
        yield "costs.*", CostCell


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def tables() -> dict[str, dict[str, str]]:
    """Default by field by section, as the page tells it."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in (ROOT / "docs" / "project-file.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ").strip("`").replace("Top level", "")
            found[heading] = {}
        if row := re.fullmatch(r"\| `(\w+)` \| .+ \| (.+) \|", line):
            found[heading][row[1]] = row[2].strip("`")
    return found


def shown(value: Any) -> str:
    """A default as the page writes it."""
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, CostCell):
        return f"{value.fixed:g}"
    if isinstance(value, BaseModel):
        return "see there"
    if isinstance(value, timedelta):
        return duration_label(int(value.total_seconds()))
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def test_every_section_of_the_project_file_has_a_table() -> None:
    assert set(tables()) == {path for path, _ in sections(Project)}


@pytest.mark.parametrize(("path", "model"), list(sections(Project)))
def test_every_field_is_told_with_its_default(path: str, model: type[BaseModel]) -> None:
    told = tables()[path]
    fields = model.model_fields
    assert told == {n: shown(f.get_default(call_default_factory=True)) for n, f in fields.items()}


def test_every_command_that_the_pages_name_exists() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    for page in PAGES:
        code = _code(page.read_text("utf-8"))
        assert set(re.findall(r"\bsetpoint ([a-z]+(?:-[a-z]+)*)", code)) <= commands, page.name
        assert set(re.findall(r"\bmake (\w+)", code)) <= targets, page.name


def test_the_operations_page_lists_every_command() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert set(re.findall(r"^\| `setpoint ([\w-]+)`", page, re.MULTILINE)) == commands


def _code(text: str) -> str:
    return "\n".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    named = re.findall(r"`((?:setpoint|flows|tasks|deployments|infra)/[\w/.-]+)`", text)
    for name in named:
        assert (ROOT / name).exists(), name


def test_environment_variables_that_are_read_are_told() -> None:
    source = (ROOT / "setpoint" / "config" / "environment.py").read_text("utf-8")
    read = set(re.findall(r'env(?:\.get\(|\[)"(\w+)"', source))
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert read
    assert {name for name in read if f"`{name}`" not in page} == set()


def test_a_figure_that_was_not_measured_is_said_to_be_missing(tmp_path: Path) -> None:
    figures = {"p50_ms": 6.1, "steady": {"envoy": {"p99_ms": 15.89}}}
    (tmp_path / "scoring.json").write_text(json.dumps(figures))
    page = report.write(tmp_path, tmp_path / "results.md").read_text("utf-8")
    assert "| scoring | `p50_ms` | 6.1 |" in page
    assert "| steady / envoy / p99_ms | 15.89 |" in page
    assert "| scoring | `p99_ms` | not measured |" in page
    assert "| loop | `overhead_ratio` | not measured |" in page
