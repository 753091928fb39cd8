"""Is a window distributed as the training data were? PSI with a sampling distribution beside it.

``PSI = Σ (a - e) ln(a / e)`` over cells, ``a`` the share of the window, ``e`` that of the
training data. Cells whose expected count in the window is under 5 are merged first: ordered bins
with their neighbour, what is still under 5 into one cell of rare values. Both shares then have a
floor of 1e-4, so that an empty cell has a finite and stated weight.

Without drift ``PSI / s`` follows a chi-square with ``B - 1`` degrees of freedom, where
``s = design_effect / n + 1 / m`` for ``n`` rows in the window and ``m`` in training; with drift a
noncentral one (Yurdakul 2018). So with ``crit = s * chi2.isf(alpha / K, B - 1)`` for ``K`` columns:

* act: PSI above both .25 and crit (failed);
* watch: PSI above both .1 and crit (passed, and the reason says watch);
* inconclusive: otherwise, if crit is above .1: the window is too small to call anything safe;
* safe: otherwise.

In windows of a few hundred rows the logarithm gives PSI a longer tail than the chi-square's (100
rows, 20 columns, alpha .05: 14 % false alarms), so above crit must also be Pearson's statistic of
the same cells, in the unit of PSI; without drift the two agree ever closer as rows grow.

Rows that come in groups (customers, days) raise PSI without drift; ``design_effects`` measures by
how much on past windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, chndtrinc, ndtri

from setpoint.domain.bounds import check_error_rate
from setpoint.domain.findings import Finding, Outcome, Verdict
from setpoint.domain.profile import ColumnProfile, Counts, Ints, Profile, count, direction
from setpoint.errors import DataError

__all__ = [
    "BANDS",
    "FLOOR",
    "Band",
    "Counts",
    "PsiFinding",
    "band_of",
    "count",
    "design_effects",
    "drift_verdict",
    "merged_shares",
    "psi",
    "psi_findings",
    "psi_terms",
]

Band = Literal["safe", "watch", "act", "inconclusive", "error"]
Floats = NDArray[np.float64]

BANDS = (0.1, 0.25)
MIN_EXPECTED = 5.0
FLOOR = 1e-4

_OUTCOMES: dict[Band, Outcome] = {
    "safe": Outcome.PASSED,
    "watch": Outcome.PASSED,
    "act": Outcome.FAILED,
    "inconclusive": Outcome.INCONCLUSIVE,
    "error": Outcome.ERROR,
}


@dataclass(frozen=True)
class PsiFinding:
    """Drift of one column.

    Attributes:
        column: Its name.
        band: ``safe``, ``watch``, ``act``, ``inconclusive``, or ``error`` for a missing column.
        psi: As defined above; NaN without rows.
        debiased: ``max(0, psi - (bins - 1) s)``: what PSI would be in an endless window.
        interval: Lower and upper bound of the true PSI, each one-sided at ``error_rate``.
        crit: PSI that no-drift windows exceed with probability ``error_rate``.
        p_value: Chance of such a difference without drift (of the larger one, by PSI and by
            Pearson's statistic), not corrected for the number of columns.
        error_rate: ``alpha`` over the number of columns (Bonferroni).
        bins: Cells after merging.
        sample: Rows of the window.
        reference: Rows of the training data.
        design_effect: Rows of the window that are worth one independent row.
        null_share: Share of the window that is missing; ``reference_null_share`` in training.
        unseen_share: Share of the window with a category not listed in the profile; 0 for
            numbers.
        setpoint: The act band.
        moved: ``higher`` or ``lower`` where numbers moved that way (``direction``), else empty.
    """

    column: str
    band: Band
    psi: float
    debiased: float
    interval: tuple[float, float]
    crit: float
    p_value: float
    error_rate: float
    bins: int
    sample: int
    reference: int
    design_effect: float
    null_share: float
    reference_null_share: float
    unseen_share: float
    setpoint: float = BANDS[1]
    moved: str = ""

    @property
    def outcome(self) -> Outcome:
        """Act is failed, watch and safe are passed."""
        return _OUTCOMES[self.band]

    @property
    def reason(self) -> str:
        """One sentence for people."""
        if self.band == "error":
            return "the window has no such column"
        figures = f"PSI {self.psi:.3f} ({self.debiased:.3f} debiased), chance limit {self.crit:.3f}"
        if self.band == "inconclusive":
            return f"inconclusive: {self.sample:,} rows are too few, {figures}"
        unseen = f", {self.unseen_share:.1%} unseen" if self.unseen_share else ""
        nulls = self.null_share - self.reference_null_share
        missing = f", missing {self.null_share:.1%}" if abs(nulls) > 0.01 else ""
        return f"{self.band}: {figures}{unseen}{missing}"

    @property
    def finding(self) -> Finding:
        """The same as a finding called ``psi``, with the column as its slice."""
        blind = math.isnan(self.psi)
        return Finding(
            "psi",
            self.outcome,
            None if blind else self.psi,
            self.setpoint,
            "ceiling",
            self.sample,
            self.error_rate,
            self.reason,
            None if blind else self.interval,
            self.column,
            self.moved,
        )


def drift_verdict(findings: Sequence[PsiFinding]) -> Verdict:
    """The findings of all columns as one verdict."""
    return Verdict(tuple(f.finding for f in findings))


def psi_findings(
    profile: Profile,
    counts: Counts,
    alpha: float = 0.05,
    bands: tuple[float, float] = BANDS,
    design_effect: float | Mapping[str, float] = 1.0,
) -> list[PsiFinding]:
    """Judge every column of a window.

    Args:
        profile: The reference profile.
        counts: The window, counted against it.
        alpha: Chance that any column of a window without drift is called watch or act.
        bands: PSI from which to watch and from which to act.
        design_effect: At least 1; one figure, or by column (1 for those left out).

    Returns:
        One a column of the profile, in its order.

    Raises:
        DataError: Alpha or bands are impossible, or the counts are of another profile.
    """
    check_error_rate(alpha)
    if not 0 < bands[0] <= bands[1]:
        raise DataError(
            f"bands {bands} do not rise from above 0",
            where="bands",
            fix="give the PSI to watch and the PSI to act from, e.g. (0.1, 0.25)",
        )
    each = alpha / max(len(profile.columns), 1)
    found = []
    for column in profile.columns:
        effect = (
            design_effect.get(column.name, 1.0)
            if isinstance(design_effect, Mapping)
            else design_effect
        )
        found.append(_judge(column, counts.cells.get(column.name), each, bands, max(effect, 1.0)))
    return found


def _judge(
    column: ColumnProfile,
    cells: Ints | None,
    alpha: float,
    bands: tuple[float, float],
    effect: float,
) -> PsiFinding:
    n, m = 0 if cells is None else int(cells.sum()), column.rows
    if cells is None or n == 0 or m == 0:
        return _blind(column, "error" if cells is None else "inconclusive", alpha, effect, bands)
    a, e = merged_shares(column, cells, effect)
    psi = _psi(a, e)
    s = effect / n + 1 / m
    free = max(len(a) - 1, 1)
    crit = s * float(chdtri(free, alpha))
    p_value = float(chdtrc(free, min(psi, _pearson(a, e, effect / n, 1 / m)) / s))
    band: Band = "inconclusive" if crit > bands[0] else "safe"
    if p_value < alpha and psi > bands[0]:
        band = band_of(psi, bands)
    low, high = (s * x for x in _noncentrality(psi / s, free, alpha))
    return PsiFinding(
        column=column.name,
        band=band,
        psi=psi,
        debiased=max(0.0, psi - (len(a) - 1) * s),
        interval=(low, high),
        crit=crit,
        p_value=p_value,
        error_rate=alpha,
        bins=len(a),
        sample=n,
        reference=m,
        design_effect=effect,
        null_share=int(cells[-1]) / n,
        reference_null_share=column.counts[-1] / m,
        unseen_share=int(cells[-2]) / n if column.kind == "category" else 0.0,
        setpoint=bands[1],
        moved=direction(column, cells),
    )


def _blind(
    column: ColumnProfile, band: Band, alpha: float, effect: float, bands: tuple[float, float]
) -> PsiFinding:
    nan, m = math.nan, column.rows
    nulls = column.counts[-1] / m if m else nan
    return PsiFinding(
        column.name, band, nan, nan, (nan, nan), math.inf, nan, alpha, 0, 0, m, effect, nan,
        nulls, nan, bands[1],
    )  # fmt: skip


def psi(profile: ColumnProfile, cells: Ints) -> float:
    """PSI of one column of a window, as defined above; NaN without rows.

    Raises:
        DataError: The counts are of another profile.
    """
    if cells.sum() == 0 or profile.rows == 0:
        return math.nan
    return _psi(*merged_shares(profile, cells))


def band_of(psi: float, bands: tuple[float, float] = BANDS) -> Band:
    """Safe, watch or act by the figure alone, whatever number of rows it rests on."""
    if psi <= bands[0]:
        return "safe"
    return "act" if psi > bands[1] else "watch"


def psi_terms(a: Floats, e: Floats) -> Floats:
    """What each cell adds to PSI, at least 0: ``(a - e) ln(a / e)`` after the floor.

    Args:
        a: Shares of the window, 0 to 1.
        e: Shares of the training data, 0 to 1, of the same cells.
    """
    a, e = np.maximum(a, FLOOR), np.maximum(e, FLOOR)
    terms: Floats = (a - e) * np.log(a / e)
    return terms


def _psi(a: Floats, e: Floats) -> float:
    return float(psi_terms(a, e).sum())


def _pearson(a: Floats, e: Floats, spread_a: float, spread_e: float) -> float:
    """Pearson's two-sample statistic times ``spread_a + spread_e``: comparable with PSI."""
    pooled = (a * spread_e + e * spread_a) / (spread_a + spread_e)
    return float(((a - e) ** 2 / pooled).sum())


def merged_shares(
    column: ColumnProfile, cells: Ints, design_effect: float = 1.0
) -> tuple[Floats, Floats]:
    """Shares of window and training in the merged cells, before the floor.

    Cells that neither has a row in are left out: they carry no information.

    Args:
        column: The profile of the column.
        cells: Rows of the window in each of its cells; at least one row.
        design_effect: The expected count is that of independent rows.

    Raises:
        DataError: The counts are of another profile.
    """
    if len(cells) != column.cells:
        raise DataError(
            f"{len(cells)} counts for {column.cells} cells",
            where=column.name,
            fix="count the window against this profile",
        )
    base = np.asarray(column.counts, dtype=np.int64)
    n, m = int(cells.sum()), int(base.sum())
    need = MIN_EXPECTED * design_effect * m / n
    groups = _groups(base, column.bins, need)
    size = int(groups.max()) + 1
    a = np.bincount(groups, weights=cells, minlength=size) / n
    e = np.bincount(groups, weights=base, minlength=size) / m
    used = (a > 0) | (e > 0)
    return a[used], e[used]


def _groups(base: Ints, bins: int, need: float) -> Ints:
    """The merged cell of each cell; 0 is the cell of rare values.

    ``need`` is the number of training rows that a cell must have to stand alone.
    """
    groups = np.zeros(len(base), dtype=np.int64)
    made, held, start = 0, 0, 0
    for i in range(bins):
        held += int(base[i])
        if held >= need:
            made += 1
            groups[start : i + 1] = made
            held, start = 0, i + 1
    if made:
        groups[start:bins] = made
    for i in range(bins, len(base)):
        if base[i] >= need:
            made += 1
            groups[i] = made
    return groups


def _noncentrality(x: float, free: int, alpha: float) -> tuple[float, float]:
    """Bounds of the noncentrality of a chi-square that came out as ``x``, each at ``alpha``."""
    if x > 1_000:
        # chndtrinc loses itself far out, where the normal form is exact enough:
        # x - free - l = z sqrt(2 free + 4 l), solved for l.
        z = float(ndtri(1 - alpha))
        middle = x - free + 2 * z * z
        half = 2 * z * math.sqrt(x - free / 2 + z * z)
        return max(0.0, middle - half), middle + half
    low, high = float(chndtrinc(x, free, 1 - alpha)), float(chndtrinc(x, free, alpha))
    return (0.0 if math.isnan(low) else low), (0.0 if math.isnan(high) else high)


def design_effects(profile: Profile, windows: Sequence[Counts]) -> dict[str, float]:
    """How many rows are worth one independent row, by column, measured on past windows.

    The mean PSI of the windows over its mean for independent rows. The windows must be of a time
    without drift and as long as those to be judged, for slow clusters (days, customers) show only
    in windows that hold them whole.

    Args:
        profile: The reference profile.
        windows: Past windows counted against it, 10 or more for a steady figure.

    Returns:
        At least 1 each; 1 for a column that no window holds.
    """
    effects = {}
    for column in profile.columns:
        seen = [w.cells[column.name] for w in windows if w.rows(column.name)]
        ratios = [_design_effect(column, cells) for cells in seen]
        effects[column.name] = max(1.0, float(np.mean(ratios))) if ratios else 1.0
    return effects


def _design_effect(column: ColumnProfile, cells: Ints) -> float:
    a, e = merged_shares(column, cells)
    n, m = int(cells.sum()), column.rows
    return n * (_psi(a, e) / max(len(a) - 1, 1) - 1 / m)
