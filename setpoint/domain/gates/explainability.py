"""What drives the decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from setpoint.domain.findings import Finding, Outcome, not_measured


def explainability_gate(
    shares: Mapping[str, float],
    gap: float,
    *,
    sample: int,
    max_share: float,
    forbidden: Sequence[str],
    max_forbidden: float,
) -> list[Finding]:
    """Global importance: explained at all, not by one input alone, not by a forbidden one.

    Args:
        shares: Input to its share of the SHAP importance, adding up to 1.
        gap: Additivity error of the explanation; above .001 nothing else can be believed.
        sample: Rows explained.
        max_share: Largest share of one input.
        forbidden: Inputs that must not drive decisions.
        max_forbidden: Largest share they may have together.
    """
    if not shares or not all(math.isfinite(v) for v in (gap, *shares.values())):
        return [not_measured("explanation", "no SHAP values could be computed")]
    sane = _plain("explanation_additivity", gap, 1e-3, sample, "SHAP values against the margin")
    top = max(shares, key=lambda n: shares[n])
    if shares[top] == 0:
        return [sane, not_measured("largest_driver", "no input explains anything")]
    drives = _plain("largest_driver", shares[top], max_share, sample, f"{top} carries the most")
    found = [sane, drives]
    if forbidden:
        carried = sum(shares.get(name, 0.0) for name in forbidden)
        text = f"{', '.join(forbidden)} together"
        found.append(_plain("forbidden_drivers", carried, max_forbidden, sample, text))
    return found


def _plain(name: str, value: float, ceiling: float, sample: int, text: str) -> Finding:
    held = value <= ceiling
    outcome = Outcome.PASSED if held else Outcome.FAILED
    return Finding(name, outcome, value, ceiling, "ceiling", sample, None, f"{text}: {value:.3g}")
