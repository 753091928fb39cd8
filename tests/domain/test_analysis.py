"""The analysis of a release step: what it lets through, and how often it errs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from setpoint.domain.analysis import Limits, Traffic, analyse
from setpoint.domain.findings import Outcome, Verdict

LIMITS = Limits(requests=200, failed=0.01, slow=0.01, alerts=0.1, error_rate=0.01)
CALM = Traffic(requests=200, failed=0, slow=0, refused=0, restarted=False)


def _verdict(
    challenger: Traffic = CALM, champion: Traffic | None = CALM, n: int = 200, alerts: int = 5
) -> Verdict:
    return Verdict(tuple(analyse(challenger, champion, np.full(n, 0.2), alerts, LIMITS)))


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


def test_more_adverse_actions_than_allowed_are_refused() -> None:
    assert _of(_verdict(alerts=60), "alert_rate") == Outcome.FAILED


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1])
def test_one_score_that_is_no_probability_is_refused(bad: float) -> None:
    scores = np.append(np.full(199, 0.2), bad)
    found = Verdict(tuple(analyse(CALM, CALM, scores, 0, LIMITS)))
    assert _of(found, "unsound_scores") == Outcome.FAILED


def test_a_slow_machine_is_not_held_against_the_challenger_and_does_not_pass_either() -> None:
    slow = replace(CALM, slow=60)
    assert _of(_verdict(slow, slow), "slow_answers") == Outcome.INCONCLUSIVE


def test_one_fast_answer_of_the_champion_excuses_nothing() -> None:
    slow = replace(CALM, slow=200)
    idle = replace(CALM, requests=1)
    assert _of(_verdict(slow, idle), "slow_answers") == Outcome.FAILED


def test_every_finding_with_an_error_rate_shares_the_plans() -> None:
    early = analyse(CALM, CALM, np.full(50, 0.2), 1, LIMITS)
    late = analyse(CALM, CALM, np.full(200, 0.2), 1, LIMITS)
    assert {f.error_rate for f in early} - {None} == {LIMITS.error_rate / 400}
    assert {f.error_rate for f in late} - {None} == {LIMITS.error_rate / 2}


def test_looking_at_every_request_refuses_no_oftener_than_the_error_rate() -> None:
    rng = np.random.default_rng(11)
    limits = replace(LIMITS, requests=100, alerts=0.1)
    refused = 0
    for _ in range(400):
        acted = np.cumsum(rng.random(100) < 0.1)
        for n in range(1, 101):
            calm = replace(CALM, requests=n)
            found = Verdict(tuple(analyse(calm, calm, np.full(n, 0.2), int(acted[n - 1]), limits)))
            if found.outcome == Outcome.FAILED:
                refused += 1
                break
    assert refused / 400 <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 400)
