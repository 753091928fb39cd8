"""What PromQL expressions ask for, and what there is to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from setpoint.ports import Decision
from setpoint.serving.metrics import Metrics

ROOT = Path(__file__).parents[2]
HOME = ROOT / "infra" / "compose"
RULES = HOME / "prometheus" / "rules.yml"
BY_PROMETHEUS = "up"
"""The series that Prometheus makes of every target."""
BY_TARGET = {"job", "instance", "version"}
"""Labels that Prometheus gives every sample of a target; ``version`` is in the targets' file."""
_WORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "offset"}


def rules() -> Iterator[dict[str, Any]]:
    """All rules, in the order in which they are evaluated."""
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]:
        yield from group["rules"]


def recorded() -> dict[str, str]:
    """Expression by name of all that a rule records."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def exported() -> dict[str, set[str]]:
    """Labels by name of the samples that a service exports that was asked and has answered."""
    metrics = Metrics("v1")
    for shadow in (False, True):
        metrics.answered("decisions", 200, 0.01, shadow=shadow)
        at = datetime(2026, 2, 1, tzinfo=UTC)
        metrics.decided(Decision("d", at, {}, {}, 0.2, 0.5, "approve", (), "v1", "", shadow))
    metrics.refused("type")
    metrics.stood_in("v2")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Name and matched labels of every series that an expression reads."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    plain = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", plain)
    plain = re.sub(r"\[[^\]]*\]", "", plain)
    pattern = r"(?<![\w:.])([a-zA-Z_:][\w:]*)(\{[^}]*\}|\s*\()?"
    for name, rest in re.findall(pattern, plain):
        if not rest.strip().startswith("(") and name not in _WORDS:
            yield name, set(re.findall(r"(\w+)\s*[=!]", rest))
