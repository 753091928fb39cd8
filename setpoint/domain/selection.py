"""What is known of the decisions that nobody reviewed.

A model's decisions select its labels: what it sends to review gets one, what it lets pass only
where somebody complains. Metrics on such labels cannot see a positive that the model is blind to.
Exploration sends a known share of what passed to review by lot; what is found there stands for the
rest. The lot decides, so these bounds need no independent rows, unless said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from setpoint.domain.bounds import proportion_bounds
from setpoint.domain.outcome import Direction, Finding, Outcome, not_measured
from setpoint.errors import DataError

BLIND_SPOT = "blind_spot"
LABEL_COVERAGE = "label_coverage"

EXCESS = 1.5
"""How many times the positives known or expected may be missed before that is a blind spot: labels
that are late and scores that are a little off are none."""
MIN_EXPLORED = 50
"""Explored decisions with a label under which nothing is said of a blind spot."""
MIN_LABELS = 10
"""Labels that are no complaints under which nothing is known of a band of scores: with 10, none of
them positive, the share of positives may still be a quarter."""
MAX_UNCOVERED = 0.1
"""Share of all decisions that may lie in bands of scores of which nothing is known."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Selected:
    """Decisions of one version that are old enough for their labels, and what is known of them.

    Attributes:
        score: Calibrated probability, [n].
        above: Whether the score reaches the threshold, [n].
        reviewed: Whether the adverse action was taken, for the score or by lot, [n].
        label: 1 positive, 0 negative, -1 where nothing was told, [n].
        propensity: Probability with which the score sends a decision to review, [n]; NaN where
            nothing is explored.

    Raises:
        DataError: Two shares are explored at once.
    """

    score: Floats
    above: Bools
    reviewed: Bools
    label: NDArray[np.int8]
    propensity: Floats

    def __post_init__(self) -> None:
        shares = np.unique(self.propensity[~self.above & np.isfinite(self.propensity)])
        if len(shares) > 1:
            raise DataError(
                f"the decisions were explored at {len(shares)} shares, {shares[0]:g} to "
                f"{shares[-1]:g}",
                where="label_propensity",
                fix="judge the decisions of one version at a time: it has one share",
            )

    def __len__(self) -> int:
        return len(self.score)

    @property
    def exploring(self) -> bool:
        """Whether every decision under the threshold could be drawn."""
        return bool(len(self)) and bool(np.isfinite(self.propensity).all())

    @cached_property
    def known(self) -> Known:
        """The counts that all estimates rest on."""
        passed, positive = ~self.above, self.label == 1
        seen = passed & self.reviewed & (self.label >= 0)
        return Known(
            caught=int((self.above & positive).sum()),
            passed=int(passed.sum()),
            explored=int(seen.sum()),
            found=int((seen & positive).sum()),
            told=int((passed & ~self.reviewed & positive).sum()),
            expected=float(self.score[passed].sum()),
        )


@dataclass(frozen=True)
class Known:
    """Counts of selected decisions.

    Attributes:
        caught: Positives from the threshold on.
        passed: Decisions under it.
        explored: Those of them that were drawn, reviewed and labelled.
        found: Positives among the explored.
        told: Positives under the threshold that were not drawn and became known all the same.
        expected: Positives under the threshold by the model's own scores.
    """

    caught: int
    passed: int
    explored: int
    found: int
    told: int
    expected: float

    @property
    def missed_at_least(self) -> int:
        """Positives under the threshold that are known, however."""
        return self.found + self.told


@dataclass(frozen=True)
class Estimate:
    """A value with its bounds.

    Attributes:
        value: The estimate; ``None`` where there is nothing to estimate from.
        low: Lower bound, one-sided.
        high: Upper bound, one-sided.
    """

    value: float | None
    low: float
    high: float


def missed(known: Known, error_rate: float) -> Estimate:
    """How many of the decisions under the threshold are positive, those explored included.

    The Hájek estimate, passed · found / explored. Clopper-Pearson bounds of the share: the explored
    are drawn without replacement, for which they are wide enough (Uhlmann 1966). The known
    positives bound it from below for certain.

    Args:
        known: Counts.
        error_rate: Of each bound.
    """
    n = known.explored
    low, high = proportion_bounds(known.found, n, error_rate)
    least = float(known.missed_at_least)
    value = max(known.passed * known.found / n, least) if n else None
    highest = min(known.passed * high, known.passed - (n - known.found))
    return Estimate(value, max(known.passed * low, least), max(highest, least))


def unreviewed_positives(known: Known, error_rate: float) -> Estimate:
    """How many positives nobody reviewed: ``missed`` without those that were explored."""
    whole = missed(known, error_rate)
    value = None if whole.value is None else whole.value - known.found
    return Estimate(value, whole.low - known.found, whole.high - known.found)


def recall(known: Known, error_rate: float) -> Estimate:
    """Share of all positives that the model sends to review by their score.

    Horvitz and Thompson's sums over reviewed positives, each over its propensity, in the ratio form
    of Hájek: what the lot finds stands for what passed. A positive is seen with probability 1
    from the threshold on and with the explored share s under it; so of those seen, caught is
    binomial with share ρ / (ρ + s (1 - ρ)), ρ the recall, and the Clopper-Pearson bounds of it
    are turned into those of ρ. The upper bound is the lower of that and the one by all positives
    that are known, which can only flatter. Each has half the error rate. Positives are taken to
    be independent.

    Args:
        known: Counts.
        error_rate: Of each bound.
    """
    caught = known.caught
    flattered = proportion_bounds(caught, caught + known.missed_at_least, error_rate / 2)[1]
    if known.passed and not known.explored:
        return Estimate(None, 0.0, flattered)
    share = known.explored / known.passed if known.passed else 1.0
    seen = proportion_bounds(caught, caught + known.found, error_rate / 2)
    low, high = (share * odd / (share * odd + 1 - odd) for odd in seen)
    whole = caught + (missed(known, error_rate).value or 0.0)
    return Estimate(caught / whole if whole else None, low, min(high, flattered))


def watch_recall(
    rows: Selected,
    name: str,
    setpoint: float,
    direction: Direction,
    error_rate: float,
    min_sample: int,
) -> Finding:
    """Watch: has the recall left its setpoint, by labels weighted with their propensity?

    Args:
        rows: Explored decisions.
        name: Name of the setpoint.
        setpoint: The recall required, 0 to 1.
        direction: ``floor`` or ``ceiling``.
        error_rate: Chance of a false alarm, one-sided.
        min_sample: Known positives under which the outcome is inconclusive.

    Returns:
        Failed if even the optimistic bound does not hold the setpoint, passed otherwise;
        inconclusive where too little is known, or nothing was explored.
    """
    known = rows.known
    sample = known.caught + known.missed_at_least
    if not rows.exploring:
        return not_measured(name, "nothing is explored", outcome=Outcome.INCONCLUSIVE)
    if sample < max(min_sample, 1) or (known.passed and not known.explored):
        what = f"{sample} positives known, {max(min_sample, 1)} needed; {known.explored} explored"
        return not_measured(name, what, outcome=Outcome.INCONCLUSIVE)
    found = recall(known, error_rate)
    broken = found.high < setpoint if direction == "floor" else found.low > setpoint
    reason = (
        f"{known.caught} caught; {known.found} of {known.explored} explored and {known.told} "
        f"others known to be missed: {found.low:.4g} to {found.high:.4g}, by inverse propensity"
    )
    return Finding(
        name,
        Outcome.FAILED if broken else Outcome.PASSED,
        found.value,
        setpoint,
        direction,
        sample,
        error_rate,
        reason,
        (found.low, found.high),
    )


def blind_spot(rows: Selected, error_rate: float, min_explored: int = MIN_EXPLORED) -> Finding:
    """Audit: does exploration find more positives than are known or expected without it?

    The setpoint is ``EXCESS`` times the larger of two shares of positives under the threshold: that
    of all that are known there, which is more than what would be without exploration, and that
    which the model's scores promise.

    Args:
        rows: Decisions.
        error_rate: Chance of a false alarm, one-sided.
        min_explored: Explored decisions with a label that it needs.

    Returns:
        Failed if the lower bound of the share is above the setpoint, passed otherwise;
        inconclusive under ``min_explored``, or where nothing is explored.
    """
    known = rows.known
    if not rows.exploring or known.explored < max(min_explored, 1):
        what = f"{known.explored} explored decisions have a label, {max(min_explored, 1)} needed"
        return not_measured(BLIND_SPOT, what, outcome=Outcome.INCONCLUSIVE)
    low, high = proportion_bounds(known.found, known.explored, error_rate)
    shown = max(float(known.missed_at_least), known.expected) / known.passed
    setpoint = min(EXCESS * shown, 1.0)
    failed = low > setpoint
    # Of all the decisions that passed, so many are positive and nobody knows which.
    unknown = unreviewed_positives(known, error_rate)
    reason = (
        f"{known.found} of {known.explored} explored are positive, {known.told} of the others are "
        f"known to be and {known.expected:.3g} of {known.passed} were expected; about "
        f"{unknown.value or 0:.0f} ({unknown.low:.0f} to {unknown.high:.0f}) passed unreviewed"
    )
    return Finding(
        BLIND_SPOT,
        Outcome.FAILED if failed else Outcome.PASSED,
        known.found / known.explored,
        setpoint,
        "ceiling",
        known.explored,
        error_rate,
        reason,
        (low, high),
    )


@dataclass(frozen=True)
class Band:
    """Decisions of a band of scores, and how many of them have a label.

    Attributes:
        low: Lowest score, inclusive.
        high: Highest score, exclusive but for 1.
        decisions: How many, all under the threshold or all from it on.
        reviewed: Those reviewed and labelled.
        told: Those with a label that nobody reviewed.
        negative: Those of the latter that are negative, which no complaint is.
    """

    low: float
    high: float
    decisions: int
    reviewed: int
    told: int
    negative: int

    @property
    def coverage(self) -> float:
        """Share of its decisions with any label, 0 to 1; NaN without decisions."""
        return (self.reviewed + self.told) / self.decisions if self.decisions else float("nan")

    @property
    def covered(self) -> bool:
        """Whether enough of it is known by other ways than complaints."""
        return self.reviewed + self.negative >= min(MIN_LABELS, self.decisions)


def bands(rows: Selected, edges: Sequence[float], threshold: float) -> tuple[Band, ...]:
    """Label coverage by score band, lowest first; bands without decisions are left out.

    Args:
        rows: Decisions.
        edges: Inner edges of the bands, e.g. the deciles of the score's profile.
        threshold: An edge too: no band has decisions of both sides.
    """
    inner = sorted({*(e for e in edges if 0 < e < 1), threshold} - {0.0})
    place = np.searchsorted(inner, rows.score, side="right")
    told = ~rows.reviewed & (rows.label >= 0)
    counts = {
        "decisions": np.ones(len(rows), dtype=bool),
        "reviewed": rows.reviewed & (rows.label >= 0),
        "told": told,
        "negative": told & (rows.label == 0),
    }
    by_band = {n: np.bincount(place[mask], minlength=len(inner) + 1) for n, mask in counts.items()}
    ends = [0.0, *inner, 1.0]
    return tuple(
        Band(ends[i], ends[i + 1], **{name: int(found[i]) for name, found in by_band.items()})
        for i in range(len(inner) + 1)
        if by_band["decisions"][i]
    )


def label_coverage(
    rows: Selected, edges: Sequence[float], threshold: float, min_sample: int = 100
) -> Finding:
    """Audit: is something known of what the model lets pass, other than by complaints?

    A count, so without an error rate. The value is the share of decisions that lie in a band under
    the threshold of which too little is known (``Band.covered``).

    Args:
        rows: Decisions.
        edges: Inner edges of the bands.
        threshold: The version's.
        min_sample: Decisions under which the outcome is inconclusive.

    Returns:
        Failed above ``MAX_UNCOVERED``, passed otherwise. Without exploration never passed but
        inconclusive: whether the labels that came are a fair sample nobody knows.
    """
    if len(rows) < max(min_sample, 1):
        what = f"{len(rows)} decisions, {max(min_sample, 1)} needed"
        return not_measured(LABEL_COVERAGE, what, outcome=Outcome.INCONCLUSIVE)
    under = [band for band in bands(rows, edges, threshold) if band.low < threshold]
    unknown = [band for band in under if not band.covered]
    value = sum(band.decisions for band in unknown) / len(rows)
    known = Outcome.PASSED if rows.exploring else Outcome.INCONCLUSIVE
    reason = (
        f"of {len(unknown)} of {len(under)} bands under the threshold no {MIN_LABELS} decisions "
        "have a label other than by complaint"
    )
    if not rows.exploring:
        reason += "; nothing is explored"
    return Finding(
        LABEL_COVERAGE,
        Outcome.FAILED if value > MAX_UNCOVERED else known,
        value,
        MAX_UNCOVERED,
        "ceiling",
        len(rows),
        None,
        reason,
    )
