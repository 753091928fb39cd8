"""A release that is killed anywhere is brought to its end, and to one end only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import CHALLENGER, CHAMPION, GATED_AGAINST
from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.rollout import Rollout, Stage
from setpoint.errors import ReleaseError, StateError
from setpoint.stages import release, traffic
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.releasing import left_by_a_dead_run, replaced, two_versions

Made = tuple[Workspace, FakeRouter, FakeRuntime]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return two_versions(tmp_path)


def _nothing(_: Workspace, __: Rollout) -> None:
    """Killed before production was changed."""


def _traffic(workspace: Workspace, rollout: Rollout) -> None:
    """Killed when the traffic had moved."""
    release.enact(workspace, rollout)


def _alias(workspace: Workspace, rollout: Rollout) -> None:
    """Killed when the alias had moved too."""
    release.enact(workspace, rollout)
    winner = rollout.challenger if rollout.stage == Stage.PROMOTED else "v1"
    workspace.registry.point(CHAMPION, winner)


def _all(workspace: Workspace, rollout: Rollout) -> None:
    """Killed after the last line."""
    release.enact(workspace, rollout)
    release.settle(workspace, rollout, Verdict())


@pytest.mark.parametrize("done", [_nothing, _traffic, _alias, _all])
@pytest.mark.parametrize(("stage", "winner"), [(Stage.PROMOTED, "v2"), (Stage.ROLLED_BACK, "v1")])
def test_a_release_killed_at_its_end_is_settled_by_the_next_run(
    made: Made, stage: Stage, winner: str, done: Callable[[Workspace, Rollout], None]
) -> None:
    workspace, router, runtime = made
    rollout = left_by_a_dead_run(workspace, stage)
    done(workspace, rollout)
    for unsettled in workspace.state.unsettled_releases():
        release.enact(workspace, unsettled)
        release.settle(workspace, unsettled, Verdict())
    plan = router.current()
    assert plan is not None and plan.weights == {winner: 100}
    assert workspace.champion() == winner
    assert workspace.registry.version_of(CHALLENGER) is None
    assert set(runtime.endpoints()) == {winner}
    assert workspace.state.unsettled_releases() == []
    assert [e.kind for e in workspace.state.ledger()] == [str(stage)]


@pytest.mark.parametrize("done", [_nothing, _traffic, _alias, _all])
def test_a_roll_back_killed_at_its_end_is_settled_by_the_next_run(
    tmp_path: Path, done: Callable[[Workspace, Rollout], None]
) -> None:
    workspace, router, runtime = replaced(tmp_path)
    begun = release.begin(workspace, "v1", "small-1", "a run", instead_of="v2")
    before = router.current()
    release.enact(workspace, begun)
    assert router.current() == before and set(runtime.endpoints()) == {"v1", "v2"}
    there = begun.advance(Outcome.PASSED)
    workspace.state.save_release(there)
    done(workspace, there)
    for unsettled in workspace.state.unsettled_releases():
        release.enact(workspace, unsettled)
        release.settle(workspace, unsettled, Verdict())
    in_force = router.current()
    assert in_force is not None and in_force.weights == {"v1": 100}
    assert workspace.champion() == "v1" and set(runtime.endpoints()) == {"v1"}
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.subject, entry.evidence["cause"]) == (
        "roll_back",
        "small/v1",
        "small-1",
    )
    assert [r.challenger for r in workspace.state.promoted_releases()] == ["v1", "v2", "v1"]


def test_a_roll_back_whose_champion_was_replaced_meanwhile_changes_nothing(tmp_path: Path) -> None:
    workspace, router, runtime = replaced(tmp_path)
    before = router.current()
    with pytest.raises(ReleaseError, match="to replace v3, in service is v2"):
        release.begin(workspace, "v1", "small-1", "a run", instead_of="v3")
    assert router.current() == before and set(runtime.endpoints()) == {"v2"}
    assert workspace.state.unsettled_releases() == []


def test_a_killed_release_goes_on_under_another_run_at_the_step_it_was_in(made: Made) -> None:
    workspace, _, _ = made
    left_by_a_dead_run(workspace, Stage.CANARY, step=1, cause="small-1")
    again = release.begin(workspace, "v2", "manual", "another")
    assert (again.label, again.run, again.attempts) == ("canary 100 %", "another", 2)
    assert again.cause == "small-1"


def test_only_one_version_is_released_at_a_time(made: Made) -> None:
    workspace, _, _ = made
    left_by_a_dead_run(workspace, Stage.CANARY)
    with pytest.raises(ReleaseError, match="v2 is being released"):
        release.begin(workspace, "v3", "manual", "another")


def test_what_is_in_service_is_not_released_again(made: Made) -> None:
    workspace, _, _ = made
    with pytest.raises(ReleaseError, match="v1 is in service already"):
        release.begin(workspace, "v1", "manual", "a run")


def test_a_version_that_was_compared_with_another_champion_is_not_released(made: Made) -> None:
    workspace, router, _ = made
    workspace.registry.tag("v2", GATED_AGAINST, "v0")
    with pytest.raises(ReleaseError, match="compared it with v0, in service is v1"):
        release.begin(workspace, "v2", "manual", "a run")
    assert workspace.state.unsettled_releases() == [] and router.current() is None
    assert [e.kind for e in workspace.state.ledger()] == ["rolled_back"]


def test_a_registry_that_lost_the_champion_is_no_first_release(made: Made) -> None:
    workspace, _, _ = made
    workspace.registry.point(CHAMPION, None)
    with pytest.raises(StateError, match="v1 was promoted"):
        release.begin(workspace, "v2", "manual", "a run")


def test_a_version_without_a_digest_of_its_bundle_is_not_started(made: Made) -> None:
    workspace, _, runtime = made
    run = workspace.registry.log_run(parameters={}, metrics={}, tags={}, files={})
    version = workspace.registry.register(run, Path("pending"), {})
    workspace.registry.tag(version, GATED_AGAINST, "v1")
    with pytest.raises(StateError, match="no digest"):
        release.begin(workspace, version, "manual", "a run")
    assert version not in runtime.endpoints() and workspace.state.unsettled_releases() == []


def test_under_a_plan_only_versions_with_a_share_may_answer(made: Made) -> None:
    workspace, router, _ = made
    rollout = left_by_a_dead_run(workspace, Stage.PROMOTED)
    release.enact(workspace, rollout)
    plan = router.current()
    assert plan is not None
    assert traffic.planned(workspace, plan.id) == {"v2"}
    assert traffic.planned(workspace, "never was") == set()
