"""A step is judged on the decisions of its time, from the log, beside the champion's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from setpoint.adapters.scoring_metrics import ServiceCounts
from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.rollout import Period, Rollout, Stage, Strategy, plan
from setpoint.errors import PlatformError, ReleaseError
from setpoint.ports import Decision, Endpoint, Label
from setpoint.stages import judging, release
from setpoint.stages.judging import Judge, Looks, keep_looks, looks_before
from setpoint.stages.release import Begun
from setpoint.workspace import StreamClock, Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.releasing import two_versions
from tests.stages.small import PROJECT, T0, make_workspace

POLICY = """\
release:
  step_requests: 40
  shadow_requests: 60
  experiment: {min_outcomes: 100, planned: 600, every: 1h, longest: 20d, floor: 10}
"""
LATER = T0 + timedelta(days=5)
BASE = ServiceCounts(0, 0, 0, 0, 1.0)


class Counts:
    """What the services count: as many as told, or nothing at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_port: dict[int, ServiceCounts] = {}
        monkeypatch.setattr(judging, "read_counts", self.read)

    def read(self, endpoint: Endpoint) -> ServiceCounts:
        return self.by_port.get(endpoint.port, ServiceCounts(1000, 0, 0, 0, 1.0))


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    return Counts(monkeypatch)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    runtime = FakeRuntime()
    made = replace(make_workspace(tmp_path, PROJECT + POLICY), replay=True)
    made.__dict__.update(router=FakeRouter(), runtime=runtime)
    for version in ("v1", "v2"):
        runtime.start(version, made.bundle(version))
    StreamClock(made.state).advance(LATER)
    monkeypatch.setattr(Judge, "_expected_alerts", 0.02)
    return made


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same with a registry that knows both versions."""
    known, router, runtime = two_versions(tmp_path, PROJECT + POLICY)
    made = replace(known, replay=True)
    made.__dict__.update(router=router, runtime=runtime)
    StreamClock(made.state).advance(LATER)
    monkeypatch.setattr(release, "read_counts", lambda _: BASE)
    return made


def _decide(
    workspace: Workspace,
    version: str,
    ids: Iterable[int],
    *,
    at: datetime = T0,
    score: float = 0.2,
    shadow: bool = False,
) -> None:
    made = [
        Decision(
            id=f"d{i}",
            event_time=at + timedelta(seconds=i),
            request={"sex": "f" if i % 2 else "m", "x": 1.0},
            features={"x": 1.0},
            score=score,
            threshold=0.5,
            action="review" if score >= 0.5 else "approve",
            reasons=(),
            version=version,
            bundle_digest="0" * 64,
            shadow=shadow,
        )
        for i in ids
    ]
    workspace.decisions.append(made)


def _at(stage: Stage, strategy: Strategy = "canary", **more: object) -> Rollout:
    steps = plan(strategy, shadowing=True, steps=(50, 100))
    step = next((i for i, s in enumerate(steps) if s.stage == stage), 0)
    periods = (Period(T0, 50),) if stage in (Stage.AB, Stage.BANDIT) else ()
    return Rollout("v2", "v1", steps, stage, step, periods, **more)  # type: ignore[arg-type]


def _judge(workspace: Workspace, rollout: Rollout) -> Judge:
    return Judge(workspace, Begun(rollout, T0, {"v1": BASE, "v2": BASE}))


def _of(verdict: Verdict, name: str) -> Finding:
    return next(f for f in verdict if f.name == name)


@pytest.mark.usefixtures("counts")
def test_a_shadow_counts_only_rows_that_both_decided(workspace: Workspace) -> None:
    _decide(workspace, "v1", range(60))
    _decide(workspace, "v2", range(30, 90), shadow=True)
    judge = _judge(workspace, _at(Stage.SHADOW))
    verdict = judge.look()
    assert (_of(verdict, "pairs").value, verdict.outcome) == (30, Outcome.INCONCLUSIVE)
    _decide(workspace, "v2", range(30), shadow=True)
    assert judge.look().outcome == Outcome.PASSED


def test_a_shadow_passes_though_the_log_holds_more_than_was_mirrored_since(
    workspace: Workspace, counts: Counts
) -> None:
    challenger = workspace.runtime.endpoints()["v2"].port
    counts.by_port[challenger] = replace(BASE, requests=70)
    _decide(workspace, "v1", range(80))
    _decide(workspace, "v2", range(80), shadow=True)
    assert _judge(workspace, _at(Stage.SHADOW)).look().outcome == Outcome.PASSED


@pytest.mark.usefixtures("counts")
def test_a_shadow_that_acts_otherwise_is_refused_with_the_segment(workspace: Workspace) -> None:
    _decide(workspace, "v1", range(200))
    _decide(workspace, "v2", range(200), shadow=True, score=0.9)
    failed = {f.label for f in _judge(workspace, _at(Stage.SHADOW)).look() if not f.passed}
    assert {"action_flips", "action_flips[sex=f]", "score_difference"} <= failed


@pytest.mark.usefixtures("counts")
def test_a_canary_is_compared_with_the_champion_of_the_same_time(workspace: Workspace) -> None:
    _decide(workspace, "v1", range(100), at=T0 - timedelta(days=1), score=0.9)
    _decide(workspace, "v1", range(100, 160), score=0.2)
    _decide(workspace, "v2", range(200, 260), score=0.25)
    verdict = _judge(workspace, _at(Stage.CANARY)).look()
    assert verdict.outcome == Outcome.PASSED
    assert _of(verdict, "score_shift").value == pytest.approx(0.05)


@pytest.mark.usefixtures("counts")
@pytest.mark.parametrize("n", [0, 1, 39])
def test_low_traffic_is_inconclusive(workspace: Workspace, n: int) -> None:
    _decide(workspace, "v1", range(60))
    _decide(workspace, "v2", range(100, 100 + n))
    assert _judge(workspace, _at(Stage.CANARY)).look().outcome == Outcome.INCONCLUSIVE


@pytest.mark.usefixtures("counts")
def test_a_canary_whose_champion_decided_nothing_is_inconclusive(workspace: Workspace) -> None:
    _decide(workspace, "v2", range(60))
    assert _judge(workspace, _at(Stage.CANARY)).look().outcome == Outcome.INCONCLUSIVE


@pytest.mark.usefixtures("counts")
def test_at_100_percent_the_champion_of_the_time_before_is_compared_with(
    workspace: Workspace,
) -> None:
    _decide(workspace, "v1", range(60), at=T0 - timedelta(hours=3), score=0.9)
    _decide(workspace, "v2", range(100, 400), score=0.1)
    whole = Rollout("v2", "v1", plan("blue_green", shadowing=False), Stage.CANARY)
    verdict = _judge(workspace, whole).look()
    assert _of(verdict, "action_shift").outcome == Outcome.FAILED


@pytest.mark.usefixtures("counts")
def test_a_step_that_is_kept_warm_does_not_end(workspace: Workspace) -> None:
    _decide(workspace, "v1", range(60))
    _decide(workspace, "v2", range(100, 160))
    assert _judge(workspace, _at(Stage.CANARY)).look(held=True).outcome == Outcome.INCONCLUSIVE


def test_what_the_champion_answered_in_its_place_counts_against_a_challenger(
    workspace: Workspace, counts: Counts
) -> None:
    champion = workspace.runtime.endpoints()["v1"].port
    challenger = workspace.runtime.endpoints()["v2"].port
    counts.by_port[champion] = replace(BASE, requests=500, stood_in={"v2": 6, "v0": 40})
    counts.by_port[challenger] = BASE
    verdict = _judge(workspace, _at(Stage.CANARY)).look()
    assert _of(verdict, "failed_answers").outcome == Outcome.FAILED
    assert _of(verdict, "failed_answers").sample == 6


def test_a_service_that_does_not_answer_is_an_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: Endpoint) -> ServiceCounts:
        raise PlatformError("gone", where="v2", fix="start it")

    monkeypatch.setattr(judging, "read_counts", silent)
    assert _judge(workspace, _at(Stage.CANARY)).look().outcome == Outcome.ERROR


def _experiment(workspace: Workspace, missed: float, missed_by_challenger: float) -> None:
    """Decisions of both versions, a tenth bad; of those, shares are missed at a cost of 5."""
    rng = np.random.default_rng(4)
    labels = []
    for version, first, share in (("v1", 0, missed), ("v2", 10_000, missed_by_challenger)):
        bad = rng.random(1500) < 0.3
        caught = bad & (rng.random(1500) >= share)
        ids = np.arange(first, first + 1500)
        _decide(workspace, version, ids[~caught].tolist(), score=0.2)
        _decide(workspace, version, ids[caught].tolist(), score=0.9)
        known = T0 + timedelta(days=1)
        labels += [Label(f"d{i}", int(b), known) for i, b in zip(ids, bad, strict=True)]
    workspace.decisions.add_labels(labels)


@pytest.mark.usefixtures("counts")
@pytest.mark.parametrize(
    ("missed", "by_challenger", "outcome"),
    [(0.9, 0.1, Outcome.PASSED), (0.1, 0.9, Outcome.FAILED)],
)
def test_an_ab_test_is_decided_by_what_decisions_cost(
    workspace: Workspace, missed: float, by_challenger: float, outcome: Outcome
) -> None:
    _experiment(workspace, missed, by_challenger)
    found = _of(_judge(workspace, _at(Stage.AB, "ab")).look(), "saving")
    assert (found.outcome, found.sample) == (outcome, 3000)


@pytest.mark.usefixtures("counts")
def test_outcomes_before_the_experiment_and_of_other_versions_do_not_count(
    workspace: Workspace,
) -> None:
    _experiment(workspace, 0.9, 0.1)
    late = replace(_at(Stage.AB, "ab"), periods=(Period(T0 + timedelta(days=2), 50),))
    assert _of(_judge(workspace, late).look(), "saving").sample == 0
    other = replace(_at(Stage.AB, "ab"), champion="v0")
    assert _of(_judge(workspace, other).look(), "saving").value is None


@pytest.mark.usefixtures("counts")
def test_outcomes_younger_than_their_labels_take_do_not_count(workspace: Workspace) -> None:
    _experiment(workspace, 0.9, 0.1)
    fresh = replace(workspace, replay=True)
    fresh.__dict__.update(workspace.__dict__)
    fresh.__dict__["state"].remember("stream_clock", (T0 + timedelta(hours=20)).isoformat())
    assert _of(_judge(fresh, _at(Stage.AB, "ab")).look(), "saving").sample == 0


@pytest.mark.usefixtures("counts")
def test_a_canary_is_refused_for_costs_where_labels_are_in(workspace: Workspace) -> None:
    _experiment(workspace, 0.1, 0.9)
    found = _of(_judge(workspace, _at(Stage.CANARY)).look(), "saving")
    assert found.outcome == Outcome.FAILED


@pytest.mark.usefixtures("counts")
def test_a_bandits_next_share_follows_the_money(workspace: Workspace) -> None:
    _experiment(workspace, 0.6, 0.3)
    assert _judge(workspace, _at(Stage.BANDIT, "bandit")).next_share() == 90


@pytest.mark.usefixtures("counts")
def test_an_experiment_has_its_longest_time(workspace: Workspace) -> None:
    judge = _judge(workspace, _at(Stage.AB, "ab"))
    assert judge.overdue() == ""
    StreamClock(workspace.state).advance(T0 + timedelta(days=20))
    assert judge.overdue() == "not enough data after 20 days"
    assert _judge(workspace, _at(Stage.CANARY)).overdue() == ""


def test_an_experiments_first_period_is_written_before_traffic_moves(
    released: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = replace(_at(Stage.AB, "ab"), periods=(), run="a")
    released.state.begin_release(rollout)

    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(released.router, "apply", killed)
    with pytest.raises(Killed):
        release.enact(released, rollout)
    known = released.state.release("v2")
    assert known is not None and known.periods == (Period(LATER, 50),)


def test_a_held_release_leaves_all_traffic_to_the_champion_until_a_person_answers(
    released: Workspace,
) -> None:
    rollout = _at(Stage.CANARY, run="a")
    released.state.begin_release(rollout)
    release.hold(released, rollout.out_of_time("quiet", ask=True), Verdict())
    in_force = released.router.current()
    assert in_force is not None and in_force.weights == {"v1": 100, "v2": 0}
    told = release.answer(released, "v2", "ann", "seen enough", promote=True)
    assert told.label == "canary 100 %"
    entry = released.state.ledger()[-1]
    assert (entry.kind, entry.evidence["person"]) == ("release_answered", "ann")
    with pytest.raises(ReleaseError):
        release.answer(released, "v2", "ann", "again", promote=False)


def test_a_release_that_never_was_cannot_be_answered(workspace: Workspace) -> None:
    with pytest.raises(ReleaseError, match="never released"):
        release.answer(workspace, "v9", "ann", "why", promote=True)


@pytest.mark.parametrize(("stage", "late"), [(Stage.BANDIT, 3), (Stage.CANARY, 0)])
def test_a_bandit_whose_share_moves_counts_its_looks_on(
    released: Workspace, stage: Stage, late: int
) -> None:
    rollout = _at(stage, run="a")
    keep_looks(released, rollout, Looks(early=7, late=3))
    begun = release.Begun(rollout, LATER, {})
    assert looks_before(released, begun).late == late
