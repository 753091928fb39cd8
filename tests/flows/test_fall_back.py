"""A cause that is answered by the declared rule, against a real Prefect server."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import GATED_AGAINST
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.stages.fallback import FALLBACK, RULE, identity
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.serving.tiny import make_bundle
from tests.stages.releasing import two_versions
from tests.stages.small import PROJECT, T0

pytestmark = pytest.mark.usefixtures("prefect_server")

TEXT = PROJECT + "fallback: {column: x, above: 0.5}\nrespond: {performance: fall_back}\n"
BROKEN = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
Made = tuple[Workspace, FakeRouter, FakeRuntime]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """``v1`` is in service, ``v2`` is a model that its gates let through, ``v3`` is the rule."""
    found = two_versions(tmp_path, TEXT)
    workspace = found[0]
    rule = workspace.project.rule()
    assert rule is not None
    run = workspace.registry.log_run(parameters={}, metrics={}, tags={}, files={})
    tags = {RULE: rule.label, FALLBACK: identity(workspace, rule)}
    version = workspace.registry.register(run, Path("pending"), tags)
    bundle = read_bundle(make_bundle(workspace.bundle(version), version, sign=workspace.sign))
    workspace.registry.tag(version, "bundle_digest", bundle.digest)
    for flow in ("respond", "release", "sweep"):
        monkeypatch.setattr(f"flows.{flow}.open_workspace", lambda: workspace)
    return found


def _opened(workspace: Workspace) -> Incident:
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", (BROKEN,))
    return workspace.state.open_incident(incident)[0]


def test_the_rule_takes_all_traffic_in_one_switch_and_a_person_is_asked(made: Made) -> None:
    from flows.respond import respond

    workspace, router, runtime = made
    plans = len(router.plans)
    incident = _opened(workspace)
    state = respond(incident.id, return_state=True)
    assert state.is_failed() and state.name == "NeedsPerson"
    assert [plan.weights for plan in router.plans[plans:]] == [{"v3": 100}]
    assert set(runtime.endpoints()) == {"v3"} and workspace.champion() == "v3"
    after = workspace.state.incident(incident.id)
    assert after.status == Status.NEEDS_PERSON
    assert "the fallback rule serves as v3 until a model is promoted over it" in after.note
    [entry] = [e for e in workspace.state.ledger() if e.kind == "fell_back"]
    assert (entry.evidence["cause"], entry.evidence["champion"]) == (incident.id, "v1")


def test_a_rule_that_does_not_start_leaves_the_champion_and_asks_a_person(made: Made) -> None:
    from flows.respond import respond

    workspace, router, runtime = made
    runtime.broken = frozenset({"v3"})
    incident = _opened(workspace)
    assert respond(incident.id, return_state=True).name == "NeedsPerson"
    after = workspace.state.incident(incident.id)
    assert "the fallback rule, v3, did not take over" in after.note
    assert workspace.champion() == "v1"
    assert not [plan for plan in router.plans if plan.weights.get("v3")]


def test_a_model_is_released_over_the_rule_and_the_rule_is_never_rolled_back_to(made: Made) -> None:
    from flows.release import release
    from flows.respond import respond
    from setpoint.domain.rollout import served_before

    workspace, _, _ = made
    respond(_opened(workspace).id, return_state=True)
    promoted = workspace.state.promoted_releases()
    assert served_before(promoted, "v2") == []
    assert release("v3", return_state=True).name == "Refused"
    workspace.registry.tag("v2", GATED_AGAINST, "v3")
    from setpoint.stages import release as stage

    begun = stage.begin(workspace, "v2", "manual", "a run")
    assert begun.champion == "v3" and not begun.back
