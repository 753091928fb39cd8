"""Does a client ask in order to copy the model? How its requests differ from those of others.

A copy is built from answers to made-up rows (Tramèr et al. 2016, arXiv 1609.02943). Three shares of
a client's requests tell of it:

* **novel**: rows that lie further from every row of the training data than those lie from each
  other. Rows drawn at random within the allowed bounds do; real ones, also of a niche, do not.
* **probing**: rows that differ from one of the ``BEFORE`` ones before them in at most one field.
  Searching the boundary along one field does that (Lowd and Meek 2005).
* **margin**: rows that score near the threshold, where a copy learns most.

Each is held against a ceiling several times what is usual, where the other clients of the same
window show more against ``TIMES`` theirs: what all traffic does is no attack. Novelty is judged
beside other clients alone, for of a single one it cannot be told from drift.

A copier who sends real rows at the usual rate is not found by any of this, only slowed by the rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.domain.findings import Finding, Outcome, not_measured, watch_ceiling

NOVEL, PROBING, MARGIN = "extraction_novel", "extraction_probing", "extraction_margin"
MIN_ROWS = 200
"""Requests of a client below which nothing is said: a copy of that few answers is a poor one."""
ROWS = 500
"""Requests of a client that are held against the training data, at most, evenly spread."""
MOST = 4_000
"""Newest requests of a client that are looked at."""
BEFORE = 8
"""Earlier requests of the client that each is compared with."""
FAR = 0.99
"""Share of the training rows that lie nearer to their neighbour than what counts as novel."""
NEAR = 0.05
"""Share of the training rows that score nearest to the threshold, on both sides."""
TESTS = (NOVEL, PROBING, MARGIN)
CEILING = 0.25
"""Share that is no attack, of each. Training rows show .01 novel and .05 in the margin; a simulated
niche of rare rows up to .19 novel, rows drawn at random .8 and more (tests/domain)."""
TIMES = 3.0
"""So many times the other clients' share is still no attack."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """What one client asked in a window, oldest first.

    Attributes:
        inputs: The model's inputs by name, [n] each; ``None`` and NaN are missing.
        fields: What it sent by name, without id and time, [n] each.
        scores: Calibrated scores, [n].
        threshold: Score from which the adverse action is taken.
    """

    inputs: Mapping[str, Sequence[Any]]
    fields: Mapping[str, Sequence[Any]]
    scores: Sequence[float]
    threshold: float


@dataclass(frozen=True)
class _Share:
    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else 0.0


def extraction_findings(
    clients: Mapping[str, Asked], training: Mapping[str, Sequence[Any]], error_rate: float
) -> list[Finding]:
    """Hold each client's requests against training rows and the other clients.

    Args:
        clients: What each asked, by the name of its key.
        training: Training rows by input, and their ``score``: the sample of the bundle.
        error_rate: Chance that any client whose true shares are at the ceilings fails, all tests
            and clients together (Bonferroni); rows are taken to be independent.

    Returns:
        Three a client, its name as the slice; failed only on proof (Clopper-Pearson),
        inconclusive under ``MIN_ROWS`` requests, and of novelty without other clients.
    """
    if not clients:
        return []
    known = _Training(training)
    shares = {name: _shares(asked, known) for name, asked in clients.items()}
    rate = error_rate / (len(TESTS) * len(clients))
    return [
        _judge(test, name, [shares[one][test] for one in clients if one != name], own[test], rate)
        for name, own in shares.items()
        for test in TESTS
    ]


def _judge(
    test: str, client: str, others: Sequence[_Share], own: _Share, error_rate: float
) -> Finding:
    seen = sum(one.of for one in others)
    if test == NOVEL and seen < MIN_ROWS and own.of >= MIN_ROWS:
        reason = f"{seen} requests of other clients, {MIN_ROWS} needed to tell it from drift"
        return not_measured(test, reason, outcome=Outcome.INCONCLUSIVE, slice=client)
    usual = sum(one.hits for one in others) / seen if seen >= MIN_ROWS else 0.0
    ceiling = min(max(CEILING, TIMES * usual), 1.0)
    return watch_ceiling(test, own.hits, own.of, ceiling, error_rate, MIN_ROWS, slice=client)


def _shares(asked: Asked, known: _Training) -> dict[str, _Share]:
    n = len(asked.scores)
    rows = np.unique(np.linspace(0, n - 1, min(n, ROWS)).astype(int)) if n else np.empty(0, int)
    some = {name: [values[i] for i in rows] for name, values in asked.inputs.items()}
    return {
        NOVEL: _Share(int(known.novel(some).sum()), len(rows)),
        PROBING: _Share(int(near_duplicates(asked.fields, n).sum()), n),
        MARGIN: _Share(int(known.near(asked.scores, asked.threshold).sum()), n),
    }


def near_duplicates(fields: Mapping[str, Sequence[Any]], n: int) -> NDArray[np.bool_]:
    """Which rows differ from one of the ``BEFORE`` rows before them in at most one field, [n].

    Args:
        fields: Values by name, [n] each.
        n: Rows.
    """
    codes = [_codes(values) for values in fields.values()]
    found = np.zeros(n, dtype=bool)
    for back in range(1, min(BEFORE, n - 1) + 1 if codes else 1):
        differing = sum((code[back:] != code[:-back]).astype(int) for code in codes)
        found[back:] |= differing <= 1
    return found


def _codes(values: Sequence[Any]) -> NDArray[np.int64]:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


class _Training:
    """Training rows, and how far apart they lie.

    The distance of two rows is Gower's (1971): the mean over inputs of 0 or 1 for a category, and
    for a number of the difference by the range of 90 % of the training rows, 1 at most.
    """

    def __init__(self, rows: Mapping[str, Sequence[Any]]) -> None:
        self._scores = np.array([_number(one) for one in rows.get("score", ())], dtype=np.float64)
        self._rows = {name: values for name, values in rows.items() if name != "score"}
        self._encoders = {name: _encoder(values) for name, values in self._rows.items()}
        inputs = self._encoded(self._rows)
        distances = _distances(inputs, inputs)
        np.fill_diagonal(distances, np.inf)
        nearest = distances.min(axis=1) if len(distances) > 1 else np.array([np.inf])
        self._inputs, self._far = inputs, float(np.quantile(nearest, FAR))

    def novel(self, rows: Mapping[str, Sequence[Any]]) -> NDArray[np.bool_]:
        """Which rows lie far from all training rows, [n]."""
        inputs = self._encoded({name: rows[name] for name in self._rows})
        return np.asarray(_distances(inputs, self._inputs).min(axis=1) > self._far)

    def near(self, scores: Sequence[float], threshold: float) -> NDArray[np.bool_]:
        """Which scores are in the band around the threshold that ``NEAR`` of training is in."""
        known = np.sort(self._scores[np.isfinite(self._scores)])
        given = np.asarray(scores, dtype=np.float64)
        if not len(known):
            return np.zeros(len(given), dtype=bool)
        width = np.quantile(np.abs(known - threshold), NEAR)
        return np.asarray(np.abs(given - threshold) <= width)

    def _encoded(self, rows: Mapping[str, Sequence[Any]]) -> list[tuple[Floats, bool]]:
        return [self._encoders[name](values) for name, values in rows.items()]


def _number(value: Any) -> float:
    """NaN for what is missing."""
    return float("nan") if value is None else float(value)


def _encoder(known: Sequence[Any]) -> Any:
    """Turns values of an input into numbers of which a difference of 1 is far."""
    if any(isinstance(value, str) for value in known):
        codes: dict[Any, int] = {}
        for value in known:
            codes.setdefault(value, len(codes))

        def category(values: Sequence[Any]) -> tuple[Floats, bool]:
            return np.array([codes.get(value, -1) for value in values], dtype=np.float64), True

        return category
    numbers = np.array([_number(value) for value in known], dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    low, high = np.quantile(finite, (0.05, 0.95)) if len(finite) else (0.0, 1.0)
    span = float(high - low) or 1.0

    def number(values: Sequence[Any]) -> tuple[Floats, bool]:
        return np.array([_number(value) for value in values], dtype=np.float64) / span, False

    return number


def _distances(rows: list[tuple[Floats, bool]], others: list[tuple[Floats, bool]]) -> Floats:
    """Gower's distance of each row to each other one, [n, m]."""
    n, m = (len(side[0][0]) if side else 0 for side in (rows, others))
    total = np.zeros((n, m))
    for (one, categorical), (other, _) in zip(rows, others, strict=True):
        if categorical:
            total += one[:, None] != other[None, :]
            continue
        apart = np.minimum(np.abs(one[:, None] - other[None, :]), 1.0)
        missing = np.isnan(one)[:, None], np.isnan(other)[None, :]
        apart = np.where(missing[0] != missing[1], 1.0, np.where(missing[0], 0.0, apart))
        total += apart
    return total / max(len(rows), 1)
