"""The challenger beside the champion, paired on the same rows."""

from __future__ import annotations

from setpoint.domain.findings import Finding, check_mean_difference
from setpoint.domain.gates.judged import Judged


def champion_gate(
    challenger: Judged, champion: Judged, *, error_rate: float, min_sample: int
) -> Finding:
    """Is the challenger cheaper than the champion, paired on the same rows?"""
    return check_mean_difference(
        "saves_against_champion",
        champion.cost - challenger.cost,
        error_rate=error_rate,
        min_sample=min_sample,
    )
