"""How often is a release decided wrongly? Equal, 5 % worse and good challengers, simulated.

``python -m benchmarks.analysis`` walks each strategy through a simulated world, many times, with
the code that judges real releases: the cost gate and then the canary, look by look; the A/B test
and the bandit, a look a day, on labels that come days late. Seeds are fixed. It writes
``benchmarks/results/analysis.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from setpoint.config.policies import Gates, Release
from setpoint.domain.analysis import Decided, Limits, Traffic, analyse
from setpoint.domain.experiment import Outcomes, Rules, judge, regret, thompson_share
from setpoint.domain.findings import Outcome, Verdict, check_mean_difference

RESULT = Path(__file__).parent / "results" / "analysis.json"
QUALITIES = {"equal": 1.0, "worse_5_percent": 1.05, "good_30_percent_cheaper": 0.7}
"""Cost of a challenger's decisions over the champion's."""
RULE = Release()

PLANNED, DAYS, A_DAY, LATE, ENTITIES = 12_000, 50, 500, 5, 6_000
"""An experiment: decisions planned for, days, decisions a day, days until a label, entities."""


@dataclass(frozen=True)
class Service:
    """How a version's service behaves: shares of failed, slow and adverse answers."""

    failed: float = 0.001
    slow: float = 0.003
    alerts: float = 0.03


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


def _costs(rng: np.random.Generator, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mostly a small cost, now and then the amount of a missed fraud."""
    return np.where(rng.random(n) < 0.05, rng.lognormal(3.5, 0.7, n), 1.0)


def gate(rng: np.random.Generator, factor: float, rows: int = 4000) -> bool:
    """Whether the cost gate lets a challenger pass, on rows that both judged."""
    champion = _costs(rng, rows)
    # Where both act alike nothing differs; a fifth of the rows they act on differently.
    differs = rng.random(rows) < 0.2
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
        self.scores.append(rng.beta(1, 20, n - failed))
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
        early = late = 0
        outcome = Outcome.INCONCLUSIVE
        while outcome == Outcome.INCONCLUSIVE and early + late < 1000:
            ours = int(rng.binomial(per_look, percent / 100))
            challenger.serve(rng, ours)
            champion.serve(rng, per_look - ours)
            decided = challenger.decided
            last = len(decided) >= RULE.step_requests
            early, late = early + (not last), late + last
            outcome = Verdict(
                tuple(
                    analyse(
                        challenger.traffic,
                        champion.traffic,
                        decided,
                        LIMITS,
                        beside=before.decided if percent == 100 else champion.decided,
                        champion_so_far=before.traffic,
                        look=late if last else early,
                        last=last,
                    )
                )
            ).outcome
        if outcome != Outcome.PASSED:
            return False
    return True


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
    if kind == "canary":
        opened = gate(rng, QUALITIES[quality])
        return opened, canary(rng, CALM)
    if kind == "broken":
        return canary(rng, BROKEN[quality])
    return experiment(seed, QUALITIES[quality], "ab" if kind == "ab" else "bandit")


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


def _experiments(found: list[Played]) -> dict[str, float]:
    n, ends = len(found), Counter(p.ended for p in found)
    names = ("promoted", "champion_cheaper", "no_difference", "not_enough_data")
    return {
        **{name: round(ends[name] / n, 4) for name in names},
        "refused": round(1 - ends["promoted"] / n, 4),
        "median_days": float(np.median([p.day for p in found])),
        "mean_regret": round(float(np.mean([p.regret for p in found])), 1),
    }


def run(rounds: int, workers: int) -> dict[str, Any]:
    """Everything; see ``main`` for the arguments."""
    started = time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        canaries = {q: _canary(_rounds(pool, "canary", q, rounds)) for q in QUALITIES}
        passed = {name: float(np.mean(_rounds(pool, "broken", name, rounds))) for name in BROKEN}
        caught = {name: {"rolled_back": round(1 - share, 4)} for name, share in passed.items()}
        tests = {
            kind: {q: _experiments(_rounds(pool, kind, q, rounds)) for q in QUALITIES}
            for kind in ("ab", "bandit")
        }
    strategies = {"gate_then_canary": canaries, **tests}
    return {
        "rounds": rounds,
        "stated_rate": RULE.error_rate,
        "false_promotion": max(
            found["promoted"] for found in _not_better(strategies)
        ),
        **strategies,
        "canary_of_a_broken_service": caught,
        "world": {
            "days": DAYS, "decisions_a_day": A_DAY, "label_delay_days": LATE, "planned": PLANNED,
            "entities": ENTITIES,
        },
        "seconds": round(time.monotonic() - started, 1),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }  # fmt: skip


def _not_better(strategies: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Those that promote nothing better: every promotion among them is a false one."""
    for found in strategies.values():
        yield found["equal"]
        yield found["worse_5_percent"]


def main() -> int:
    """Simulate and write the figures; 1 if a false promotion is likelier than stated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    result = run(given.rounds, given.workers)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    return 1 if result["false_promotion"] > result["stated_rate"] else 0


if __name__ == "__main__":
    sys.exit(main())
