"""Whether a control is on: the words of the security map for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether a control is on."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Control:
    """One thing that is held against a technique.

    Attributes:
        state: Whether it is on here.
        told: What it is, and what shows its state.
    """

    state: State
    told: str


Standing = Mapping[str, tuple[Control, ...]]
"""Controls by the id of the technique that they are held against."""
