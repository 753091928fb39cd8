"""The security map names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from setpoint.documents.markup import to_markdown
from setpoint.documents.threats import NO_TEST, THREATS, security_map

ROOT = Path(__file__).parents[2]
ASKED = ("20", "10", "18", "11", "15", "43", "40", "24", "29", "34", "46", "31", "25")


def test_the_map_has_every_technique_once() -> None:
    assert [threat.id for threat in THREATS] == [f"AML.T00{number}" for number in ASKED]


@pytest.mark.parametrize("name", [test for threat in THREATS for test in threat.tests])
def test_a_named_test_is_in_the_tree(name: str) -> None:
    file, _, function = name.partition("::")
    text = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), name


def test_a_technique_that_nothing_attacks_says_so() -> None:
    untested = [threat for threat in THREATS if not threat.tests]
    text = to_markdown(security_map("small"))
    assert text.count(f"| {NO_TEST} |") == len(untested)
    assert f"{len(THREATS) - len(untested)} of {len(THREATS)} techniques" in text
