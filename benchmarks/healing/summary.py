"""Policies compared: paired by seed, each difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

OURS, DAILY = "setpoint", "daily"
CONFIDENCE = 0.95

Seeds = Mapping[int, Mapping[str, Any]]
"""``money`` and ``retrainings`` of one policy on one drift, by seed."""


def interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and its bounds by Student's t, rows independent; no bounds of a single value."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, None, None
    half = float(stdtrit(len(x) - 1, (1 + CONFIDENCE) / 2)) * float(x.std(ddof=1))
    half /= math.sqrt(len(x))
    return mean, mean - half, mean + half


def paired(one: Seeds, other: Seeds, key: str = "money") -> list[float]:
    """What ``one`` has more than ``other``, seed by seed; both must have the same seeds.

    Raises:
        ValueError: They have not.
    """
    if set(one) != set(other):
        raise ValueError(f"seeds {sorted(one)} against {sorted(other)} cannot be paired")
    return [one[seed][key] - other[seed][key] for seed in sorted(one)]


def total(seeds: Seeds, key: str) -> float:
    """Sum over all seeds."""
    return float(sum(row[key] for row in seeds.values()))


def best_of_others(policies: Mapping[str, Seeds]) -> str:
    """The policy beside ours that costs least over all seeds."""
    others = [name for name in policies if name != OURS]
    return min(others, key=lambda name: total(policies[name], "money"))


def compare(policies: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    """One row a policy of one drift.

    ``over_best`` is money over that of the best policy beside ours, ``minus_daily`` money a seed
    more than under daily retraining; both paired by seed.
    """
    best = best_of_others(policies)
    scale = total(policies[best], "money") / len(policies[best])
    rows = []
    for name, seeds in policies.items():
        money, low, high = interval([seeds[seed]["money"] for seed in sorted(seeds)])
        more, at_least, at_most = interval(paired(seeds, policies[best]))
        daily, daily_low, daily_high = interval(paired(seeds, policies[DAILY]))
        rows.append(
            {
                "policy": name,
                "money": _round(money),
                "money_low": _round(low),
                "money_high": _round(high),
                "over_best": _ratio(more, scale),
                "over_best_low": _ratio(at_least, scale),
                "over_best_high": _ratio(at_most, scale),
                "minus_daily": _round(daily),
                "minus_daily_low": _round(daily_low),
                "minus_daily_high": _round(daily_high),
                "retrainings": round(total(seeds, "retrainings") / len(seeds), 2),
            }
        )
    return rows


def summarise(runs: Mapping[str, Mapping[str, Seeds]], harmless: Sequence[str]) -> dict[str, Any]:
    """All figures of the benchmark.

    Args:
        runs: By drift, then policy, then seed.
        harmless: Drifts under which every retraining is one too many.
    """
    tables = {drift: compare(policies) for drift, policies in runs.items()}
    ours = {drift: _row(rows, OURS) for drift, rows in tables.items()}
    better = [
        drift
        for drift, row in ours.items()
        if row["minus_daily_high"] is not None and row["minus_daily_high"] < 0
    ]
    spent = {n: sum(total(p[n], "retrainings") for p in runs.values()) for n in (OURS, DAILY)}
    over = {drift: row["over_best"] for drift, row in ours.items()}
    return {
        "worst_ours_over_best": max(over.values()),
        "drifts_within_5_percent": sum(ratio <= 1.05 for ratio in over.values()),
        "drifts_strictly_better_than_daily": len(better),
        "drifts_cheaper_than_daily": sum(row["minus_daily"] < 0 for row in ours.values()),
        "retrainings_over_daily": round(spent[OURS] / spent[DAILY], 4) if spent[DAILY] else None,
        "retrainings_unneeded": int(
            sum(total(runs[d][OURS], "retrainings") for d in harmless if d in runs)
        ),
        "drifts": len(runs),
        "seeds": len(next(iter(next(iter(runs.values())).values()))),
        "better_than_daily": ", ".join(better),
        "retrainings_by_harmless_drift": {
            d: int(total(runs[d][OURS], "retrainings")) for d in harmless if d in runs
        },
        "ours_over_best": over,
        "best_of_others": {drift: best_of_others(policies) for drift, policies in runs.items()},
        "policies": [{"drift": drift} | row for drift, rows in tables.items() for row in rows],
    }


def _row(rows: Sequence[dict[str, Any]], policy: str) -> dict[str, Any]:
    return next(row for row in rows if row["policy"] == policy)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _ratio(more: float | None, scale: float) -> float | None:
    return None if more is None else round(1 + more / scale, 4)
