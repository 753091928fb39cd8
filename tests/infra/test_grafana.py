"""The dashboard: of Grafana's schema, from the declared source, of series that exist."""

from __future__ import annotations

import enum
import json
import shutil
import subprocess
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.promql import BY_PROMETHEUS, BY_TARGET, HOME, exported, recorded, selectors

FILE = HOME / "grafana" / "dashboards" / "setpoint.json"
HEADLINE = ["Availability budget left", "p99", "Decisions a second", "Alert rate", "Champion"]


def board() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return content


def panels() -> list[dict[str, Any]]:
    """All that draw something; a row only heads others."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def wrong(value: Any, hint: Any, path: str) -> list[str]:
    """Where a decoded part of a dashboard is not of the type that Grafana's schema gives it."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or value is None or isinstance(hint, str | typing.ForwardRef | typing.TypeVar):
        return []
    if hint is type(None):
        return [f"{path}: {value!r} is not null"]
    if origin in (typing.Union, types.UnionType):
        tried = [wrong(value, part, path) for part in parts]
        return [] if [] in tried else tried[0]
    if origin is typing.Literal:
        return [] if value in parts else [f"{path}: {value!r}"]
    if origin in (list, dict):
        if not isinstance(value, origin):
            return [f"{path}: {value!r} is no {origin.__name__}"]
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [one for key, item in items for one in wrong(item, parts[-1], f"{path}.{key}")]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [] if value in [one.value for one in hint] else [f"{path}: {value!r}"]
    if hint in (str, int, bool, float):
        kinds = (int, float) if hint is float else (hint,)
        fits = isinstance(value, kinds) and isinstance(value, bool) == (hint is bool)
        return [] if fits else [f"{path}: {value!r} is no {hint.__name__}"]
    return fields(value, path)


def fields(value: Any, path: str) -> list[str]:
    """Likewise for the fields of an object of the schema."""
    hints = typing.get_type_hints(type(value)) if hasattr(value, "to_json") else {}
    return [
        one
        for name, hint in hints.items()
        for one in wrong(getattr(value, name, None), hint, f"{path}.{name}")
    ]


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """What decoding and encoding again has dropped: fields that the schema does not know."""
    if isinstance(before, dict):
        if not isinstance(after, dict):
            return [path]
        return [one for k, v in before.items() for one in lost(v, after.get(k), f"{path}.{k}")]
    if isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            return [path]
        pairs = zip(before, after, strict=True)
        return [one for i, (b, a) in enumerate(pairs) for one in lost(b, a, f"{path}.{i}")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]


def mistakes(content: dict[str, Any]) -> list[str]:
    """What of a dashboard is not in Grafana's own schema, by its generated types."""
    reason = "Grafana's schema is in grafana-foundation-sdk, of the group dev"
    pytest.importorskip("grafana_foundation_sdk", reason=reason)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    decoded = Dashboard.from_json(content)
    again = json.loads(JSONEncoder().encode(decoded))
    return [*lost(content, again), *fields(decoded, "dashboard")]


def test_the_dashboard_is_of_grafana_s_schema() -> None:
    assert mistakes(board()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"gridPos"', '"gridpos"'),
        ('"refId"', '"refid"'),
        ('"textMode": "name"', '"textMode": "names"'),
        ('"schemaVersion": 39', '"schemaVersion": "39"'),
        ('"h": 5', '"h": "5"'),
        ('"reduceOptions"', '"reduce"'),
    ],
)
def test_a_dashboard_with_a_mistake_is_not_of_grafana_s_schema(old: str, new: str) -> None:
    text = FILE.read_text("utf-8")
    assert old in text
    assert mistakes(json.loads(text.replace(old, new)))


def test_every_panel_has_an_id_a_place_and_a_text_of_its_own() -> None:
    found = board()["panels"]
    assert board()["schemaVersion"] >= 36
    assert len({panel["id"] for panel in found}) == len(found)
    assert len({panel["title"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"] and panel["targets"]
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids)


def test_the_headline_row_has_the_figures_that_matter() -> None:
    first, *others = board()["panels"]
    assert (first["type"], first["title"]) == ("row", "Headline")
    titles = [panel["title"] for panel in others]
    rows = [i for i, panel in enumerate(others) if panel["type"] == "row"]
    assert titles[: rows[0]] == HEADLINE


def test_every_panel_asks_the_source_that_is_provisioned() -> None:
    folder = HOME / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    used = [part["datasource"] for panel in panels() for part in (panel, *panel["targets"])]
    used += [variable["datasource"] for variable in board()["templating"]["list"]]
    assert {(one["type"], one["uid"]) for one in used} == {(source["type"], source["uid"])}


def test_the_dashboard_is_where_grafana_looks_for_it() -> None:
    file = HOME / "grafana" / "provisioning" / "dashboards" / "setpoint.yaml"
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    services = yaml.safe_load((HOME.parent / "compose.yaml").read_text("utf-8"))["services"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    folder = {target: source for source, target in mounts.items()}[provider["options"]["path"]]
    assert (HOME.parent / folder / FILE.name).samefile(FILE)


def test_panels_ask_for_what_the_service_exports_or_a_rule_records() -> None:
    known, made = exported(), recorded()
    asked = [one for expression in expressions() for one in selectors(expression)]
    assert len(asked) > 20
    for name, labels in asked:
        if name not in made and name != BY_PROMETHEUS:
            assert name in known, name
            assert labels <= known[name] | BY_TARGET, f"{name}: {labels}"


def test_variables_are_declared_and_used() -> None:
    declared = {variable["name"] for variable in board()["templating"]["list"]}
    text = " ".join(expressions())
    assert all(f"${name}" in text for name in declared)
    assert text.count("$") == sum(text.count(f"${name}") for name in declared)


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="there is no promtool: infra/ci/install-tools.sh installs it (Debian's prometheus)",
)
def test_every_expression_is_promql(tmp_path: Path) -> None:
    asked = [{"record": f"panel:{i}", "expr": e} for i, e in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    groups = [{"name": "panels", "rules": asked}]
    file.write_text(yaml.safe_dump({"groups": groups}), "utf-8")
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout
