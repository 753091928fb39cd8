"""The tier of a declared use under the EU AI Act, Regulation (EU) 2024/1689."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """What follows from a use.

    Attributes:
        high: Whether the duties for high-risk systems hold.
        text: The tier and where it comes from.
    """

    high: bool
    text: str


_TIERS = {
    "credit_scoring": Tier(True, "high-risk: Annex III point 5(b), creditworthiness of persons"),
    "fraud_detection": Tier(
        False, "not high-risk by Annex III point 5(b): detecting financial fraud is excepted there"
    ),
    "other": Tier(
        False, "not decided by Annex III point 5(b): a person compares it with Annex III"
    ),
}


def tier_of(use: str | None) -> Tier | None:
    """The tier of ``documents.use``; ``None`` where no use is declared."""
    return None if use is None else _TIERS[use]
