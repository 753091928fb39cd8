"""A wrong project file names line, field, value and what is allowed; nothing raw comes out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.config import json_schema, load_project, parse_duration, parse_project
from setpoint.errors import ProjectFileError

PROJECT = """\
name: loans
owner: {team: credit, contact: credit@example.org}
data:
  events: data/events
  event_id: id
  event_time: at
  entities: {person: person}
  columns:
    id: {type: id}
    at: {type: time}
    person: {type: id}
    amount: {type: number, min: 0, max: 9}
    good: {type: category, values: ["0", "1"]}
target: {column: good, delay: 7d}
features:
  columns: [amount]
setpoints:
  ranking: {metric: roc_auc, floor: 0.7}
release: {steps: [5, 100]}
"""


def _line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def test_a_right_project_file_is_read() -> None:
    project = parse_project(PROJECT)
    assert project.target.delay == timedelta(days=7)
    assert project.feature_spec().names == ("amount",)
    assert project.events_spec().label == "good"
    assert "good" not in project.request_spec().names


# what it was, what it becomes, the field named, what is shown of value and rule
MISTAKES = {
    "tier below that of the use": (
        "setpoints:", "risk_tier: limited\ndocuments: {use: credit_scoring}\nsetpoints:",
        "risk_tier", "limited", "must be high",
    ),
    "policy that approves what is of high risk": (
        "setpoints:", "risk_tier: high\napproval: {by: policy}\nsetpoints:",
        "approval.by", "policy", "people approve each version",
    ),
    "unknown field": ("target: {", "target: {colour: red, ", "target.colour", "red", "not a field"),
    "missing field": ("  event_id: id\n", "", "data.event_id", "", "required"),
    "wrong type": ("min: 0", "min: low", "data.columns.amount.min", "'low'", "must be a number"),
    "not a number": ("floor: 0.7", "floor: .nan", "ranking.floor", "nan", "finite number"),
    "text for a whole number": (
        "steps: [5", "steps: [five", "release.steps.0", "'five'",
        "whole number",
    ),
    "unknown choice": ("type: number", "type: money", "amount.type", "'money'", "'number'"),
    "bad duration": ("7d", "a week", "target.delay", "'a week'", "90s, 15m, 12h or 7d"),
    "endless duration": ("7d", "99999999999d", "target.delay", "99999999999d", "999999999d"),
    "window under a second": (
        "  columns: [amount]", "  windows: [{entity: person, over: [1d, 0.5s]}]",
        "features.windows.0.over.1", "'0.5s'", "1s is the shortest",
    ),
    "risk of no length": (
        "  columns: [amount]", "  risks: [{entity: person, over: [0d], delay: 7d}]",
        "features.risks.0.over.0", "'0d'", "1s is the shortest",
    ),
    "number as duration": ("7d", "7", "target.delay", "7", "90s, 15m, 12h or 7d"),
    "min above max": ("min: 0", "min: 10", "data.columns.amount.min", "10", "min is above max 9"),
    "floor and ceiling": (
        "0.7}", "0.7, ceiling: 1}", "setpoints.ranking", "",
        "floor or a ceiling",
    ),
    "address of a channel": (
        "setpoints:", "notify: {channels: {a: {url_from: 'x://y'}}}\nsetpoints:",
        "notify.channels.a.url_from:", "", "name of an environment variable",
    ),
    "channel in two places": (
        "setpoints:", "notify: {channels: {a: {url_from: A, block: x/y}}}\nsetpoints:",
        "notify.channels.a:", "", "either url_from or block",
    ),
    "unknown channel": (
        "setpoints:", "notify: {channels: {a: {url_from: A}}, levels: [[a], [b]]}\nsetpoints:",
        "notify.levels.1.0:", "", "not in notify.channels; there are: a",
    ),
    "channel of no level": (
        "setpoints:",
        "notify: {channels: {a: {block: x/y}, b: {block: x/z}}, levels: [[a]]}\nsetpoints:",
        "notify.channels.b:", "", "in none of notify.levels",
    ),
    "only the end told": (
        "setpoints:", "notify: {on: [resolved]}\nsetpoints:", "notify.on", "['resolved']",
        "has opened or needs_person",
    ),
    "kept too short": (
        "setpoints:", "decisions: {keep: 13d}\nsetpoints:", "decisions.keep", "'13d'",
        "must be 14d or longer",
    ),
    "neither side": (", floor: 0.7", "", "setpoints.ranking", "", "floor or a ceiling"),
    "steps not rising": ("[5, 100]", "[50, 5, 100]", "release.steps", "50", "end with 100"),
    "steps that do not end": ("[5, 100]", "[5, 50]", "release.steps", "[5, 50]", "end with 100"),
    "no steps": ("[5, 100]", "[]", "release.steps", "[]", "rise and end with 100"),
    "bad name": ("name: loans", "name: My Loans", "name", "'My Loans'", "lower case"),
    "unquoted value": ('["0", "1"]', "[0, 1]", "good.values.0", "0", "put it in quotes"),
    "section is a list": (
        "target: {column: good, delay: 7d}", "target: [good]", "target", "good",
        "a mapping with the fields column, positive, delay, unlabelled",
    ),
    "no setpoint": (
        "setpoints:\n  ranking: {metric: roc_auc, floor: 0.7}", "setpoints: {}", "setpoints",
        "", "at least 1",
    ),
    "empty section": (
        "release: {steps: [5, 100]}", "release:", "release", "null", "shadow_requests",
    ),
    "misspelt field": ("event_time", "event_tiem", "data.event_tiem", "'at'", "'event_time'"),
    "fields allowed": (
        "release: {", "release: {speed: 3, ", "release.speed", "3",
        "allowed: strategy, shadow_requests, steps",
    ),
    "field of an entry": (
        "{type: number,", "{kind: number, type: number,", "data.columns.amount.kind", "'number'",
        "allowed: type, source, min, max, values",
    ),
    "cost in words": (
        "release:", "costs: {false_negative: lots}\nrelease:", "costs.false_negative", "'lots'",
        "a number, or a mapping with the fields fixed, column, times",
    ),
    "cost that is a truth": (
        "release:", "costs: {false_negative: true}\nrelease:", "costs.false_negative", "true",
        "must be a number",
    ),
    "boolean as a whole number": (
        "release:", "train: {trials: true}\nrelease:", "train.trials", "true", "must be a number",
    ),
    "boolean as a bound": ("min: 0", "min: false", "amount.min", "false", "must be a number"),
    "setpoint name": ("  ranking:", "  Ranking 1:", "setpoints.Ranking 1", "", "lower case"),
    "no events": ("events: data/events", "events: []", "data.events", "", "at least 1"),
    "empty address": ("events: data/events", "events: ''", "data.events.0", "''", "not be empty"),
    "window of no length": (
        "  columns: [amount]", "  windows: [{entity: person, over: []}]",
        "features.windows.0.over", "[]", "at least 1",
    ),
    "mean of nothing": (
        "  columns: [amount]", "  windows: [{entity: person, compute: [count, mean], over: [1d]}]",
        "features.windows.0.column", "''", "required for mean",
    ),
    "window shorter than its look": (
        "release:", "watch: {every: 7d, window: 1d}\nrelease:", "watch.window", "'1d'", "7d",
    ),
    "more failed windows than there are": (
        "release:", "gates: {quality_budget: {windows: 5}}\nrelease:", "quality_budget.failed",
        "10", "at most all windows: 5",
    ),
    "equal actions": (
        "release:", "actions: {positive: hold, negative: hold}\nrelease:", "actions.negative",
        "'hold'", "both actions",
    ),
    "no cost at all": (
        "release:", "costs: {false_negative: 0, false_positive: 0}\nrelease:", "costs", "",
        "all four costs are the same",
    ),
    "share above 1": ("floor: 0.7", "floor: 70", "setpoints.ranking.floor", "70", "0 to 1"),
    "share below 0": ("floor: 0.7", "ceiling: -0.1", "setpoints.ranking.ceiling", "-0.1", "0 to 1"),
    "values of a number": (
        "max: 9", "max: 9, values: [a]", "amount.values", "['a']", "only a category column",
    ),
    "bounds of a time": ("{type: time}", "{type: time, max: 3}", "at.max", "3", "only a number"),
    "bands that cross": (
        "release:", "watch: {psi: {watch: 0.3}}\nrelease:", "watch.psi.watch", "0.3", "below act",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_names_line_field_value_and_rule(kind: str) -> None:
    old, new, field, value, rule = MISTAKES[kind]
    assert old in PROJECT
    text = PROJECT.replace(old, new, 1)
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text, "here.yaml")
    message = caught.value.what
    assert field in message and value in message and rule in message
    section = field.split(".")[0]
    assert message.startswith("line ")
    line = int(message.split()[1].rstrip(":"))
    assert line >= _line_of(text, f"{section}:")
    assert caught.value.where == "here.yaml" and caught.value.fix


def test_a_wrong_entry_is_told_alone_and_not_as_a_missing_one() -> None:
    text = PROJECT.replace("  columns: [amount]", "  windows: [{entity: person, over: [0d]}]")
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    assert len(caught.value.what.splitlines()) == 1


def test_the_line_named_is_the_line_of_the_mistake() -> None:
    text = PROJECT.replace("min: 0", "min: low")
    with pytest.raises(ProjectFileError, match=f"line {_line_of(text, 'min: low')}: "):
        parse_project(text)


def test_every_mistake_of_a_file_is_named_at_once() -> None:
    text = PROJECT.replace("min: 0", "min: low").replace("7d", "soon").replace("roc_auc", "f1")
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    assert len(caught.value.what.splitlines()) == 3


def test_a_field_given_twice_names_both_lines() -> None:
    text = PROJECT.replace("  event_id: id\n", "  event_id: id\n  event_time: at\n")
    text = text.replace("setpoints:", "  columns: [amount]\nsetpoints:")
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text, "here.yaml")
    times = [i for i, line in enumerate(text.splitlines(), 1) if "event_time" in line]
    columns = [i for i, line in enumerate(text.splitlines(), 1) if "columns: [" in line]
    assert caught.value.what.splitlines() == [
        f"line {last}: {field}: is given twice, on lines {first} and {last}"
        for field, (first, last) in (("data.event_time", times), ("features.columns", columns))
    ]
    assert caught.value.where == "here.yaml" and caught.value.fix


def test_the_same_field_of_two_sections_is_not_given_twice() -> None:
    both = "  windows: [{entity: person, over: [1d]}, {entity: person, over: [7d]}]"
    assert parse_project(PROJECT.replace("  columns: [amount]", both)).features.windows[1].over


@pytest.mark.parametrize(
    ("written", "meant"),
    [("true", "true"), ("False", "false"), ("1", "1"), ("0", "0"), ("yes", "yes"), ('"1"', "1")],
)
def test_the_positive_value_is_the_text_that_the_label_has_in_the_data(
    written: str, meant: str
) -> None:
    text = PROJECT.replace('["0", "1"]', f'["other", "{meant}"]')
    project = parse_project(text.replace("{column: good,", f"{{column: good, positive: {written},"))
    assert project.target.positive == meant


@pytest.mark.parametrize("written", ["1.5", "[1]", "null"])
def test_a_positive_value_that_is_no_label_is_refused(written: str) -> None:
    with pytest.raises(ProjectFileError, match=r"target\.positive"):
        parse_project(PROJECT.replace("{column: good,", f"{{column: good, positive: {written},"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("event_id: id", "event_id: nr", "line 5: data.event_id (is 'nr'): is not in data.columns"),
        ("event_time: at", "event_time: when", "data.event_time (is 'when'): is not in"),
        ("person: person}", "person: customer}", "data.entities.person (is 'customer'): is not in"),
        (
            "  columns: [amount]",
            "  columns: [amuont]",
            "line 16: features.columns.0 (is 'amuont'): is not in data.columns; "
            "did you mean 'amount'? there are: id, at, person, amount, good",
        ),
        ("target: {column: good", "target: {column: bad", "target.column (is 'bad')"),
        ("  columns: [amount]", "  columns: []", "declares no input"),
        (
            "  columns: [amount]",
            "  windows: [{entity: shop, over: [1d]}]",
            "features.windows.0.entity (is 'shop'): is not in data.entities; there are: person",
        ),
        (
            "release:",
            "costs: {false_negative: {column: amnt}}\nrelease:",
            "costs.false_negative.column (is 'amnt'): is not in data.columns",
        ),
    ],
)
def test_a_reference_to_an_unknown_column_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(ProjectFileError) as caught:
        parse_project(PROJECT.replace(old, new, 1))
    assert said in str(caught.value)


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=r"gone\.yaml.*cannot read(.|\n)*setpoint init"):
        load_project(tmp_path / "gone.yaml")


def test_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match="cannot read the project file"):
        load_project(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"name: a\nowner: M\xfcller\n")
    with pytest.raises(ProjectFileError, match=r"line 2: .*not UTF-8 text \(byte 0xfc\)"):
        load_project(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "[" * 5000 + "]" * 5000, "{a: " * 3000])
def test_yaml_that_is_nested_thousands_deep_is_refused(text: str) -> None:
    with pytest.raises(ProjectFileError, match="nested too deep"):
        parse_project(text)


def test_a_value_that_grows_without_end_is_shown_in_short() -> None:
    grows = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
    text = f"a0: &a0 [x, x]\n{grows}\n{PROJECT.replace('steps: [5, 100]', 'steps: [*a29]')}"
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    assert max(len(line) for line in str(caught.value).splitlines()) < 400


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just text", "42"])
def test_an_empty_file_or_one_without_fields_is_refused(text: str) -> None:
    with pytest.raises(ProjectFileError, match="empty or not a mapping"):
        parse_project(text)


def test_broken_yaml_names_the_line() -> None:
    text = PROJECT.replace("[amount]", "[amount")
    with pytest.raises(ProjectFileError, match=r"line \d+: not valid YAML"):
        parse_project(text)


@pytest.mark.parametrize(
    "text", ["a: 2024-13-45", "a: \x00", "a: *b", "{[1]: 2}: 3", "!!python/object:os.system {}"]
)
def test_yaml_that_makes_no_value_is_a_project_file_error(text: str) -> None:
    with pytest.raises(ProjectFileError):
        parse_project(text)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_whatever_raises_anything_but_a_project_file_error(text: str) -> None:
    with pytest.raises(ProjectFileError):
        parse_project(text)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(PROJECT.splitlines()),
    st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=20),
)
def test_a_damaged_line_is_read_or_refused(line: str, junk: str) -> None:
    try:
        parse_project(PROJECT.replace(line, line.partition(":")[0] + ": " + junk))
    except ProjectFileError as err:
        assert err.fix


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800), ("1.5h", 5400)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 days", "1d2h", "1e3s", None, True])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration is a number and a unit"):
        parse_duration(text)


def test_the_json_schema_lists_every_section() -> None:
    assert {"name", "data", "target", "setpoints", "gates"} <= set(json_schema()["properties"])
