"""The exported JSON Schema accepts what the reader accepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from setpoint.config import json_schema, load_project
from tests.domain.test_config import MISTAKES, PROJECT

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "docs" / "examples").glob("*.yaml")), *(ROOT / "setpoint").rglob("*.yaml")]
FROM_JSON_SCHEMA = ("unknown field", "missing field", "wrong type", "cost in words", "no events",
                    "boolean as a whole number", "bad duration", "window of no length",
                    "unquoted value")  # fmt: skip


def mistakes(text: str) -> list[str]:
    """What the schema says of the text of a project file."""
    validator = jsonschema.Draft202012Validator(json_schema())
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_the_schema_accepts_the_product_s_own_files(file: Path) -> None:
    assert load_project(file)
    assert mistakes(file.read_text("utf-8")) == []


def test_the_schema_accepts_a_cost_as_a_number_and_as_a_section() -> None:
    costs = "costs: {false_negative: 5, true_positive: 0.5, false_positive: {column: amount}}\n"
    assert mistakes(PROJECT + costs) == []


@pytest.mark.parametrize("kind", FROM_JSON_SCHEMA)
def test_the_schema_refuses_what_the_reader_refuses(kind: str) -> None:
    old, new, *_ = MISTAKES[kind]
    assert mistakes(PROJECT.replace(old, new, 1))


def defaults(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each part of a schema that has a default, with its path."""
    if isinstance(schema, dict):
        if "default" in schema:
            yield path, schema
        for name, part in schema.items():
            yield from defaults(part, f"{path}/{name}")


def test_every_default_of_the_schema_is_one_that_it_accepts() -> None:
    schema = json_schema()
    found = list(defaults({"properties": schema["properties"], "$defs": schema["$defs"]}))
    assert len(found) > 50
    for path, part in found:
        whole = {**part, "$defs": schema["$defs"]}
        errors = list(jsonschema.Draft202012Validator(whole).iter_errors(part["default"]))
        assert errors == [], path
