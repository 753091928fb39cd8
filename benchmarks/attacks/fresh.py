"""The check of new data on worlds that none of its thresholds was chosen on.

Thresholds of ``setpoint.domain.poisoning`` and ``influence`` were chosen on the first worlds, which
the other attacks are played on too. These begin at ``FIRST``, and nothing is chosen on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.attacks.poison import flip, plant
from benchmarks.attacks.worlds import POISONED, Row, cards, looked_at, suspects, trusted_of
from setpoint.domain.bounds import proportion_bounds
from setpoint.domain.poisoning import doubtful
from setpoint.domain.training import Rows, raw_scores

FIRST = 1000
PER_SEED = 5
"""Fresh worlds for each world that attacks are played on."""
UNSURE = 0.02
"""Score of the trusted model from which a row may be either."""
BOUND_RATE = 0.05

Poison = Callable[[int], tuple[Rows, np.ndarray]]


def hide(seed: int) -> tuple[Rows, np.ndarray]:
    """New rows of which one source calls all its frauds good."""
    return _called(seed, lambda rows: np.where(rows.label == 1, 0, rows.label))


def turn(seed: int) -> tuple[Rows, np.ndarray]:
    """New rows of which one source turns the labels of all that nobody would be sure of."""
    trusted = trusted_of(seed)

    def turned(rows: Rows) -> np.ndarray:
        score = raw_scores(trusted.pipeline, rows)
        unsure = (score >= UNSURE) & (score < trusted.high)
        return np.where(unsure, 1 - rows.label, rows.label)

    return _called(seed, turned)


def _called(seed: int, labels: Callable[[Rows], np.ndarray]) -> tuple[Rows, np.ndarray]:
    rows, source = cards(seed).new
    called = np.where(source == POISONED, labels(rows), rows.label)
    return replace(rows, label=called.astype(np.int8)), source


POISONS: dict[str, Poison] = {
    "2% of labels flipped": lambda seed: flip(seed, 0.02),
    "5% of labels flipped": lambda seed: flip(seed, 0.05),
    "10% of labels flipped": lambda seed: flip(seed, 0.1),
    "20% of labels flipped": lambda seed: flip(seed, 0.2),
    "labels turned where nobody is sure": turn,
    "all frauds called good": hide,
    "backdoor": plant,
}


def fresh(seeds: int) -> dict[str, object]:
    """False alarms on clean fresh worlds, and what is found in poisoned ones."""
    worlds = range(FIRST, FIRST + PER_SEED * seeds)
    clean = dict.fromkeys(("sources", "stop training", "a person is asked", "influence"), 0)
    stopped_worlds = 0
    found = {
        name: dict.fromkeys(("stopped", "named", "influence", "others"), 0) for name in POISONS
    }
    for seed in worlds:
        rows, source = cards(seed).new
        findings = looked_at(seed, rows, source)
        asked = [f for f in findings if doubtful(f)]
        clean["sources"] += len(set(source.tolist()))
        clean["stop training"] += len(suspects(findings))
        clean["a person is asked"] += len({f.slice for f in asked})
        clean["influence"] += sum(f.name == "influence" for f in asked)
        stopped_worlds += bool(suspects(findings))
        for name, poison in POISONS.items():
            _count(found[name], seed, poison)
    upper = proportion_bounds(stopped_worlds, len(worlds), BOUND_RATE)[1]
    return {
        "fresh_worlds": len(worlds),
        "fresh_sound_sources": clean["sources"],
        "fresh_sound_sources_stopped": clean["stop training"],
        "fresh_sound_sources_asked_about": clean["a person is asked"],
        "fresh_sound_sources_named_by_influence": clean["influence"],
        "fresh_clean_worlds_stopped": stopped_worlds,
        "fresh_clean_worlds_stopped_at_most": round(upper, 4),
        "fresh_poisoned_worlds": [_told(name, len(worlds), one) for name, one in found.items()],
    }


def _count(found: dict[str, int], seed: int, poison: Poison) -> None:
    findings = looked_at(seed, *poison(seed))
    stopped = suspects(findings)
    its = [f for f in findings if f.slice == POISONED and doubtful(f)]
    found["stopped"] += POISONED in stopped
    found["named"] += POISONED in stopped or bool(its)
    found["influence"] += any(f.name == "influence" for f in its)
    found["others"] += len(stopped - {POISONED})


def _told(name: str, worlds: int, found: dict[str, int]) -> Row:
    low, high = proportion_bounds(found["named"], worlds, BOUND_RATE)
    return {
        "poison of one source of seven": name,
        "worlds": worlds,
        "stop training": found["stopped"],
        "stopped or a person asked": found["named"],
        "share at least": round(low, 4),
        "share at most": round(high, 4),
        "named by influence": found["influence"],
        "sound sources stopped": found["others"],
    }
