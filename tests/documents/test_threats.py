"""The security map names tests that are there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from setpoint.documents.markup import to_markdown
from setpoint.documents.standing import standing
from setpoint.documents.states import State
from setpoint.documents.threats import NO_TEST, THREATS, security_map
from setpoint.domain.ledger import Break
from setpoint.domain.ledger_audit import Audit
from setpoint.serving.keys import new_key
from tests.documents.conftest import Made

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
    text = to_markdown(security_map("small", "v1", {}))
    assert text.count(f"| {NO_TEST} |") == len(untested)
    assert f"{len(THREATS) - len(untested)} of {len(THREATS)} techniques" in text
    assert text.count("not known: nothing tells") == len(THREATS)


def states(made: Made, **environment: object) -> dict[str, State]:
    """State of each control, by what is told of it."""
    changed = made.workspace.environment.model_copy(update=environment)
    found = standing(replace(made.workspace, environment=changed), made.record)
    assert list(found) == [threat.id for threat in THREATS] and all(found.values())
    return {c.told: c.state for controls in found.values() for c in controls}


def test_without_a_keys_file_what_keys_do_is_off(made: Made, tmp_path: Path) -> None:
    without = states(made, key_file=None)
    about_keys = [state for told, state in without.items() if "no keys file" in told]
    assert len(about_keys) == 3 and set(about_keys) == {State.OFF}
    assert without["scores are rounded: for no key (score_digits)"] == State.OFF
    _, key = new_key("shop", ("score",), 60, 2)
    file = tmp_path / "keys.json"
    file.write_bytes(msgspec.json.encode([key]))
    given = states(made, key_file=file)
    assert given["keys with roles: 1 in the keys file"] == State.ON
    assert given["scores are rounded for 1 of 1 keys"] == State.ON
    assert given["a rate for each key: 1 in the keys file"] == State.ON


def test_controls_follow_configuration_and_record(made: Made) -> None:
    told = states(made)
    assert told["bundle v1 is signed"] == State.ON
    assert told["setpoints are watched: no window of v1 yet"] == State.UNKNOWN
    assert told["adversarial training: train.adversarial"] == State.OFF
    unsigned = replace(made.record, bundle=replace(made.record.bundle, signature=None))
    manipulated = standing(made.workspace, unsigned)["AML.T0018"][0]
    assert manipulated.state == State.OFF and "no signature" in manipulated.told
    cut = replace(made.record, audit=Audit(9, 9, 1, (Break(1, "edited"),)))
    assert standing(made.workspace, cut)["AML.T0031"][1].state == State.OFF


def test_the_map_says_of_this_project_what_is_on(made: Made) -> None:
    found = standing(made.workspace, made.record)
    text = to_markdown(security_map("small", "v1", found))
    assert "off: keys with roles: no keys file is given" in text
    assert "says nothing about this project" in text
