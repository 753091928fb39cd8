"""A column that cannot have its role is refused where it is named, all of them at once."""

from __future__ import annotations

import pytest

from setpoint.config import Project, parse_project
from setpoint.config.references import RESERVED
from setpoint.errors import ProjectFileError

PROJECT = """\
name: loans
owner: {team: credit, contact: credit@example.org}
data:
  events: data/events
  event_id: id
  event_time: at
  entities: {person: person}
  protected: [sex]
  columns:
    id: {type: id}
    at: {type: time}
    person: {type: id}
    amount: {type: number, min: 0, max: 9}
    kind: {type: category}
    sex: {type: category}
    good: {type: category, values: ["0", "1"]}
target: {column: good}
costs: {false_negative: {column: amount}}
features:
  columns: [amount, kind]
  windows:
    - {entity: person, column: amount, compute: [mean], over: [1d]}
setpoints:
  ranking: {metric: roc_auc, floor: 0.7}
"""

# what it was, what it becomes, the field named, the value shown, what is allowed
ROLES = {
    "an event time that is no time": (
        "event_time: at", "event_time: amount", "data.event_time", "'amount'", "is of type time",
    ),
    "an order that is declared as a number": (
        "at: {type: time}", "at: {type: integer, source: ID}", "data.event_time", "'at'",
        "a number that orders the rows",
    ),
    "an event id that is no id": ("id: {type: id}", "id: {type: integer}", "data.event_id", "'id'",
                                  "is of type id"),
    "a window over a category": (
        "column: amount, c", "column: kind, c", "features.windows.0.column", "'kind'",
        "number, integer or boolean",
    ),
    "a cost that is no number": (
        "{column: amount}}", "{column: kind}}", "costs.false_negative.column", "'kind'",
        "number or integer",
    ),
    "the target as a cost": (
        "{column: amount}}", "{column: good}}", "costs.false_negative.column", "'good'",
        "is the target",
    ),
    "the target as a protected column": (
        "[sex]", "[sex, good]", "data.protected.1", "'good'", "is the target",
    ),
    "the target as an input": (
        "[amount, kind]", "[amount, good]", "features.columns.1", "'good'", "is the target",
    ),
    "the target as an entity": (
        "{person: person}", "{person: good}", "data.entities.person", "'good'", "is the target",
    ),
    "the target as a window": (
        "column: amount, c", "column: good, c", "features.windows.0.column", "'good'",
        "is the target",
    ),
    "the event id as the target": (
        "target: {column: good", "target: {column: id", "target.column", "'id'", "is data.event_id",
    ),
    "the event time as the target": (
        "target: {column: good", "target: {column: at", "target.column", "'at'",
        "is data.event_time",
    ),
    "a number as the target": (
        'good: {type: category, values: ["0", "1"]}', "good: {type: number}", "target.column",
        "'good'", "category, boolean or integer",
    ),
    "a target of three values": (
        '["0", "1"]', '["0", "1", "2"]', "data.columns.good.values", "['0', '1', '2']",
        "two values",
    ),
    "a positive value that is not declared": (
        "{column: good}", "{column: good, positive: yes}", "target.positive", "'yes'", "'0' or '1'",
    ),
    "a boolean target with another positive value": (
        'good: {type: category, values: ["0", "1"]}', "good: {type: boolean}", "target.positive",
        "'1'", "'true' or 'false'",
    ),
    "a number as an entity": (
        "{person: person}", "{person: amount}", "data.entities.person", "'amount'", "id, category",
    ),
    "a number as a protected column": ("[sex]", "[amount]", "data.protected.0", "'amount'",
                                       "category, boolean or integer"),
    "a time as an input": ("[amount, kind]", "[at]", "features.columns.0", "'at'", "an input is"),
    "the event id as an input": ("[amount, kind]", "[id]", "features.columns.0", "'id'",
                                 "is the event id"),
    "names that differ in case": (
        "    kind: {", "    Amount: {type: number}\n    kind: {", "data.columns.Amount", "'Amount'",
        "differs from 'amount' only in case",
    ),
    "the name label": ("    kind:", "    label: {type: id}\n    kind:", "data.columns.label",
                       "'label'", "reserved"),
    "a name that starts with _": ("    kind:", "    _x: {type: id}\n    kind:", "data.columns._x",
                                  "'_x'", "reserved"),
}  # fmt: skip


@pytest.mark.parametrize("case", ROLES)
def test_a_column_that_cannot_have_its_role_is_refused_where_it_is_named(case: str) -> None:
    old, new, field, value, rule = ROLES[case]
    assert PROJECT.count(old) == 1
    text = PROJECT.replace(old, new)
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    (told,) = [m for m in caught.value.what.splitlines() if f": {field} " in m]
    assert f"{field} (is {value})" in told and rule in told
    line = text.splitlines()[int(told.split()[1].rstrip(":")) - 1]
    assert any(part in line for part in field.split(".") if not part.isdigit())


def test_the_model_s_own_score_is_no_input() -> None:
    text = PROJECT.replace("    kind: {", "    score: {type: number}\n    kind: {")
    assert "score" in parse_project(text).data.columns
    with pytest.raises(ProjectFileError, match=r"features\.columns\.0 \(is 'score'\).*own score"):
        parse_project(text.replace("[amount, kind]", "[score]"))


@pytest.mark.parametrize("name", RESERVED)
def test_the_target_may_have_the_name_that_its_labels_get(name: str) -> None:
    assert parse_project(PROJECT.replace("good", name)).target.column == name


def test_all_wrong_roles_are_told_at_once_in_the_order_of_the_file() -> None:
    text = PROJECT.replace("event_time: at", "event_time: kind").replace("[sex]", "[amount]")
    text = text.replace("{column: amount}}", "{column: kind}}").replace(
        "column: amount, c", "column: x, c"
    )
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    told = [line.split()[2] for line in caught.value.what.splitlines()]
    assert told == [
        "data.event_time", "data.protected.0", "costs.false_negative.column",
        "features.windows.0.column",
    ]  # fmt: skip


def test_a_wrong_role_is_told_beside_a_wrong_value_of_another_section() -> None:
    text = PROJECT.replace("floor: 0.7", "floor: high").replace("[sex]", "[amount]")
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    assert [line.split()[2] for line in caught.value.what.splitlines()] == [
        "data.protected.0", "setpoints.ranking.floor",
    ]  # fmt: skip


def test_labels_of_their_own_need_no_declared_target() -> None:
    text = PROJECT.replace("  event_id", "  labels: labels\n  event_id")
    text = text.replace('    good: {type: category, values: ["0", "1"]}\n', "")
    assert isinstance(parse_project(text), Project)
    with pytest.raises(ProjectFileError, match=r"target\.column \(is 'known_at'\): is reserved"):
        parse_project(text.replace("{column: good", "{column: known_at"))
    with pytest.raises(
        ProjectFileError, match=r"features\.columns\.1 \(is 'good'\): is the target"
    ):
        parse_project(text.replace("[amount, kind]", "[amount, good]"))
