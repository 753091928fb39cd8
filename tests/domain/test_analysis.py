"""The analysis of a release step: what it lets through, and how often it errs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from setpoint.domain.analysis import Decided, Limits, Traffic, analyse, score_shift
from setpoint.domain.findings import Outcome, Verdict

LIMITS = Limits(requests=200, failed=0.01, slow=0.01, alerts=0.1, error_rate=0.01)
CALM = Traffic(requests=200, failed=0, slow=0, refused=0, restarted=False)


def _verdict(
    challenger: Traffic = CALM, champion: Traffic | None = CALM, n: int = 200, alerts: int = 5
) -> Verdict:
    decided = Decided(np.full(n, 0.2), alerts)
    return Verdict(tuple(analyse(challenger, champion, decided, LIMITS, last=n >= 200)))


def _of(verdict: Verdict, name: str) -> Outcome:
    return next(f.outcome for f in verdict.findings if f.name == name)


def test_a_calm_step_with_all_its_requests_passes() -> None:
    assert _verdict().outcome == Outcome.PASSED


@pytest.mark.parametrize("n", [0, 1, 199])
def test_too_few_requests_never_pass(n: int) -> None:
    assert _verdict(n=n, alerts=0).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"failed": 20}, "failed_answers"),
        ({"slow": 30}, "slow_answers"),
        ({"refused": 60}, "refused_requests"),
        ({"restarted": True}, "restarts"),
    ],
)
def test_what_the_champion_does_not_do_is_refused(broken: dict[str, int], name: str) -> None:
    found = _verdict(replace(CALM, **broken))
    assert (found.outcome, _of(found, name)) == (Outcome.FAILED, Outcome.FAILED)


def test_refusals_are_seen_where_the_champion_has_no_traffic_in_the_step() -> None:
    idle = replace(CALM, requests=0)
    refusing = replace(CALM, refused=180)
    decided = Decided(np.full(200, 0.2), 0)
    seen = analyse(refusing, idle, decided, LIMITS, champion_so_far=CALM, last=True)
    assert _of(Verdict(tuple(seen)), "refused_requests") == Outcome.FAILED
    blind = analyse(refusing, idle, decided, LIMITS, champion_so_far=idle, last=True)
    assert _of(Verdict(tuple(blind)), "refused_requests") == Outcome.INCONCLUSIVE


def test_decisions_that_the_process_did_not_answer_in_the_step_do_not_count() -> None:
    few = replace(CALM, requests=3)
    assert _verdict(few).outcome == Outcome.INCONCLUSIVE


def test_more_adverse_actions_than_allowed_are_refused() -> None:
    assert _of(_verdict(alerts=60), "alert_rate") == Outcome.FAILED


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1])
def test_one_score_that_is_no_probability_is_refused(bad: float) -> None:
    scores = np.append(np.full(199, 0.2), bad)
    found = Verdict(tuple(analyse(CALM, CALM, Decided(scores, 0), LIMITS, last=True)))
    assert _of(found, "unsound_scores") == Outcome.FAILED


def test_a_slow_machine_is_not_held_against_the_challenger_and_does_not_pass_either() -> None:
    slow = replace(CALM, slow=60)
    assert _of(_verdict(slow, slow), "slow_answers") == Outcome.INCONCLUSIVE


def test_one_fast_answer_of_the_champion_excuses_nothing() -> None:
    slow = replace(CALM, slow=200)
    idle = replace(CALM, requests=1)
    assert _of(_verdict(slow, idle), "slow_answers") == Outcome.FAILED


def test_a_look_that_is_not_the_last_never_passes() -> None:
    early = Verdict(tuple(analyse(CALM, CALM, Decided(np.full(500, 0.2), 5), LIMITS, last=False)))
    assert early.outcome == Outcome.INCONCLUSIVE
    assert "the step goes on" in next(f.reason for f in early.findings if f.name == "requests")


def test_every_finding_with_an_error_rate_states_its_part_of_the_plans() -> None:
    early = analyse(CALM, CALM, Decided(np.full(50, 0.2), 1), LIMITS, last=False)
    late = analyse(CALM, CALM, Decided(np.full(200, 0.2), 1), LIMITS, last=True)
    again = analyse(CALM, CALM, Decided(np.full(200, 0.2), 1), LIMITS, look=3, last=True)
    assert {f.error_rate for f in early} - {None} == {LIMITS.error_rate / 4}
    assert {f.error_rate for f in late} - {None} == {LIMITS.error_rate / 4}
    assert {f.error_rate for f in again} - {None} == {LIMITS.error_rate / 24}


@pytest.mark.parametrize("requests", [100, 400])
def test_looking_at_every_request_refuses_no_oftener_than_the_error_rate(requests: int) -> None:
    rng = np.random.default_rng(11)
    rounds, refused = 300, 0
    for _ in range(rounds):
        acted = np.cumsum(rng.random(requests) < LIMITS.alerts)
        for n in range(1, requests + 1):
            calm = replace(CALM, requests=n)
            alerts, last = int(acted[n - 1]), n == requests
            look = 1 if last else n
            found = analyse(
                calm, calm, Decided(np.full(n, 0.2), alerts), LIMITS, look=look, last=last
            )
            if _of(Verdict(tuple(found)), "alert_rate") == Outcome.FAILED:
                refused += 1
                break
    assert refused / rounds <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / rounds)


def test_a_bad_challenger_is_refused_long_before_the_last_look() -> None:
    rng = np.random.default_rng(12)
    failed = np.cumsum(rng.random(200) < 0.3)
    for n in range(1, 201):
        broken = replace(CALM, requests=n, failed=int(failed[n - 1]))
        found = analyse(broken, CALM, Decided(np.full(n, 0.2), 0), LIMITS, look=n, last=False)
        if _of(Verdict(tuple(found)), "failed_answers") == Outcome.FAILED:
            break
    assert n < 40


def _beside(decided: Decided, beside: Decided) -> Verdict:
    found = analyse(CALM, CALM, decided, SHIFTS, beside=beside, last=True)
    return Verdict(tuple(found))


SHIFTS = replace(LIMITS, alerts=1.0, score_shift=0.1, action_shift=0.2)


def test_a_champion_with_few_decisions_of_its_own_is_nothing_to_compare_with() -> None:
    few = Decided(np.full(19, 0.2), 0)
    verdict = _beside(Decided(np.full(200, 0.2), 0), few)
    assert _of(verdict, "score_shift") == Outcome.INCONCLUSIVE
    assert _of(verdict, "action_shift") == Outcome.INCONCLUSIVE
    assert verdict.outcome == Outcome.INCONCLUSIVE


def test_scores_far_from_the_champions_are_refused() -> None:
    rng = np.random.default_rng(3)
    near, far = rng.beta(1, 9, 400), rng.beta(6, 4, 400)
    calm = _beside(Decided(near[:200], 0), Decided(near[200:], 0))
    assert calm.outcome == Outcome.PASSED
    assert _of(_beside(Decided(far, 0), Decided(near, 0)), "score_shift") == Outcome.FAILED


def test_a_share_of_actions_far_from_the_champions_is_refused() -> None:
    scores = np.full(400, 0.2)
    verdict = _beside(Decided(scores, 200), Decided(scores, 10))
    assert _of(verdict, "action_shift") == Outcome.FAILED


def test_too_few_adverse_actions_are_refused_too() -> None:
    limits = replace(LIMITS, fewest_alerts=0.1)
    found = analyse(CALM, CALM, Decided(np.full(400, 0.2), 2), limits, last=True)
    assert _of(Verdict(tuple(found)), "fewest_alerts") == Outcome.FAILED


def test_a_version_that_hangs_is_refused_for_what_others_answered_in_its_place() -> None:
    hanging = Traffic(requests=0, failed=0, slow=0, refused=0, restarted=False, replaced=5)
    found = analyse(hanging, CALM, Decided(np.empty(0), 0), LIMITS, last=False)
    assert _of(Verdict(tuple(found)), "failed_answers") == Outcome.FAILED


def test_a_request_that_failed_and_was_answered_by_another_counts_once() -> None:
    failing = Traffic(requests=50, failed=5, slow=0, refused=0, restarted=False, replaced=5)
    assert (failing.meant, failing.missed) == (50, 5)
    hanging = Traffic(requests=50, failed=0, slow=0, refused=0, restarted=False, replaced=5)
    assert (hanging.meant, hanging.missed) == (55, 5)


def test_scores_at_the_limit_are_refused_no_oftener_than_stated() -> None:
    rng = np.random.default_rng(8)
    rounds, refused = 400, 0
    for _ in range(rounds):
        champion, challenger = rng.uniform(0, 0.5, 150), rng.uniform(0.1, 0.6, 150)
        refused += score_shift(challenger, champion, 0.1, 0.05).outcome == Outcome.FAILED
    assert refused / rounds <= 0.05
