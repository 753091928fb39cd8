"""A stop by a person takes effect at once, outlives releases, and is in the ledger."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from setpoint.adapters.mlflow_registry import GATED_AGAINST
from setpoint.domain.bundle import read_bundle
from setpoint.domain.findings import Outcome, Verdict
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.rollout import Stage
from setpoint.errors import ReleaseError, StateError
from setpoint.stages import oversight, release, respond
from setpoint.stages.fallback import FALLBACK, RULE, identity
from setpoint.stages.traffic import stops
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.serving.tiny import make_bundle
from tests.stages.releasing import ROLLS_BACK, looked, replaced
from tests.stages.small import T0, serve
from tests.tampering import attack

Made = tuple[Workspace, FakeRouter, FakeRuntime]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """``v2`` serves and ``v1`` did before it, ``v3`` is the rule, ``v4`` may be released."""
    found = replaced(tmp_path, ROLLS_BACK + "fallback: {column: x, above: 0.5}\n")
    workspace = found[0]
    rule = workspace.project.rule()
    assert rule is not None
    run = workspace.registry.log_run(parameters={}, metrics={}, tags={}, files={})
    tags = {RULE: rule.label, FALLBACK: identity(workspace, rule)}
    for version, own in (("v3", tags), ("v4", {"gates": "passed", GATED_AGAINST: "v2"})):
        assert workspace.registry.register(run, Path("pending"), own) == version
        bundle = read_bundle(make_bundle(workspace.bundle(version), version, sign=workspace.sign))
        workspace.registry.tag(version, "bundle_digest", bundle.digest)
    return found


def _weights(router: FakeRouter) -> dict[str, int]:
    plan = router.current()
    assert plan is not None
    return {version: weight for version, weight in plan.weights.items() if weight}


def test_stopping_everything_lets_the_rule_answer_until_it_is_resumed(made: Made) -> None:
    workspace, router, _ = made
    oversight.stop(workspace, "all", "ann", "attack")
    assert _weights(router) == {"v3": 100}
    assert workspace.champion() == "v2"
    oversight.resume(workspace, "all", "bob", "over")
    assert _weights(router) == {"v2": 100}
    entries = workspace.state.ledger()[-2:]
    told = [(e.kind, e.evidence["person"], e.evidence["note"]) for e in entries]
    assert told == [("stopped", "ann", "attack"), ("resumed", "bob", "over")]


def test_where_no_rule_is_declared_not_everything_can_be_stopped(made: Made) -> None:
    workspace, router, _ = made
    bare = replace(workspace, project=workspace.project.model_copy(update={"fallback": None}))
    bare.__dict__.update(router=router, runtime=workspace.runtime)
    before = router.current()
    with pytest.raises(ReleaseError, match="the project file declares no fallback"):
        oversight.stop(bare, "all", "ann", "attack")
    assert router.current() == before and not stops(workspace)


def test_for_a_stopped_champion_the_last_good_version_answers(made: Made) -> None:
    workspace, router, _ = made
    looked(workspace, 0, Outcome.PASSED)
    assert oversight.stop(workspace, "v2", "ann", "biased").stand_in == "v1"
    assert _weights(router) == {"v1": 100}


def test_where_no_version_is_good_the_rule_answers_for_the_champion(made: Made) -> None:
    workspace, router, _ = made
    assert oversight.stop(workspace, "v2", "ann", "biased").stand_in == "v3"
    assert _weights(router) == {"v3": 100}


def test_a_stopped_challenger_gets_no_traffic_and_its_release_goes_on_no_more(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.releasing import _heed_stops

    workspace, router, _ = made
    monkeypatch.setattr(release, "read_counts", lambda _: None)  # nothing listens there
    begun = release.begin(workspace, "v4", "manual", "a run")
    canary = replace(begun, stage=Stage.CANARY, step=1)
    workspace.state.save_release(canary)
    release.enact(workspace, canary)
    assert _weights(router)["v4"]
    oversight.stop(workspace, "v4", "ann", "biased")
    assert _weights(router) == {"v2": 100}
    release.enact(workspace, canary)
    assert _weights(router) == {"v2": 100}
    with pytest.raises(ReleaseError, match="v4 stopped by ann: biased"):  # which rolls it back
        _heed_stops(workspace, canary)


def test_who_stands_in_for_the_champion_can_be_stopped_too_and_hands_nothing_back(
    made: Made,
) -> None:
    workspace, router, _ = made
    looked(workspace, 0, Outcome.PASSED)
    oversight.stop(workspace, "v2", "ann", "biased")
    assert oversight.stop(workspace, "v1", "ann", "biased too").stand_in == "v3"
    assert _weights(router) == {"v3": 100}
    before = stops(workspace)
    with pytest.raises(ReleaseError, match=r"nothing can stand in: .*it is what is to be stopped"):
        oversight.stop(workspace, "v3", "ann", "the rule as well")
    assert stops(workspace) == before and _weights(router) == {"v3": 100}


def test_for_a_challenger_who_answers_for_a_stopped_champion_stands_in(made: Made) -> None:
    workspace, _, _ = made
    looked(workspace, 0, Outcome.PASSED)
    oversight.stop(workspace, "v2", "ann", "biased")
    assert oversight.stop(workspace, "v4", "ann", "biased").stand_in == "v1"


def test_two_people_who_stop_at_once_are_both_heard_and_both_in_the_ledger(made: Made) -> None:
    workspace, router, _ = made
    together = Barrier(2)

    def order(scope: str) -> None:
        together.wait()
        oversight.stop(workspace, scope, f"ann of {scope}", "biased")

    for _ in range(3):
        with ThreadPoolExecutor(2) as people:
            list(people.map(order, ["v4", "v1"]))
        assert {one.scope for one in stops(workspace)} == {"v1", "v4"}
        for scope in ("v1", "v4"):
            oversight.resume(workspace, scope, "bob", "over")
    told = [e.evidence["scope"] for e in workspace.state.ledger() if e.kind == "stopped"]
    assert sorted(told) == ["v1"] * 3 + ["v4"] * 3
    assert _weights(router) == {"v2": 100}


def test_a_stop_that_comes_between_is_kept_and_who_stands_in_is_chosen_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _, _ = made
    looked(workspace, 0, Outcome.PASSED)  # v1 is good
    choose, first = oversight._stand_in, []

    def chosen(where: Workspace, scope: str) -> str:
        found = choose(where, scope)
        if scope == "v2" and not first:
            first.append(found)
            oversight.stop(where, "v1", "bob", "biased too")
        return found

    monkeypatch.setattr(oversight, "_stand_in", chosen)
    made_stop = oversight.stop(workspace, "v2", "ann", "biased")
    assert (first, made_stop.stand_in) == (["v1"], "v3")
    assert [one.scope for one in stops(workspace)] == ["v1", "v2"]


def test_one_of_two_who_resume_the_same_is_told_that_it_is_not_stopped(made: Made) -> None:
    workspace, _, _ = made
    oversight.stop(workspace, "v4", "ann", "biased")

    def order(person: str) -> bool:
        try:
            oversight.resume(workspace, "v4", person, "over")
        except StateError as err:
            assert "v4 is not stopped" in err.what
            return False
        return True

    with ThreadPoolExecutor(2) as people:
        assert sorted(people.map(order, ["ann", "bob"])) == [False, True]
    assert [e.kind for e in workspace.state.ledger()].count("resumed") == 1


def test_a_stopped_version_is_not_released(made: Made) -> None:
    workspace, _, _ = made
    oversight.stop(workspace, "v4", "ann", "biased")
    with pytest.raises(ReleaseError, match="v4 stopped by ann: biased"):
        release.begin(workspace, "v4", "manual", "a run")
    oversight.resume(workspace, "v4", "ann", "it was not")
    assert release.begin(workspace, "v4", "manual", "a run").challenger == "v4"


def test_while_everything_is_stopped_no_incident_is_responded_to(made: Made) -> None:
    workspace, _, _ = made
    fresh = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v2", ())
    incident, _ = workspace.state.open_incident(fresh)
    oversight.stop(workspace, "all", "ann", "attack")
    assert respond.take(workspace, incident.id, "a run") is None
    oversight.resume(workspace, "all", "ann", "over")
    assert respond.take(workspace, incident.id, "a run") is not None


def test_a_stop_that_the_gateway_did_not_take_is_put_in_force_by_the_next_sweep(
    made: Made,
) -> None:
    workspace, router, _ = made
    router.refuse = frozenset({"v3"})
    with pytest.raises(ReleaseError, match="does not answer"):
        oversight.stop(workspace, "all", "ann", "attack")
    assert _weights(router) == {"v2": 100}
    router.refuse = frozenset()
    assert oversight.enforce(workspace) and _weights(router) == {"v3": 100}
    assert not oversight.enforce(workspace)


def test_a_stand_in_is_not_stopped_with_the_release_that_ends(made: Made) -> None:
    workspace, router, runtime = made
    looked(workspace, 0, Outcome.PASSED)
    begun = release.begin(workspace, "v4", "manual", "a run")
    oversight.stop(workspace, "v2", "ann", "biased")
    done = replace(begun, stage=Stage.PROMOTED)
    release.enact(workspace, done)
    release.settle(workspace, done, Verdict())
    assert _weights(router) == {"v4": 100} and "v1" in runtime.endpoints()


def test_no_place_but_the_ledger_ends_a_stop(made: Made) -> None:
    workspace, _, _ = made
    oversight.stop(workspace, "v2", "ann", "attack")
    with closing(sqlite3.connect(workspace.state.path)) as db, db:
        db.execute("DELETE FROM facts")
    assert [one.scope for one in stops(workspace)] == ["v2"]
    workspace.state.record(T0, "resumed", "small/v2", {"scope": "v2"})
    attack(workspace.state.path, "UPDATE ledger SET signature = '' WHERE kind = 'resumed'")
    assert [one.scope for one in stops(workspace)] == ["v2"], "nobody signed its end"


@pytest.mark.parametrize("scope", ["v9", "everything"])
def test_what_is_not_there_is_not_stopped(made: Made, scope: str) -> None:
    with pytest.raises(StateError, match="there is no version"):
        oversight.stop(made[0], scope, "ann", "why")


def test_a_person_overrides_a_decision_and_what_was_answered_stays(made: Made) -> None:
    workspace, _, _ = made
    serve(workspace, T0, rows=1)
    entry = oversight.override(workspace, "d0", "review", "ann", "she called")
    assert (entry.kind, entry.subject) == ("overridden", "small/d0")
    assert (entry.evidence["was"], entry.evidence["action"]) == ("approve", "review")
    assert workspace.decisions.find(["d0"])["d0"].action == "approve"
    assert oversight.overridden(workspace, "d0") == "review"
    with pytest.raises(StateError, match="d0 is review and cannot become review"):
        oversight.override(workspace, "d0", "review", "ann", "again")
    with pytest.raises(StateError, match="cannot become refund"):
        oversight.override(workspace, "d0", "refund", "ann", "why")
    with pytest.raises(StateError, match="there is no served decision"):
        oversight.override(workspace, "d7", "review", "ann", "why")
