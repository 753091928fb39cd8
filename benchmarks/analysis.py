"""How often is a release decided wrongly? Equal, 5 % worse and good challengers, simulated.

``python -m benchmarks.analysis`` walks each strategy through a simulated world, many times, with
the code that judges real releases: the cost gate and then the canary, look by look; the A/B test
and the bandit, a look a day, on labels that come days late. Seeds are fixed. It writes
``benchmarks/results/analysis.json``.

The stated rate, at most so many promotions of what is not better, is that of a whole release:
``gate_then_canary``, ``ab`` and ``bandit`` are held against it. Canary, shadow and blue-green rest
on the gate for superiority; their own analysis looks for harm, on less traffic than costs could be
told apart by: a canary by default ends before as many outcomes are known as a judgement of costs
needs. ``canary_alone`` and ``shadow_alone`` start behind the gate, whatever the quality: what they
let through of a worse challenger is harm too small to be proven, not a false promotion, and the
stated rate is no limit of it. What they roll back of an equal or a good one is a false alarm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from setpoint.config.gates import Gates
from setpoint.config.policies import Release
from setpoint.domain.analysis import Decided, Limits, Traffic, analyse
from setpoint.domain.experiment import Outcomes, Rules, judge, regret, thompson_share
from setpoint.domain.findings import Outcome, Verdict, check_mean_difference
from setpoint.domain.pairs import PairLimits, Pairs, compare
from setpoint.stages.judging import Looks

RESULT = Path(__file__).parent / "results" / "analysis.json"
QUALITIES = {"equal": 1.0, "worse_5_percent": 1.05, "good_30_percent_cheaper": 0.7}
"""Cost of a challenger's decisions over the champion's; its failed, slow and adverse answers, all
that is seen of it without labels, are as many times the champion's."""
DIFFERS = 0.2
"""Share of rows that two versions judge differently."""
RULE = Release()

PLANNED, DAYS, A_DAY, LATE, ENTITIES = 12_000, 50, 500, 5, 6_000
"""An experiment: decisions planned for, days, decisions a day, days until a label, entities."""


@dataclass(frozen=True)
class Service:
    """How a version's service behaves: shares of failed, slow and adverse answers."""

    failed: float = 0.001
    slow: float = 0.003
    alerts: float = 0.03

    def times(self, factor: float) -> Service:
        """The same with ``factor`` times as many of each."""
        return Service(self.failed * factor, self.slow * factor, self.alerts * factor)

    def acts(self, scores: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Where its share of alerts, the highest scores of ``_scores``, gets the adverse action."""
        return scores >= 1 - self.alerts ** (1 / SCORES[1])


SCORES = (1, 20)
"""Of the beta distribution that scores have; its first is 1, so that quantiles are plain."""
CALM = Service()
BROKEN = {
    "fails_5_percent": replace(CALM, failed=0.05),
    "slow_10_percent": replace(CALM, slow=0.1),
    "alerts_on_half": replace(CALM, alerts=0.5),
}
LIMITS = Limits(
    requests=RULE.step_requests,
    failed=RULE.max_error_share,
    slow=RULE.max_slow_share,
    alerts=CALM.alerts * RULE.max_alert_ratio,
    error_rate=RULE.error_rate,
    fewest_alerts=CALM.alerts / RULE.max_alert_ratio,
    score_shift=RULE.max_score_shift,
    action_shift=RULE.max_action_shift,
)
PAIR_LIMITS = PairLimits(
    RULE.shadow_requests, RULE.max_flips, RULE.max_score_shift, RULE.error_rate
)
MOST_LOOKS = 1000
"""At a step; one that is inconclusive for so long is rolled back."""


def _costs(rng: np.random.Generator, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mostly a small cost, now and then the amount of a missed fraud."""
    return np.where(rng.random(n) < 0.05, rng.lognormal(3.5, 0.7, n), 1.0)


def _scores(rng: np.random.Generator, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return rng.beta(*SCORES, n)


def gate(rng: np.random.Generator, factor: float, rows: int = 4000) -> bool:
    """Whether the cost gate lets a challenger pass, on rows that both judged."""
    champion = _costs(rng, rows)
    differs = rng.random(rows) < DIFFERS  # where both act alike nothing does
    challenger = champion.copy()
    challenger[differs] = rng.permutation(champion[differs])
    rule = Gates()
    found = check_mean_difference(
        "cost", champion - challenger * factor, error_rate=rule.error_rate,
        min_sample=rule.min_sample,
    )  # fmt: skip
    return found.passed


class _Version:
    """What a version did since a step began."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.traffic = Traffic(0, 0, 0, 0, restarted=False)
        self.scores: list[np.ndarray[Any, np.dtype[np.float64]]] = [np.empty(0)]
        self.alerts = 0

    def serve(self, rng: np.random.Generator, n: int) -> None:
        """Answer ``n`` requests more."""
        done, is_ = self.traffic, self.service
        failed, slow, alerts = (rng.binomial(n, p) for p in (is_.failed, is_.slow, is_.alerts))
        self.traffic = replace(
            done, requests=done.requests + n, failed=done.failed + failed, slow=done.slow + slow
        )
        self.scores.append(_scores(rng, n - failed))
        self.alerts += min(alerts, n - failed)

    @property
    def decided(self) -> Decided:
        """What it decided."""
        return Decided(np.concatenate(self.scores), self.alerts)


def canary(rng: np.random.Generator, service: Service, per_look: int = 100) -> bool:
    """Whether a canary promotes a challenger: all steps, looked at twice a second.

    Args:
        rng: Randomness.
        service: How the challenger behaves.
        per_look: Requests of both versions between two looks.
    """
    before = _Version(CALM)
    before.serve(rng, 1000)
    for percent in RULE.steps:
        champion, challenger = _Version(CALM), _Version(service)
        looks, outcome = Looks(), Outcome.INCONCLUSIVE
        while outcome == Outcome.INCONCLUSIVE and looks.early + looks.late < MOST_LOOKS:
            ours = int(rng.binomial(per_look, percent / 100))
            challenger.serve(rng, ours)
            champion.serve(rng, per_look - ours)
            decided = challenger.decided
            last = len(decided) >= RULE.step_requests
            outcome = Verdict(
                tuple(
                    analyse(
                        challenger.traffic,
                        champion.traffic,
                        decided,
                        LIMITS,
                        beside=before.decided if percent == 100 else champion.decided,
                        champion_so_far=before.traffic,
                        look=looks.count(last=last),
                        last=last,
                    )
                )
            ).outcome
        if outcome != Outcome.PASSED:
            return False
    return True


def shadow(rng: np.random.Generator, service: Service, per_look: int = 100) -> bool:
    """Whether a shadow promotes a challenger: both decide the same rows; see ``canary``."""
    champion, challenger = _Version(CALM), _Version(service)
    theirs = np.empty(0)
    looks, outcome = Looks(), Outcome.INCONCLUSIVE
    while outcome == Outcome.INCONCLUSIVE and looks.early + looks.late < MOST_LOOKS:
        for version in (champion, challenger):
            version.serve(rng, per_look)
        ours = challenger.decided.scores
        new = ours[len(theirs) :]
        differs = rng.random(len(new)) < DIFFERS
        theirs = np.append(theirs, np.where(differs, _scores(rng, len(new)), new))
        pairs = Pairs(theirs, ours, CALM.acts(theirs), service.acts(ours), {})
        last = len(pairs) >= RULE.shadow_requests
        look = looks.count(last=last)
        outcome = Verdict(
            (
                *compare(pairs, PAIR_LIMITS, look=look, last=last),
                *analyse(
                    challenger.traffic,
                    champion.traffic,
                    Decided(ours, int(pairs.challenger_acts.sum())),
                    replace(LIMITS, requests=RULE.shadow_requests),
                    look=look,
                    last=last,
                ),
            )
        ).outcome
    return outcome == Outcome.PASSED


@dataclass(frozen=True)
class Played:
    """How an experiment ended: as what, on which day, and the money it cost beyond the best."""

    ended: str
    day: int
    regret: float


def experiment(seed: int, factor: float, strategy: Literal["ab", "bandit"]) -> Played:
    """One experiment, a look a day. Both strategies meet the same world for the same seed."""
    rng = np.random.default_rng(seed)
    n = DAYS * A_DAY
    entity = rng.integers(0, ENTITIES, n)
    place = rng.random(ENTITIES)[entity]  # a hash: who is first to meet the challenger
    cost = _costs(rng, n) * rng.gamma(4, 0.25, ENTITIES)[entity]
    day = np.arange(n) // A_DAY
    rule = RULE.experiment
    rules = Rules(RULE.error_rate, rule.min_outcomes, PLANNED, rule.min_gain)
    shares, arm = np.full(DAYS, float(rule.share)), np.zeros(n, dtype=bool)
    saving = float(cost.mean()) * (1 - factor)
    ended, last = "not_enough_data", DAYS
    for today in range(DAYS):
        rows = slice(today * A_DAY, (today + 1) * A_DAY)
        arm[rows] = place[rows] < shares[today] / 100
        known = max(0, today + 1 - LATE) * A_DAY
        seen = Outcomes(
            arm[:known], cost[:known] * np.where(arm[:known], factor, 1.0), entity[:known],
            shares[day[:known]].astype(np.int64),
        )  # fmt: skip
        found = judge(seen, rules)
        if found.outcome in (Outcome.PASSED, Outcome.FAILED):
            ended, last = _ending(found.reason, found.outcome), today + 1
            break
        if strategy == "bandit" and today + 1 < DAYS:
            now = round(shares[today])
            shares[today + 1 :] = thompson_share(seen, rules, floor=rule.floor, start=now)
    shares[last:] = 100.0 if ended == "promoted" else 0.0
    return Played(ended, last, regret(shares, np.full(DAYS, float(A_DAY)), saving))


def _ending(reason: str, outcome: Outcome) -> str:
    if outcome == Outcome.PASSED:
        return "promoted"
    return "no_difference" if "no difference" in reason else "champion_cheaper"


def _round(task: tuple[str, str, int]) -> Any:
    kind, quality, seed = task
    rng = np.random.default_rng([seed, 7])
    if kind == "canary_of_a_broken_service":
        return canary(rng, BROKEN[quality])
    factor = QUALITIES[quality]
    service = CALM.times(factor)
    if kind == "gate_then_canary":
        return gate(rng, factor), canary(rng, service)
    if kind == "canary_alone":
        return canary(rng, service)
    if kind == "shadow_alone":
        return shadow(rng, service)
    return experiment(seed, factor, "ab" if kind == "ab" else "bandit")


def _rounds(pool: ProcessPoolExecutor, kind: str, quality: str, rounds: int) -> list[Any]:
    return list(pool.map(_round, [(kind, quality, s) for s in range(rounds)], chunksize=20))


def _canary(found: list[tuple[bool, bool]]) -> dict[str, float]:
    n = len(found)
    both = sum(opened and passed for opened, passed in found)
    return {
        "promoted": round(both / n, 4),
        "refused_by_gate": round(sum(not opened for opened, _ in found) / n, 4),
        "rolled_back_by_canary": round(sum(not passed for _, passed in found) / n, 4),
    }


def _alone(found: list[bool]) -> dict[str, float]:
    share = round(float(np.mean(found)), 4)
    return {"let_through": share, "rolled_back": round(1 - share, 4)}


def _experiments(found: list[Played]) -> dict[str, float]:
    n, ends = len(found), Counter(p.ended for p in found)
    names = ("promoted", "champion_cheaper", "no_difference", "not_enough_data")
    return {
        **{name: round(ends[name] / n, 4) for name in names},
        "refused": round(1 - ends["promoted"] / n, 4),
        "median_days": float(np.median([p.day for p in found])),
        "mean_regret": round(float(np.mean([p.regret for p in found])), 1),
    }


ROWS: dict[str, tuple[Iterable[str], Callable[[list[Any]], dict[str, float]]]] = {
    "gate_then_canary": (QUALITIES, _canary),
    "ab": (QUALITIES, _experiments),
    "bandit": (QUALITIES, _experiments),
    "canary_alone": (QUALITIES, _alone),
    "shadow_alone": (QUALITIES, _alone),
    "canary_of_a_broken_service": (BROKEN, _alone),
}
"""What is simulated: for which challengers, and how the rounds of each are summed up."""
RELEASES = ("gate_then_canary", "ab", "bandit")
"""Those that decide whether a version is better: held against the stated rate."""


def run(
    rounds: int, workers: int, only: str = "", before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Everything, or the rows whose name contains ``only`` and the rest from ``before``."""
    known, started = before or {}, time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        measured = {
            kind: {one: sum_up(_rounds(pool, kind, one, rounds)) for one in challengers}
            for kind, (challengers, sum_up) in ROWS.items()
            if only in kind
        }
    rows = {kind: measured.get(kind) or known[kind] for kind in ROWS}
    return {
        "rounds": rounds,
        "stated_rate": RULE.error_rate,
        "false_promotion": false_promotion(rows),
        **rows,
        "world": {
            "days": DAYS, "decisions_a_day": A_DAY, "label_delay_days": LATE, "planned": PLANNED,
            "entities": ENTITIES,
        },
        "seconds": known.get("seconds", round(time.monotonic() - started, 1)),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }  # fmt: skip


def false_promotion(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> float:
    """Largest share of whole releases that promote what is not better."""
    return max(rows[kind][q]["promoted"] for kind in RELEASES for q in ("equal", "worse_5_percent"))


def main() -> int:
    """Simulate and write the figures; 1 if a false promotion is likelier than stated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--only", default="", help="rows whose name contains this; --out keeps its other rows"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    before = json.loads(given.out.read_text("utf-8")) if given.only else {}
    if before.get("rounds", given.rounds) != given.rounds:
        parser.error(f"{given.out} has rows of {before['rounds']} rounds: give --rounds the same")
    result = run(given.rounds, given.workers, given.only, before)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    return 1 if result["false_promotion"] > result["stated_rate"] else 0


if __name__ == "__main__":
    sys.exit(main())
