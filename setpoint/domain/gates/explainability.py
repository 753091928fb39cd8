"""What drives the decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from setpoint.domain.explanations import agreement, importance
from setpoint.domain.findings import Finding, Outcome, mean_bounds, not_measured
from setpoint.domain.proxies import Proxy

LEAST = 30
"""Explained rows without which nothing is said of a group or of an agreement."""
WORTH = 1e-3
"""Share of the importance below which an input carries nothing."""
SHOWN = 5
"""Groups told in a reason."""


@dataclass(frozen=True)
class GroupShares:
    """What drives the decisions about one group.

    Attributes:
        group: The group.
        sample: Explained rows that are of it.
        shares: Share of the importance of each input, [d]; ``None`` under ``LEAST`` rows.
    """

    group: str
    sample: int
    shares: npt.NDArray[np.float64] | None

    @property
    def largest(self) -> float:
        """Share of its largest driver; 0 where it is not judged."""
        return 0.0 if self.shares is None else float(self.shares.max(initial=0.0))


def shares_by_group(
    values: npt.NDArray[np.float64], groups: npt.NDArray[Any]
) -> tuple[list[GroupShares], list[GroupShares]]:
    """Importance within each group.

    Args:
        values: Contributions of the explained rows, [n, d].
        groups: Group of each, as text, [n].

    Returns:
        Groups that can be judged, the one with the largest driver first; and the small ones.
    """
    found = []
    for group in sorted(set(groups.tolist())):
        own = values[groups == group]
        shares = importance(own) if len(own) >= LEAST else None
        found.append(GroupShares(group, len(own), shares))
    judged = sorted((g for g in found if g.shares is not None), key=lambda g: -g.largest)
    return judged, [g for g in found if g.shares is None]


def explainability_gate(
    shares: Mapping[str, float],
    gap: float,
    *,
    sample: int,
    max_share: float,
    forbidden: Sequence[str],
    max_forbidden: float,
    proxies: Sequence[Proxy] = (),
    proxy_ceiling: float = 1.0,
    max_useless: float = 1.0,
) -> list[Finding]:
    """Global importance: explained at all, not by one input alone, not by a forbidden one.

    An input that tells a protected column better than ``proxy_ceiling`` counts as a forbidden one.

    Args:
        shares: Input to its share of the SHAP importance, adding up to 1.
        gap: Additivity error of the explanation; above .001 nothing else can be believed.
        sample: Rows explained.
        max_share: Largest share of one input.
        forbidden: Inputs that must not drive decisions.
        max_forbidden: Largest share they may have together.
        proxies: What each input tells of each protected column.
        proxy_ceiling: AUC above which it is a proxy, .5 to 1; 1: none is.
        max_useless: Largest share of the inputs that carry less than ``WORTH`` each.
    """
    if not shares or not all(math.isfinite(v) for v in (gap, *shares.values())):
        return [not_measured("explanation", "no SHAP values could be computed")]
    sane = _plain("explanation_additivity", gap, 1e-3, sample, "SHAP values against the margin")
    top = max(shares, key=lambda n: shares[n])
    if shares[top] == 0:
        return [sane, not_measured("largest_driver", "no input explains anything")]
    drives = _plain("largest_driver", shares[top], max_share, sample, f"{top} carries the most")
    found = [sane, drives, _useless(shares, max_useless, sample)]
    if forbidden or proxies:
        rules = (proxy_ceiling, max_forbidden)
        found.append(_forbidden(shares, forbidden, proxies, rules, sample))
    return found


def _useless(shares: Mapping[str, float], ceiling: float, sample: int) -> Finding:
    """Inputs that cost their keep and decide nothing (Breck et al. 2017, data 2)."""
    idle = [name for name, share in shares.items() if share < WORTH]
    text = f"{len(idle)} of {len(shares)} inputs carry under {WORTH:g}: {', '.join(idle[:SHOWN])}"
    return _plain("useless_inputs", len(idle) / len(shares), ceiling, sample, text)


def slice_gate(
    column: str,
    values: npt.NDArray[np.float64],
    groups: npt.NDArray[Any],
    names: Sequence[str],
    *,
    max_share: float,
) -> Finding:
    """The largest driver within each group of a column; the finding is about the largest of all.

    Args:
        column: What tells the groups apart.
        values: Contributions of the explained rows, [n, d].
        groups: Group of each, as text, [n].
        names: The inputs, [d].
        max_share: Largest share of one input in any group.
    """
    top, few = shares_by_group(values, groups)
    small = ", ".join(f"{g.group} ({g.sample})" for g in few)
    note = f"; not judged, under {LEAST} explained rows: {small}" if small else ""
    if not top:
        reason = f"no group has {LEAST} explained rows{note}"
        return not_measured("largest_driver", reason, outcome=Outcome.INCONCLUSIVE, slice=column)
    value, sample = top[0].largest, sum(g.sample for g in top)
    if value == 0:
        return not_measured("largest_driver", "no input explains anything", slice=column)
    text = ", ".join(f"{g.group}: {_driver(g, names)} {g.largest:.2f}" for g in top[:SHOWN])
    more = f" and {len(top) - SHOWN} more groups" if len(top) > SHOWN else ""
    outcome = Outcome.PASSED if value <= max_share else Outcome.FAILED
    return Finding(
        "largest_driver", outcome, value, max_share, "ceiling", sample, None,
        f"{text}{more}{note}", slice=column,
    )  # fmt: skip


def _driver(group: GroupShares, names: Sequence[str]) -> str:
    return "" if group.shares is None else names[int(group.shares.argmax())]


def agreement_gate(
    name: str,
    agreed: npt.NDArray[np.float64],
    setpoint: float,
    direction: Literal["floor", "ceiling"],
    *,
    error_rate: float,
    short: Outcome,
    text: str,
) -> Finding:
    """Whether two explanations of the same rows agree enough, or little enough.

    Passed if the mean is proven to hold the setpoint, ``short`` if it is proven not to, else
    inconclusive.

    Args:
        name: Of the finding.
        agreed: Cosine of both, row by row, -1 to 1, [n].
        setpoint: Mean that must be reached, or not exceeded.
        direction: Which of these.
        error_rate: One-sided, of each bound; rows are taken to be independent.
        short: Outcome of what does not hold; a second opinion that differs does not say who errs.
        text: What is compared.
    """
    n = len(agreed)
    if n < LEAST or not np.isfinite(agreed).all():
        reason = f"{n} rows could be compared, {LEAST} needed"
        return not_measured(name, reason, outcome=Outcome.INCONCLUSIVE)
    low, high = mean_bounds(agreed, error_rate)
    held = low >= setpoint if direction == "floor" else high <= setpoint
    broken = high < setpoint if direction == "floor" else low > setpoint
    outcome = Outcome.PASSED if held else short if broken else Outcome.INCONCLUSIVE
    value = float(agreed.mean())
    reason = f"{text}: mean cosine {value:.2f}, bounds {low:.2f} to {high:.2f}"
    return Finding(name, outcome, value, setpoint, direction, n, error_rate, reason, (low, high))


def stability_gate(
    challenger: Mapping[str, float], champion: Mapping[str, float], *, floor: float, sample: int
) -> Finding:
    """Whether both are driven by the same inputs: cosine of their shares, 0 to 1.

    Args:
        challenger: Input to its share of the importance.
        champion: The same of the model in service, on the same rows; an input that only one of
            them has is worth 0 to the other.
        floor: Smallest cosine.
        sample: Rows explained.
    """
    names = sorted({*challenger, *champion})
    one, other = (np.array([m.get(n, 0.0) for n in names]) for m in (challenger, champion))
    value = float(agreement(one[None], other[None])[0])
    moved = {n: challenger.get(n, 0.0) - champion.get(n, 0.0) for n in names}
    most = sorted(moved, key=lambda n: -abs(moved[n]))[:3]
    text = ", ".join(f"{n} {champion.get(n, 0.0):.2f} to {challenger.get(n, 0.0):.2f}"
                     for n in most)  # fmt: skip
    outcome = Outcome.PASSED if value >= floor else Outcome.FAILED
    reason = f"cosine {value:.2f} of the shares; moved most: {text}"
    return Finding("explanation_stability", outcome, value, floor, "floor", sample, None, reason)


def _forbidden(
    shares: Mapping[str, float],
    forbidden: Sequence[str],
    proxies: Sequence[Proxy],
    rules: tuple[float, float],
    sample: int,
) -> Finding:
    """Share of forbidden inputs and of proxies together; each is counted once."""
    ceiling, max_forbidden = rules
    unseen = [p for p in proxies if p.auc is None]
    known = sorted((p for p in proxies if p.auc is not None), key=lambda p: -(p.auc or 0.0))
    found = {p.input: p for p in reversed(known) if (p.auc or 0.0) > ceiling}
    carried = sum(shares.get(name, 0.0) for name in {*forbidden, *found})
    told = list(forbidden)
    told += [
        f"{p.input} (tells {p.column} {p.group}, AUC {p.auc:.2f})"
        for p in found.values()
        if p.input not in forbidden
    ]
    text = f"{', '.join(told)} together" if told else "no forbidden input and no proxy"
    if known and not found:
        best = known[0]
        text += f" (nearest: {best.input} tells {best.column} {best.group}, AUC {best.auc:.2f})"
    one = _plain("forbidden_drivers", carried, max_forbidden, sample, text)
    if unseen and one.passed:
        columns = ", ".join(sorted({p.column for p in unseen}))
        reason = f"{one.reason}; too few rows to look for proxies of {columns}"
        return replace(one, outcome=Outcome.INCONCLUSIVE, reason=reason)
    return one


def _plain(name: str, value: float, ceiling: float, sample: int, text: str) -> Finding:
    held = value <= ceiling
    outcome = Outcome.PASSED if held else Outcome.FAILED
    return Finding(name, outcome, value, ceiling, "ceiling", sample, None, f"{text}: {value:.3g}")
