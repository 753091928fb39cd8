"""Prometheus' rules: right by its own checker, of names that exist, the objectives' numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from setpoint.domain.features import duration_label
from setpoint.domain.slo import (
    AVAILABILITY,
    BURN_ALERTS,
    FULL,
    LATENCY,
    SLOW_SECONDS,
    Slo,
    least_answers,
)
from setpoint.serving.metrics import SECONDS
from tests.infra.promql import (
    BY_PROMETHEUS,
    BY_TARGET,
    HOME,
    exported,
    recorded,
    rules,
    selectors,
)

FOLDER = HOME / "prometheus"
PROMTOOL = shutil.which("promtool")
checked = pytest.mark.skipif(
    PROMTOOL is None,
    reason="there is no promtool: infra/ci/install-tools.sh installs it (Debian's prometheus)",
)
BURN = {
    "SetpointAvailabilityBurn": (AVAILABILITY, "failed"),
    "SetpointLatencyBurn": (LATENCY, "slow"),
}
"""Alerts by objective, and what the share of bad answers is called."""
NAME = re.compile(r"(service|version):[a-z_]+:(p99_)?[a-z]+(_rate)?(\d+[mhd])?")


def promtool(*words: str, cwd: Path = FOLDER) -> tuple[int, str]:
    """Exit code of Prometheus' checker and what it said."""
    done = subprocess.run(
        [PROMTOOL or "promtool", *words], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def burn(slo: Slo, what: str) -> dict[str, tuple[str, str]]:
    """Severity and expression of each alert on an objective, by its long window."""
    found = {}
    for alert in BURN_ALERTS:
        long, short = (duration_label(w // timedelta(seconds=1)) for w in (alert.long, alert.short))
        share = f"service:setpoint_requests_{what}:ratio_rate"
        limit = f"{alert.rate:g} * {slo.allowed:g}"
        expression = (
            f"{share}{long} > {limit} and {share}{short} > {limit} "
            f"and service:setpoint_requests:increase{long} >= "
            f"{least_answers(slo, alert.rate)}"
        )
        found[long] = (alert.severity, expression)
    return found


@checked
def test_the_configuration_is_right_by_prometheus_own_checker() -> None:
    code, said = promtool("check", "config", "prometheus.yml")
    assert code == 0, said
    assert "SUCCESS" in said


@checked
def test_the_rules_are_right_by_prometheus_own_checker() -> None:
    code, said = promtool("check", "rules", "rules.yml")
    assert code == 0, said
    assert f"{len(list(rules()))} rules found" in said


@checked
def test_a_burn_of_14_pages_and_one_of_1_does_not(tmp_path: Path) -> None:
    code, said = promtool("test", "rules", "rules.test.yml")
    assert code == 0, said


@checked
def test_a_story_fails_under_another_rate(tmp_path: Path) -> None:
    stories = yaml.safe_load((FOLDER / "rules.test.yml").read_text("utf-8"))
    stories["tests"] = stories["tests"][:1]
    (tmp_path / "rules.test.yml").write_text(yaml.safe_dump(stories), "utf-8")
    text = (FOLDER / "rules.yml").read_text("utf-8")
    (tmp_path / "rules.yml").write_text(text.replace("> 14.4 * 0.001", "> 15 * 0.001"), "utf-8")
    code, said = promtool("test", "rules", "rules.test.yml", cwd=tmp_path)
    assert code != 0 and 'exp: {alertname="SetpointAvailabilityBurn", severity="page"' in said


@pytest.mark.parametrize("name", BURN)
def test_alerts_burn_at_the_rates_of_the_objectives(name: str) -> None:
    told = {
        rule["labels"]["window"]: (rule["labels"]["severity"], rule["expr"])
        for rule in rules()
        if rule.get("alert") == name
    }
    assert told == burn(*BURN[name])


@pytest.mark.parametrize("name", BURN)
def test_an_alert_says_which_part_of_the_budget_it_means(name: str) -> None:
    slo, _ = BURN[name]
    told = [rule["annotations"]["summary"] for rule in rules() if rule.get("alert") == name]
    spent = [alert.rate * (alert.long / slo.period) for alert in BURN_ALERTS]
    assert [int(re.findall(r"(\d+) % of the month's", text)[0]) for text in told] == [
        round(100 * share) for share in spent
    ]


def test_budgets_are_those_of_the_objectives() -> None:
    for slo in (AVAILABILITY, LATENCY):
        days = slo.period // timedelta(days=1)
        expression = recorded()[f"service:setpoint_{slo.name}_budget_left:ratio{days}d"]
        assert re.findall(r"\[(\w+)\]", expression) == [f"{days}d", f"{days}d"]
        assert expression.endswith(f"/ {slo.allowed:g}")


def test_a_saturated_resource_is_one_that_is_as_full_as_the_domain_says() -> None:
    found = [rule for rule in rules() if str(rule.get("alert")).startswith("SetpointSaturated")]
    assert [float(rule["expr"].split(" > ")[1]) for rule in found] == [FULL, FULL]


def test_slow_is_what_the_objective_and_the_histogram_call_slow() -> None:
    edges = {edge for rule in rules() for edge in re.findall(r'le="([\d.]+)"', rule["expr"])}
    assert {float(edge) for edge in edges} == {SLOW_SECONDS}
    assert SLOW_SECONDS in SECONDS


def test_rules_ask_for_what_the_service_exports_or_an_earlier_rule_records() -> None:
    known = exported()
    earlier: set[str] = set()
    for rule in rules():
        for name, labels in selectors(rule["expr"]):
            if name in earlier or name == BY_PROMETHEUS:
                continue
            assert name in known, f"{rule.get('record', rule.get('alert'))}: {name}"
            assert labels <= known[name] | BY_TARGET, f"{name}: {labels}"
        earlier |= {rule["record"]} if "record" in rule else set()


def test_a_rule_is_named_by_level_metric_and_operation_and_by_its_own_window() -> None:
    names = [rule["record"] for rule in rules() if "record" in rule]
    assert len(set(names)) == len(names)
    for rule in rules():
        if "record" not in rule:
            continue
        name, expression = rule["record"], rule["expr"]
        assert NAME.fullmatch(name), name
        window = re.search(r"(\d+[mhd])$", name)
        read = set(re.findall(r"\[(\d+[mhd])\]", expression))
        if "[30d]" not in expression:  # a month is summed up of what is recorded of 5 minutes
            read |= set(re.findall(r":(?:ratio_)?rate(\d+[mhd])", expression))
        assert read <= ({window[1]} if window else set()), name


def test_every_alert_says_how_urgent_it_is_and_what_is_wrong() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
