"""How often is each gate wrong? Models whose truth is known, simulated.

``python -m benchmarks.gates`` asks the gates of a release. Seeds are fixed. It writes
``benchmarks/results/gates.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gates.limits import fairness, limits, setpoints, slices
from benchmarks.gates.promotion import NOT_BETTER, RULE, by_quality, promotions, reuse, wilson

MISSED = 0.1
"""Share of slices that cost twice as much which the gate may miss before the bench says so."""
RESULT = Path(__file__).parents[1] / "results" / "gates.json"


def run(rounds: int) -> dict[str, Any]:
    """All of it."""
    started = time.process_time()
    counts = promotions(rounds)
    rates = {
        at: {quality: round(hits / rounds, 4) for quality, hits in row.items()}
        for at, row in counts.items()
    }
    worst = max(row[quality] for row in rates.values() for quality in NOT_BETTER)
    shown: dict[str, Callable[[int], Mapping[str, Any]]] = {
        "ten_candidates_on_one_holdout": reuse,
        "fairness": fairness,
        "exactly_at_the_setpoint": setpoints,
        "other_gates": limits,
        "slices": slices,
    }
    low, high = wilson(worst, rounds)
    return {
        "rounds": rounds,
        "stated_rate": RULE.error_rate,
        "false_promotion_worst": worst,
        "false_promotion_worst_interval": f"{low:.4f} to {high:.4f}",
        "setpoint_stated_rate": RULE.setpoint_error_rate,
        "promotion": by_quality(rates, rounds),
        "promotion_rates": rates,
        **{name: measure(rounds) for name, measure in shown.items()},
        "cpu_seconds": round(time.process_time() - started, 1),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }


def main() -> int:
    """Simulate and write the figures; 1 if what may not pass does oftener than stated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    result = run(given.rounds)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    return 1 if over_stated(result) else 0


def over_stated(result: Mapping[str, Any]) -> list[str]:
    """What errs oftener than stated, by more than chance explains; or finds no harm at all."""
    rounds, stated = result["rounds"], result["setpoint_stated_rate"]
    rates = {f"setpoint {m}": (v, stated) for m, v in result["exactly_at_the_setpoint"].items()}
    for name, row in result["other_gates"].items():
        if "within" not in name:
            rates[name] = (row["passed"], row["stated"])
        if "beyond" not in name:
            # The simpler way is preferred unless beaten: there to fail is no error.
            wrong = 0.0 if name.startswith("simpler way") else row["failed"]
            rates[f"{name}, failed"] = (wrong, row["stated"])
    for name, row in result["fairness"].items():
        if not name.startswith("fair,"):
            rates[f"fairness, {name}"] = (row["passed"], stated)
        if not name.startswith("unfair,"):
            rates[f"fairness, {name}, failed"] = (row["failed"], stated)
    for name, row in result["slices"].items():
        missed = row["passed"] if "twice" in name else row["failed"]
        rates[f"slices, {name}"] = (missed, MISSED if "twice" in name else row["stated"])
    reused = result["ten_candidates_on_one_holdout"]
    rates["ten candidates, paid"] = (reused["paid"], reused["stated"])
    rates["promotion"] = (result["false_promotion_worst"], result["stated_rate"])
    return [name for name, (share, most) in rates.items() if wilson(share, rounds)[0] > most]


if __name__ == "__main__":
    sys.exit(main())
