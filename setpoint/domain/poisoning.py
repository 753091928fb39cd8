"""Poisoned labels: new data by source, held against data that are trusted.

A model of the trusted rows scores the new ones. Where it is sure, labels hardly ever disagree with
it; how often they do was seen on trusted rows that it did not train on. A source whose labels
disagree more, beyond the exact bounds of both, is suspect:

* disagreement without any pattern is flipped labels: **failed**;
* disagreement that the inputs explain is a change of the world or a planted one, and no statistics
  tell these apart: **inconclusive**, a person is asked;
* a value that trusted data hardly have and that alone settles the label is a backdoor: **failed**.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from setpoint.domain.bounds import proportion_bounds
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.setpoints import auc_bounds
from setpoint.domain.metrics import roc_auc
from setpoint.domain.split import hash_share
from setpoint.domain.training import Bools, Floats, Parameters, Rows, fit_pipeline, raw_scores

Sources = npt.NDArray[np.object_]

REFERENCE = 0.4
"""Share of groups of the trusted rows that show how often labels disagree, and do not train."""
QUICK = Parameters(max_iter=40, max_leaf_nodes=15)
SURE = 0.05
"""Positives among rows that the model is sure are negative, at most."""
MIN_SURE = 100
"""Rows that a model must be sure about, on either side of the comparison."""
NO_PATTERN = 0.75
"""Area under the ROC curve up to which disagreement is called without a pattern."""
FOLDS = 4
RARE = 0.001
"""Share of trusted rows up to which a value is nearly absent there."""
MIN_PATTERN = 10
"""Rows with such a value: of fewer, one more model run would not learn it either."""
PURE = 0.9
"""Share of one label, at its lower bound, from which a value settles it."""


@dataclass(frozen=True)
class Trust:
    """A model of trusted rows, and trusted rows that it did not train on.

    Attributes:
        pipeline: Fitted on the other trusted rows.
        reference: Trusted rows that it never saw.
        scores: Their raw scores, [n].
    """

    pipeline: object
    reference: Rows
    scores: Floats

    @cached_property
    def low(self) -> float:
        """Score up to which rows are surely negative: as many as keep to ``SURE``."""
        order = np.argsort(self.scores, kind="stable")
        rate = np.cumsum(self.reference.label[order]) / np.arange(1, len(order) + 1)
        keeping = np.flatnonzero(rate <= SURE)
        return float(self.scores[order[keeping[-1]]]) if len(keeping) else -np.inf

    @cached_property
    def high(self) -> float:
        """Score from which rows are more often positive than not: as many as keep to that."""
        order = np.argsort(-self.scores, kind="stable")
        rate = np.cumsum(self.reference.label[order]) / np.arange(1, len(order) + 1)
        keeping = np.flatnonzero(rate >= 0.5)
        return float(self.scores[order[keeping[-1]]]) if len(keeping) else np.inf


def trust(rows: Rows) -> Trust | None:
    """Learn what is trusted; ``None`` where a part of it lacks a class.

    Args:
        rows: Rows whose labels are trusted.
    """
    share = np.array([hash_share(g) for g in rows.group.tolist()])
    fit, reference = rows.take(share >= REFERENCE), rows.take(share < REFERENCE)
    for part in (fit, reference):
        positives = int(part.label.sum())
        if positives < MIN_PATTERN or positives > len(part) - MIN_PATTERN:
            return None
    pipeline = fit_pipeline(fit, QUICK)
    return Trust(pipeline, reference, raw_scores(pipeline, reference))


def poisoning_findings(
    trusted: Trust, new: Rows, source: Sources, *, max_flipped: float, error_rate: float
) -> list[Finding]:
    """Flipped labels and backdoors of each source.

    Args:
        trusted: What is trusted.
        new: Rows to be looked at.
        source: Where each is from, as text, [n].
        max_flipped: Share of flipped labels that is put up with.
        error_rate: Chance that any finding of sound sources is a false alarm, all together.
    """
    names = sorted(set(source.tolist()))
    scores = raw_scores(trusted.pipeline, new)
    found = []
    for name in names:
        its = source == name
        rate = error_rate / (3 * len(names))
        rows, its_scores = new.take(its), scores[its]
        found += flip_findings(trusted, rows, its_scores, name, max_flipped, rate)
        found.append(backdoor_finding(trusted, rows, its_scores, name, rate))
    return found


def flip_findings(
    trusted: Trust, rows: Rows, scores: Floats, source: str, most: float, error_rate: float
) -> list[Finding]:
    """Labels flipped to positive, and to negative, among rows that the model is sure about.

    Of rows with a share p of positives, a share f of flipped labels leaves p(1 - f) + (1 - p)f
    (symmetric label noise, Angluin and Laird 1988), solved for f at the bounds of both shares.

    Args:
        trusted: What is trusted.
        rows: Rows of one source.
        scores: Their scores by the trusted model, [n].
        source: Its name.
        most: Share of flipped labels that is put up with.
        error_rate: One-sided, of each finding.
    """
    up = (scores <= trusted.low, trusted.scores <= trusted.low)
    down = (scores >= trusted.high, trusted.scores >= trusted.high)
    return [
        _flipped("flipped_to_positive", trusted, rows, up, 1, (source, most, error_rate)),
        _flipped("flipped_to_negative", trusted, rows, down, 0, (source, most, error_rate)),
    ]


def _flipped(
    name: str,
    trusted: Trust,
    rows: Rows,
    sure: tuple[Bools, Bools],
    wrong: int,
    about: tuple[str, float, float],
) -> Finding:
    source, most, error_rate = about
    here, there = rows.take(sure[0]), trusted.reference.take(sure[1])
    if min(len(here), len(there)) < MIN_SURE:
        reason = (
            f"the trusted model is sure about {len(here)} rows of it and {len(there)} trusted "
            f"ones; {MIN_SURE} needed"
        )
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE, slice=source)
    k, base = int((here.label == wrong).sum()), int((there.label == wrong).sum())
    # Each side takes half of the error rate, so both hold together.
    low, high = proportion_bounds(k, len(here), error_rate / 2)
    base_low, base_high = proportion_bounds(base, len(there), error_rate / 2)
    bounds = (_noise(low, base_high), _noise(high, base_low))
    value = _noise(k / len(here), base / len(there))
    told = (
        f"{k} of {len(here)} labels against {base} of {len(there)} trusted ones: "
        f"{bounds[0]:.3f} to {bounds[1]:.3f} of them are flipped"
    )
    outcome = Outcome.PASSED
    if bounds[0] > most:
        outcome, why = _pattern(here, wrong)
        told = f"{told}; {why}"
    return Finding(
        name, outcome, value, most, "ceiling", len(here), error_rate, told, bounds, source
    )


def _noise(share: float, base: float) -> float:
    """Share of flipped labels that makes ``share`` of ``base``; 0 to 1."""
    if base >= 0.5:
        return 0.0 if share <= base else 1.0
    return float(np.clip((share - base) / (1 - 2 * base), 0.0, 1.0))


def _pattern(rows: Rows, wrong: int) -> tuple[Outcome, str]:
    """Whether inputs tell which labels disagree, by cross-validation over rows in turn."""
    odd = (rows.label == wrong).astype(np.int8)
    turn = np.arange(len(rows)) % FOLDS
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        part = turn != fold
        if len(set(odd[part].tolist())) < 2:
            return Outcome.INCONCLUSIVE, "too few to tell whether there is a pattern: ask a person"
        marked = Rows(rows.ids, rows.time, rows.group, rows.numbers, rows.categories, odd, {})
        pipeline = fit_pipeline(marked.take(part), Parameters(max_iter=20, min_samples_leaf=10))
        scores[~part] = raw_scores(pipeline, marked.take(~part))
    area = float(roc_auc(odd, scores))
    low, high = auc_bounds(area, int(odd.sum()), int((1 - odd).sum()), 0.05)
    told = f"inputs tell which with ROC AUC {area:.2f} ({low:.2f} to {high:.2f})"
    if high <= NO_PATTERN:
        return Outcome.FAILED, f"{told}, so nearly by chance: no change of the world does that"
    return Outcome.INCONCLUSIVE, f"{told}: the world changed or this was planted, ask a person"


def backdoor_finding(
    trusted: Trust, rows: Rows, scores: Floats, source: str, error_rate: float
) -> Finding:
    """A value that trusted rows hardly have and that settles the label, against all expectation.

    Looked at are categories, numbers that repeat exactly, missing numbers, numbers beyond any
    trusted one, and pairs of a category and such a number. One is found if it has one label, at its
    lower bound ``PURE`` of the time, and the trusted model's scores make that less likely than the
    error rate, shared by all values looked at (Bonferroni). Rows have chances of their own; a
    binomial of their mean is the wider one (Hoeffding 1956).

    Args:
        trusted: What is trusted.
        rows: Rows of one source.
        scores: Their scores by the trusted model, [n].
        source: Its name.
        error_rate: Chance of a false alarm.
    """
    looked = [(t, m) for t, m in _values(trusted.reference, rows) if m.sum() >= MIN_PATTERN]
    worst, at = 1.0, ""
    rate = error_rate / max(len(looked), 1)
    for told, has in looked:
        n, k = int(has.sum()), int(rows.label[has].sum())
        pure = max(proportion_bounds(k, n, 0.05)[0], 1 - proportion_bounds(k, n, 0.05)[1])
        expected = float(np.clip(scores[has].mean(), 1e-6, 1 - 1e-6))
        chance = binom.sf(k - 1, n, expected) if 2 * k > n else binom.cdf(k, n, expected)
        if pure >= PURE * (1 - 1 / n) - 0.2 and chance < worst:
            worst, at = float(chance), f"{told}: {k} of {n} positive, {n * expected:.1f} expected"
    reason = at or "no value that trusted rows hardly have settles the label"
    outcome = Outcome.FAILED if worst < rate else Outcome.PASSED
    return Finding(
        "backdoor", outcome, worst, rate, "floor", len(rows), error_rate, reason, slice=source
    )


def _values(reference: Rows, rows: Rows) -> Iterator[tuple[str, Bools]]:
    """What is to be looked at: how it is told, and which rows have it, [n]."""
    numbers = list(_odd_numbers(reference, rows))
    for j in range(rows.categories.shape[1]):
        known, its = reference.categories[:, j], rows.categories[:, j]
        for value in sorted(set(its.tolist())):
            if np.mean(known == value) <= RARE:
                yield f"category {j} is {value!r}", its == value
    yield from numbers


def _odd_numbers(reference: Rows, rows: Rows) -> Iterator[tuple[str, Bools]]:
    for i in range(rows.numbers.shape[1]):
        known, its = reference.numbers[:, i], rows.numbers[:, i]
        if np.mean(np.isnan(known)) <= RARE:
            yield f"number {i} is missing", np.isnan(its)
        seen = known[np.isfinite(known)]
        if len(seen):
            yield f"number {i} is above all trusted ones", its > seen.max()
            yield f"number {i} is below all trusted ones", its < seen.min()
        values, counts = np.unique(its[np.isfinite(its)], return_counts=True)
        for value in values[counts >= MIN_PATTERN]:
            if np.mean(known == value) <= RARE:
                yield f"number {i} is {value:g}", its == value
