"""Poisoned labels: new data by source, held against data that are trusted.

A model of the trusted rows scores the new ones. Where it is sure, labels hardly ever disagree with
it; how often they do was seen on trusted rows that it did not train on. A source whose labels
disagree more, beyond the exact bounds of both, is suspect:

* disagreement without any pattern is flipped labels: **failed**;
* disagreement that inputs or time explain, or that half of the labels may have, is a change of the
  world or a planted one, and no statistics tell these apart: **inconclusive**, a person is asked;
* a value that trusted data hardly have and that alone settles the label is a backdoor: **failed**,
  unless half of either label may have turned there: then nobody knows what to expect of it.

A source whose rows make a model worse on trusted rows is named as well, and a person is asked
(``setpoint.domain.influence``): that sees poison where the model was never sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from setpoint.domain.attack import Singles
from setpoint.domain.bounds import proportion_bounds
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.setpoints import auc_bounds
from setpoint.domain.influence import Judges, Sources, influence_finding
from setpoint.domain.metrics import roc_auc
from setpoint.domain.split import hash_share
from setpoint.domain.training import Bools, Floats, Parameters, Rows, fit_pipeline, raw_scores

CHECKS = 4
"""Findings of a source, which share the error rate: two of flips, backdoor, influence."""
REFERENCE = 0.4
"""Share of groups of the trusted rows that show how often labels disagree, and do not train."""
QUICK = Parameters(max_iter=40, max_leaf_nodes=15)
SURE = 0.02
"""Positives among rows that the model is sure are negative, at most."""
SURELY_POSITIVE = 0.75
"""Positives among rows that it is sure are positive, at least: rare events are never as sure."""
MIN_SURE = 50
"""Rows that a model must be sure about, on either side of the comparison."""
SMALL = 2 * MIN_SURE
"""Rows of which a source that has fewer is judged with other such ones."""
NO_PATTERN = 0.75
"""Area under the ROC curve up to which disagreement is called without a pattern."""
FOLDS = 4
RARE = 0.001
"""Share of trusted rows up to which a value is nearly absent there."""
MIN_PATTERN = 10
"""Rows with such a value: of fewer, one more model run would not learn it either."""
TURNED = 0.5
"""Share of flipped labels from which it is no sound source with flips in it: the world turned."""
PURE = 0.9
"""Share of one label from which a value settles it."""
AGAINST = 0.2
"""How far that share is from the expected one, at least: a good customer more is no backdoor."""


@dataclass(frozen=True)
class Trust:
    """A model of trusted rows, and trusted rows that it did not train on.

    Attributes:
        pipeline: Fitted on the other trusted rows.
        reference: Trusted rows that it never saw.
        scores: Their raw scores, [n].
        judges: The same rows parted the same way, for the influence of a source.
    """

    pipeline: object
    reference: Rows
    scores: Floats
    judges: Judges

    @cached_property
    def low(self) -> float:
        """Score up to which rows are surely negative: as many as keep to ``SURE``."""
        return _edge(self.scores, self.reference.label, lambda rate: rate <= SURE, -np.inf)

    @cached_property
    def high(self) -> float:
        """Score from which rows are surely positive: as many as keep to ``SURELY_POSITIVE``."""
        label = self.reference.label
        return -_edge(-self.scores, label, lambda rate: rate >= SURELY_POSITIVE, -np.inf)


def _edge(
    scores: Floats, label: npt.NDArray[np.int8], holds: Callable[[Floats], Bools], none: float
) -> float:
    """Largest score up to which the share of positives holds; equal scores stay together."""
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    rate = np.cumsum(label[order]) / np.arange(1, len(order) + 1)
    last = np.append(rising[1:] != rising[:-1], True)
    keeping = np.flatnonzero(holds(rate) & last)
    return float(rising[keeping[-1]]) if len(keeping) else none


def trust(rows: Rows, source: Sources | None = None) -> Trust | None:
    """Learn what is trusted; ``None`` where a part of it lacks a class.

    Args:
        rows: Rows whose labels are trusted.
        source: Where each is from, as text, [n]; ``None``: none of the new sources gave any.
    """
    share = np.array([hash_share(g) for g in rows.group.tolist()])
    fit, reference = rows.take(share >= REFERENCE), rows.take(share < REFERENCE)
    for part in (fit, reference):
        positives = int(part.label.sum())
        if positives < MIN_PATTERN or positives > len(part) - MIN_PATTERN:
            return None
    pipeline = fit_pipeline(fit, QUICK)
    given = None if source is None else source[share < REFERENCE]
    judges = Judges(fit, reference, given)
    return Trust(pipeline, reference, raw_scores(pipeline, reference), judges)


def poisoning_findings(
    trusted: Trust,
    new: Rows,
    source: Sources,
    names: Sequence[str],
    *,
    max_flipped: float,
    error_rate: float,
) -> list[Finding]:
    """Flipped labels, backdoors and influence of each source, small ones taken together.

    Args:
        trusted: What is trusted.
        new: Rows to be looked at.
        source: Where each is from, as text, [n].
        names: Inputs that are columns of a request, numbers first; others nobody can mark.
        max_flipped: Share of flipped labels that is put up with.
        error_rate: Chance that any finding of sound sources is a false alarm, all together.
    """
    source = _pooled(source)
    sources = sorted(set(source.tolist()))
    scores = raw_scores(trusted.pipeline, new)
    rate = error_rate / max(CHECKS * len(sources), 1)
    found = []
    for one in sources:
        its = source == one
        rows = new.take(its)
        flips = flip_findings(trusted, rows, scores[its], one, max_flipped, rate)
        marked = backdoor_finding(trusted, rows, scores[its], one, names, rate)
        if marked.outcome == Outcome.FAILED and all(_turned(flip) for flip in flips):
            reason = f"{marked.reason}; but half of either label may have turned: ask a person"
            marked = replace(marked, outcome=Outcome.INCONCLUSIVE, reason=reason)
        found += [*flips, marked, influence_finding(trusted.judges, rows, one, rate)]
    return found


def _pooled(source: Sources) -> Sources:
    """The sources, those of few rows under one name: none of them alone can be judged."""
    names, place, rows = np.unique(source.astype(str), return_inverse=True, return_counts=True)
    small = rows < SMALL
    if small.sum() < 2:
        return source
    told = f"{small.sum()} small sources ({', '.join(names[small][:3])} ...)"
    return np.array([told if small[one] else names[one] for one in place], dtype=object)


def doubtful(finding: Finding) -> bool:
    """Whether a person is to be asked: more than is put up with is proven, its cause is not."""
    proven = finding.interval is not None and finding.interval[0] > (finding.setpoint or 0.0)
    return finding.outcome == Outcome.INCONCLUSIVE and proven


def _turned(flips: Finding) -> bool:
    return doubtful(flips) and flips.interval is not None and flips.interval[1] >= TURNED


def flip_findings(
    trusted: Trust, rows: Rows, scores: Floats, source: str, most: float, error_rate: float
) -> list[Finding]:
    """Labels flipped to positive, and to negative, among rows that the model is sure about.

    The share of flipped labels is that which turns the share of trusted labels that disagree into
    the source's (label noise of one class, Natarajan et al. 2013), at the bounds of both.

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
    bounds = (_flips(low, base_high), _flips(high, base_low))
    value = _flips(k / len(here), base / len(there))
    told = (
        f"{k} of {len(here)} labels against {base} of {len(there)} trusted ones: "
        f"{bounds[0]:.3f} to {bounds[1]:.3f} of them are flipped"
    )
    outcome = Outcome.PASSED
    if bounds[0] > most:
        outcome, why = _pattern(here, wrong)
        if bounds[1] >= TURNED:
            outcome = Outcome.INCONCLUSIVE
            why = "half of them or more: the world turned or this was planted, ask a person"
        told = f"{told}; {why}"
    return Finding(
        name, outcome, value, most, "ceiling", len(here), error_rate, told, bounds, source
    )


def _flips(share: float, base: float) -> float:
    """Share of the labels that would agree and are flipped, where ``base`` disagree anyway; 0 to 1.

    Solves ``share = base + (1 - base) f`` for f.
    """
    return float(np.clip((share - base) / (1 - base), 0.0, 1.0)) if base < 1 else 0.0


def _pattern(rows: Rows, wrong: int) -> tuple[Outcome, str]:
    """Whether inputs or the time tell which labels disagree, by cross-validation over rows."""
    odd = (rows.label == wrong).astype(np.int8)
    since = (rows.time - rows.time.min()) / max(int(np.ptp(rows.time)), 1)
    numbers = np.column_stack([rows.numbers, since.astype(np.float32)])
    turn = np.arange(len(rows)) % FOLDS
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        part = turn != fold
        if len(set(odd[part].tolist())) < 2:
            return Outcome.INCONCLUSIVE, "too few to tell whether there is a pattern: ask a person"
        marked = Rows(rows.ids, rows.time, rows.group, numbers, rows.categories, odd, {})
        pipeline = fit_pipeline(marked.take(part), Parameters(max_iter=20, min_samples_leaf=10))
        scores[~part] = raw_scores(pipeline, marked.take(~part))
    area = float(roc_auc(odd, scores))
    low, high = auc_bounds(area, int(odd.sum()), int((1 - odd).sum()), 0.05)
    told = f"inputs and time tell which with ROC AUC {area:.2f} ({low:.2f} to {high:.2f})"
    if high <= NO_PATTERN:
        return Outcome.FAILED, f"{told}, so nearly by chance: no change of the world does that"
    return Outcome.INCONCLUSIVE, f"{told}: the world changed or this was planted, ask a person"


def backdoor_finding(
    trusted: Trust,
    rows: Rows,
    scores: Floats,
    source: str,
    names: Sequence[str],
    error_rate: float,
) -> Finding:
    """A value that trusted rows hardly have and that settles the label, against all expectation.

    Looked at are categories, numbers that repeat exactly, missing numbers, and numbers beyond any
    trusted one. One is found if it has one label ``PURE`` of the time, ``AGAINST`` what the trusted
    model's scores expect, and those make that less likely than the error rate, shared by all values
    looked at (Bonferroni). Rows have chances of their own; a binomial of their mean is the wider
    one (Hoeffding 1956).

    Args:
        trusted: What is trusted.
        rows: Rows of one source.
        scores: Their scores by the trusted model, [n].
        source: Its name.
        names: Inputs that are columns of a request, numbers first; others nobody can mark.
        error_rate: Chance of a false alarm.
    """
    looked = [(t, m) for t, m in _values(trusted.reference, rows, names) if m.sum() >= MIN_PATTERN]
    worst, at = 1.0, ""
    rate = error_rate / max(len(looked), 1)
    for told, has in looked:
        n, k = int(has.sum()), int(rows.label[has].sum())
        expected = float(scores[has].mean())
        settled = max(k, n - k) >= PURE * n and abs(k / n - expected) >= AGAINST
        chance = binom.sf(k - 1, n, expected) if 2 * k > n else binom.cdf(k, n, expected)
        if settled and chance < worst:
            worst, at = float(chance), f"{told}: {k} of {n} positive, {n * expected:.1f} expected"
    reason = at or "no value that trusted rows hardly have settles the label"
    outcome = Outcome.FAILED if worst < rate else Outcome.PASSED
    return Finding(
        "backdoor", outcome, worst, rate, "floor", len(rows), error_rate, reason, slice=source
    )


def _values(reference: Rows, rows: Rows, names: Sequence[str]) -> Iterator[tuple[str, Bools]]:
    """What is to be looked at: how it is told, and which rows have it, [n]."""
    k = len(names) - rows.categories.shape[1]
    for i, name in enumerate(names[:k]):  # those of a request are the first of all numbers
        yield from _odd_numbers(name, reference.numbers[:, i], rows.numbers[:, i])
    for j in range(rows.categories.shape[1]):
        known, its = reference.categories[:, j], rows.categories[:, j]
        for value in sorted(set(its.tolist())):
            if np.mean(known == value) <= RARE:
                yield f"{names[k + j]} is {value!r}", its == value


def _odd_numbers(name: str, known: Singles, its: Singles) -> Iterator[tuple[str, Bools]]:
    if np.mean(np.isnan(known)) <= RARE:
        yield f"{name} is missing", np.isnan(its)
    seen = known[np.isfinite(known)]
    if len(seen):
        yield f"{name} is above {seen.max():g}", its > seen.max()
        yield f"{name} is below {seen.min():g}", its < seen.min()
    values, counts = np.unique(its[np.isfinite(its)], return_counts=True)
    for value in values[counts >= MIN_PATTERN]:
        if np.mean(known == value) <= RARE:
            yield f"{name} is {value:g}", its == value
