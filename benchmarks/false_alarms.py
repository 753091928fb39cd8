"""How often the drift check alarms without drift, and how soon with it.

``python -m benchmarks.false_alarms`` draws the counts of windows of 50 columns (30 numbers in
deciles, 10 zero-inflated ones, 10 categories of 50 values) against a training profile that is drawn
too, and judges them as the watch does at one false alarm in 1,000 windows. Power is the share of
windows in which one column that has moved is found: a number by so many standard deviations, or a
category of which so large a share moves to a value not seen in training. Grouped rows come five at
a time, as those of one customer would. It writes ``benchmarks/results/false_alarms.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from setpoint.domain.drift import Counts, PsiFinding, design_effects, psi_findings
from setpoint.domain.profile import ColumnProfile, Profile

RESULT = Path(__file__).parent / "results" / "false_alarms.json"
TRAINING = 100_000
STATED = 0.001
ROWS = (300, 1_000, 10_000)
SHIFTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
UNSEEN = (0.01, 0.03, 0.1, 0.3)
POWER_WINDOWS = 400
GROUP = 5
PER_PROFILE = 100
"""Windows judged against one draw of the training data."""

Shares = NDArray[np.float64]


def columns() -> dict[str, tuple[ColumnProfile, Shares]]:
    """Each column without counts, and the true share of each of its cells."""
    found: dict[str, tuple[ColumnProfile, Shares]] = {}
    deciles = tuple(ndtri(np.arange(1, 10) / 10).tolist())
    quarters = tuple(ndtri(np.arange(1, 4) / 4).tolist())
    for i in range(30):
        shape = ColumnProfile(f"n{i}", "number", deciles)
        found[shape.name] = shape, np.r_[np.full(10, 0.1), 0.0]
    for i in range(10):
        shape = ColumnProfile(f"z{i}", "number", quarters, (0.0,))
        found[shape.name] = shape, np.r_[np.full(4, 0.1), 0.6, 0.0]
    names = tuple(f"value {k}" for k in range(50))
    often = 1 / np.arange(1, 51)
    for i in range(10):
        shape = ColumnProfile(f"c{i}", "category", categories=names)
        found[shape.name] = shape, np.r_[often / often.sum(), 0.0, 0.0]
    return found


def _profile(rng: np.random.Generator) -> Profile:
    drawn = []
    for shape, shares in columns().values():
        counts = tuple(rng.multinomial(TRAINING, shares).tolist())
        fields = {f: getattr(shape, f) for f in ColumnProfile.__dataclass_fields__}
        drawn.append(ColumnProfile(**(fields | {"counts": counts})))
    return Profile(tuple(drawn))


def _window(rng: np.random.Generator, rows: int, group: int = 1) -> Counts:
    drawn = {
        name: group * rng.multinomial(rows // group, shares)
        for name, (_, shares) in columns().items()
    }
    return Counts(drawn)


def _alarms(found: list[PsiFinding]) -> bool:
    return any(finding.band == "act" for finding in found)


def false_alarms(rows: int, windows: int, group: int, seed: int) -> dict[str, Any]:
    """Windows without drift and how many of them alarm."""
    rng = np.random.default_rng(seed)
    alarms = watched = 0
    for start in range(0, windows, PER_PROFILE):
        profile = _profile(rng)
        past = [_window(rng, rows, group) for _ in range(20 if group > 1 else 0)]
        effects = design_effects(profile, past) if past else {}
        for _ in range(min(PER_PROFILE, windows - start)):
            found = psi_findings(profile, _window(rng, rows, group), STATED, design_effect=effects)
            alarms += _alarms(found)
            watched += any(finding.band == "watch" for finding in found)
    return {
        "rows": rows,
        "rows_of_one_customer": group,
        "windows": windows,
        "false_alarms": alarms,
        "watch_band": watched,
    }


def power(rows: int, column: str, shares: Shares, seed: int) -> dict[str, float]:
    """Share of windows in which a column that moved is found, and is called worth watching."""
    rng = np.random.default_rng(seed)
    acted = watched = 0
    for start in range(0, POWER_WINDOWS, PER_PROFILE):
        profile = _profile(rng)
        for _ in range(min(PER_PROFILE, POWER_WINDOWS - start)):
            counts = dict(_window(rng, rows).cells)
            counts[column] = rng.multinomial(rows, shares)
            found = {f.column: f.band for f in psi_findings(profile, Counts(counts), STATED)}
            acted += found[column] == "act"
            watched += found[column] in ("act", "watch")
    return {"act": acted / POWER_WINDOWS, "watch_or_act": watched / POWER_WINDOWS}


def shifted(by: float) -> Shares:
    """Shares of the deciles' cells once the number has moved by ``by`` standard deviations."""
    edges = np.r_[-np.inf, ndtri(np.arange(1, 10) / 10), np.inf]
    return np.r_[np.diff(ndtr(edges - by)), 0.0]


def unseen(share: float) -> Shares:
    """Shares of a category's cells once ``share`` of it is a value not seen in training."""
    _, before = columns()["c0"]
    return np.r_[before[:-2] * (1 - share), share, 0.0]


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=10_000, help="of each size, without drift")
    given = parser.parse_args()
    calm = [false_alarms(rows, given.windows, 1, seed=rows) for rows in ROWS]
    calm.append(false_alarms(5_000, given.windows, GROUP, seed=1))
    curve = [
        {"shift": f"{by:g} sd", "rows": rows, **power(rows, "n0", shifted(by), seed=rows)}
        for by in SHIFTS
        for rows in ROWS
    ]
    curve += [
        {"shift": f"{share:.0%} unseen", "rows": rows, **power(rows, "c0", unseen(share), rows)}
        for share in UNSEEN
        for rows in ROWS
    ]
    windows = sum(one["windows"] for one in calm)
    alarms = sum(one["false_alarms"] for one in calm)
    result = {
        "windows": windows,
        "false_alarms": alarms,
        "share": alarms / windows,
        "stated": STATED,
        "without_drift": calm,
        "power": curve,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
