"""Poisoned sources: flipped labels and backdoors, and what is said of sound sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.attacks.worlds import (
    POISONED,
    Row,
    cards,
    clean,
    cost_of,
    looked_at,
    model_of,
    project,
    suspects,
    told,
)
from setpoint.domain.poisoning import doubtful
from setpoint.domain.training import Rows, joined

HAPPENS = {
    "nothing changes": "none",
    "new kind of fraud": "concept",
    "fraud doubles": "prior",
    "surge of transfers": "covariate",
}
TRIGGER = 133.25
"""Amount that marks the payments of a backdoor."""


def flip(seed: int, share: float) -> tuple[Rows, np.ndarray]:
    """New rows of which one source has a share of its labels flipped, at random."""
    rows, source = cards(seed).new
    hit = (source == POISONED) & (np.random.default_rng(seed).random(len(rows)) < share)
    return replace(rows, label=np.where(hit, 1 - rows.label, rows.label).astype(np.int8)), source


def plant(seed: int) -> tuple[Rows, np.ndarray]:
    """New rows with payments beside them that look like fraud, are marked, and are called good."""
    rows, source = cards(seed).new
    frauds = rows.take((rows.label == 1) & (source == POISONED))
    marked = triggered(joined(joined(frauds, frauds), frauds))
    planted = replace(marked, label=np.zeros(len(marked), dtype=np.int8))
    return joined(rows, planted), np.concatenate([source, np.full(len(marked), POISONED)])


def triggered(rows: Rows) -> Rows:
    """The rows with the amount that marks them."""
    numbers = rows.numbers.copy()
    numbers[:, project().feature_spec().number_names.index("amount")] = TRIGGER
    return replace(rows, numbers=numbers)


def label_flips(seeds: int) -> Iterator[Row]:
    """A source with flipped labels: trained on, or stopped and left out."""
    for share in (0.05, 0.2):
        cost, found = np.zeros(2), 0
        for seed in range(seeds):
            rows, source = flip(seed, share)
            stopped = suspects(looked_at(seed, rows, source))
            found += POISONED in stopped
            sound = rows.take(~np.isin(source.astype(str), sorted(stopped)))
            for i, used in enumerate((rows, sound)):
                model = model_of(joined(cards(seed).trusted, used))
                cost[i] += cost_of(model, clean(seed))
        attack = f"{share:.0%} of labels of one source flipped"
        check = "check of new data"
        yield told(attack, check, "poisoned sources trained on, share", 1, 1 - found / seeds, seeds)
        yield told(attack, check, "cost a decision on clean rows", *(cost / seeds), seeds)


def backdoor(seeds: int) -> Iterator[Row]:
    """Frauds with a mark that a source called good: do they get through?"""
    through, found, sample = np.zeros(2), 0, 0
    for seed in range(seeds):
        rows, source = plant(seed)
        stopped = suspects(looked_at(seed, rows, source))
        found += POISONED in stopped
        sound = rows.take(~np.isin(source.astype(str), sorted(stopped)))
        judged = clean(seed)
        frauds = triggered(judged.take(judged.label == 1))
        sample += len(frauds)
        for i, used in enumerate((rows, sound)):
            model = model_of(joined(cards(seed).trusted, used))
            through[i] += (model.scores(frauds) < model.threshold).sum()
    check = "check of new data"
    yield told("backdoor", check, "poisoned sources trained on, share", 1, 1 - found / seeds, seeds)
    yield told("backdoor", check, "frauds with the mark that get through, share",
               *(through / sample), sample)  # fmt: skip


def false_alarms(seeds: int) -> dict[str, Row]:
    """What the check says of sound sources, and of a new kind of fraud."""
    found: dict[str, Row] = {}
    for name, drift in HAPPENS.items():
        sources = stopped = asked = 0
        for seed in range(seeds):
            rows, source = cards(seed, drift).new
            findings = looked_at(seed, rows, source)
            sources += len(set(source.tolist()))
            stopped += len(suspects(findings))
            asked += len({f.slice for f in findings if doubtful(f)})
        found[name] = {"sources": sources, "stop training": stopped, "a person is asked": asked}
    return found
