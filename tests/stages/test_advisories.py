"""Known weaknesses of packages keep a candidate out, and a file that says nothing does too."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.mlflow_registry import Registry
from setpoint.config.gates import Dependencies
from setpoint.domain.findings import Outcome
from setpoint.stages import supply
from setpoint.stages.gates.advisories import advisories_findings
from setpoint.stages.gates.case import Case
from setpoint.stages.gates.run import GATES, _undeclared
from setpoint.workspace import Workspace
from tests.stages.small import make_workspace

NUMPY = next(one for one in supply.packages_of(supply.lock_of("image")) if one.name == "numpy")


def _record(version: str) -> dict[str, Any]:
    affected = {"package": {"ecosystem": "PyPI", "name": "numpy"}, "versions": [version]}
    now = datetime.now(UTC).isoformat()
    return {"id": "TEST-1", "aliases": ["CVE-1"], "modified": now, "affected": [affected]}


def _case(workspace: Workspace, **rule: Any) -> Case:
    """A candidate of a project that has its packages looked at, and nothing else."""
    gates = workspace.project.gates.model_copy(update={"dependencies": Dependencies(**rule)})
    project = workspace.project.model_copy(update={"gates": gates})
    nothing: Any = None
    return Case(replace(workspace, project=project), nothing, nothing, nothing, "manual")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def _advise(workspace: Workspace, *records: dict[str, Any]) -> None:
    file = workspace.project_file.parent / "osv.json"
    file.write_text(json.dumps(records), "utf-8")


def test_a_locked_package_with_a_known_weakness_is_refused_by_name(workspace: Workspace) -> None:
    _advise(workspace, _record(NUMPY.version))
    found = advisories_findings(_case(workspace, advisories="osv.json"))
    assert [(f.slice, f.outcome, f.value) for f in found] == [
        ("environment", Outcome.FAILED, 1.0),
        ("image", Outcome.FAILED, 1.0),
    ]
    assert all(f"numpy {NUMPY.version}: TEST-1" in f.reason for f in found)


def test_packages_that_nothing_is_known_against_pass_with_their_number(
    workspace: Workspace,
) -> None:
    _advise(workspace, _record("0.1"))
    found = advisories_findings(_case(workspace, advisories="osv.json"))
    assert all(f.outcome == Outcome.PASSED and f.sample > 10 for f in found) and len(found) == 2


@pytest.mark.parametrize("name", ["TEST-1", "CVE-1"])
def test_a_weakness_that_is_put_up_with_is_counted_and_refuses_nothing(
    workspace: Workspace, name: str
) -> None:
    _advise(workspace, _record(NUMPY.version))
    found = advisories_findings(_case(workspace, advisories="osv.json", allow=(name,)))
    assert all(f.outcome == Outcome.PASSED and "1 put up with" in f.reason for f in found)


def test_a_file_that_is_missing_or_old_keeps_the_gate_shut(workspace: Workspace) -> None:
    for records in ([], [_record("0.1") | {"modified": "2020-01-01T00:00:00Z"}]):
        if records:
            _advise(workspace, *records)
        found = advisories_findings(_case(workspace, advisories="osv.json"))
        assert [f.outcome for f in found] == [Outcome.ERROR] * 2


def test_where_no_file_is_declared_the_verdict_says_so(workspace: Workspace) -> None:
    assert advisories_findings(_case(workspace)) == []
    assert advisories_findings in GATES
    told = dict(_undeclared(_case(workspace), [advisories_findings]))
    assert told == {"advisories": "gates.dependencies.advisories names no file"}


def test_the_bills_of_both_parts_are_kept_with_a_version(workspace: Workspace) -> None:
    registry: Registry = workspace.registry
    run = registry.log_run(parameters={}, metrics={}, tags={}, files={})
    version = registry.register(run, Path("pending"), {})
    supply.keep_bills(workspace, version, datetime.now(UTC))
    for part in supply.PARTS:
        text = registry.read_attached(version, f"{supply.BILLS}/{part}.cdx.json")
        names = {one["name"] for one in json.loads(text)["components"]}
        assert names == {one.name for one in supply.packages_of(supply.lock_of(part))}
