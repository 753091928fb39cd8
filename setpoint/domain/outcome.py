"""The words of a verdict: outcome, finding, verdict. How they are reached is in ``findings``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from setpoint.errors import DataError

Direction = Literal["floor", "ceiling", ""]

NOT_DECLARED = "not declared"
"""What stands for the outcome of what a project file declares nothing to judge by."""


class Outcome(StrEnum):
    """How a check ended; only ``PASSED`` advances."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"

    @property
    def severity(self) -> int:
        """0 for passed, 1 inconclusive, 2 error, 3 failed."""
        return _SEVERITY[self]


_SEVERITY = {Outcome.PASSED: 0, Outcome.INCONCLUSIVE: 1, Outcome.ERROR: 2, Outcome.FAILED: 3}


@dataclass(frozen=True)
class Finding:
    """One measured value beside its setpoint.

    Attributes:
        name: What was measured, e.g. ``recall``.
        outcome: How the check ended.
        value: The measured value; ``None`` where nothing could be measured (NaN becomes ``None``).
        setpoint: What it must hold; ``None`` if there is no number.
        direction: ``floor``: at least the setpoint; ``ceiling``: at most; empty: neither.
        sample: Number of rows the value rests on, >= 0.
        error_rate: One-sided error rate of the verdict, 0 to 1; ``None`` for plain comparisons.
        reason: One sentence for people.
        interval: Lower and upper bound, each one-sided at ``error_rate``.
        slice: The part of the rows it is about, e.g. ``country=DE``; empty for all.
        moved: Which way it moved, ``higher`` or ``lower``; empty where that says nothing.

    Raises:
        DataError: It claims to have passed with a value that is not a number.
    """

    name: str
    outcome: Outcome
    value: float | None
    setpoint: float | None
    direction: Direction
    sample: int
    error_rate: float | None
    reason: str
    interval: tuple[float, float] | None = None
    slice: str = ""
    moved: str = ""

    def __post_init__(self) -> None:
        value = None if self.value is None else float(self.value)
        if value is not None and math.isnan(value):
            if self.outcome == Outcome.PASSED:
                raise DataError(
                    "a finding passed with the value NaN",
                    where=self.name,
                    fix="measure it, or make the outcome error or inconclusive",
                )
            value = None
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "outcome", Outcome(self.outcome))
        object.__setattr__(self, "sample", int(self.sample))

    @property
    def passed(self) -> bool:
        """Whether it advances."""
        return self.outcome == Outcome.PASSED

    @property
    def label(self) -> str:
        """Name with slice: ``recall[country=DE]``."""
        return f"{self.name}[{self.slice}]" if self.slice else self.name

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON: no NaN; infinities are the strings ``inf`` and ``-inf``."""
        bounds = None if self.interval is None else [_json_number(x) for x in self.interval]
        moved = {"moved": self.moved} if self.moved else {}
        return moved | {
            "name": self.name,
            "outcome": str(self.outcome),
            "value": _json_number(self.value),
            "setpoint": _json_number(self.setpoint),
            "direction": self.direction,
            "sample": self.sample,
            "error_rate": _json_number(self.error_rate),
            "reason": self.reason,
            "interval": bounds,
            "slice": self.slice,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """The finding that ``to_dict`` wrote.

        Raises:
            DataError: A field is missing or has a value that no finding has.
        """
        try:
            return cls(
                name=str(data["name"]),
                outcome=Outcome(data["outcome"]),
                value=_number(data["value"]),
                setpoint=_number(data["setpoint"]),
                direction=_direction(data["direction"]),
                sample=int(data["sample"]),
                error_rate=_number(data["error_rate"]),
                reason=str(data["reason"]),
                interval=_bounds(data.get("interval")),
                slice=str(data.get("slice", "")),
                moved=str(data.get("moved", "")),
            )
        except KeyError as err:
            raise DataError(
                f"a stored finding has no field {err.args[0]!r}",
                where=str(data.get("name", "finding")),
                fix="read only what Finding.to_dict wrote",
            ) from err
        except (ValueError, TypeError) as err:
            raise DataError(
                f"a stored finding cannot be read: {err}",
                where=str(data.get("name", "finding")),
                fix="read only what Finding.to_dict wrote",
            ) from err


def _json_number(value: float | None) -> float | str | None:
    if value is None or math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else str(float(value))


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _direction(value: object) -> Direction:
    if value == "floor":
        return "floor"
    if value == "ceiling":
        return "ceiling"
    if value == "":
        return ""
    raise ValueError(f"direction {value!r} is none of 'floor', 'ceiling', ''")


def _bounds(value: Sequence[object] | None) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = (_number(x) for x in value)
    return (math.nan if low is None else low, math.nan if high is None else high)


@dataclass(frozen=True)
class Verdict:
    """What a set of findings amounts to.

    Attributes:
        findings: The findings, in the order in which they were made.
        undeclared: What was not judged, for the project file declares nothing to judge it by:
            name and reason. It decides nothing, and is no pass.
    """

    findings: tuple[Finding, ...] = ()
    undeclared: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", tuple(self.findings))
        object.__setattr__(self, "undeclared", tuple((n, why) for n, why in self.undeclared))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def outcome(self) -> Outcome:
        """The worst outcome: failed, error, inconclusive, passed; nothing is inconclusive."""
        worst = max(self.findings, key=lambda f: f.outcome.severity, default=None)
        return Outcome.INCONCLUSIVE if worst is None else worst.outcome

    @property
    def passed(self) -> bool:
        """Whether every finding passed and there is at least one."""
        return self.outcome == Outcome.PASSED

    def summary(self) -> str:
        """One line: ``failed: 1 of 3 passed; recall: .70 is under the floor .80``."""
        if not self.findings:
            return "inconclusive: nothing was checked"
        good = sum(f.passed for f in self.findings)
        head = f"{self.outcome}: {good} of {len(self.findings)} passed"
        bad = sorted((f for f in self.findings if not f.passed), key=lambda f: -f.outcome.severity)
        shown = [f"{f.label}: {f.reason}" for f in bad[:3]]
        more = [f"{len(bad) - 3} more"] if len(bad) > 3 else []
        names = ", ".join(name for name, _ in self.undeclared)
        silent = [f"{NOT_DECLARED}: {names}"] if names else []
        return " ".join("; ".join([head, *shown, *more, *silent]).split())

    def table(self) -> list[dict[str, str]]:
        """Rows for people, worst first: name, outcome, value, setpoint, sample, error, reason.

        What is not declared is last.
        """
        ordered = sorted(self.findings, key=lambda f: -f.outcome.severity)
        return [*map(_row, ordered), *(_silent(name, why) for name, why in self.undeclared)]

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON with the outcome beside the findings."""
        silent = [{"name": name, "reason": why} for name, why in self.undeclared]
        more = {"undeclared": silent} if silent else {}
        found = [f.to_dict() for f in self.findings]
        return {"outcome": str(self.outcome), "findings": found, **more}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that ``to_dict`` wrote; the outcome is derived again.

        Raises:
            DataError: A finding cannot be read.
        """
        silent = tuple(
            (str(one.get("name", "")), str(one.get("reason", "")))
            for one in data.get("undeclared", ())
        )
        return cls(tuple(Finding.from_dict(item) for item in data.get("findings", ())), silent)


def _row(finding: Finding) -> dict[str, str]:
    sign = {"floor": "≥ ", "ceiling": "≤ ", "": ""}[finding.direction]
    setpoint = "" if finding.setpoint is None else f"{sign}{finding.setpoint:.4g}"
    return {
        "name": finding.label,
        "outcome": str(finding.outcome),
        "value": "" if finding.value is None else f"{finding.value:.4g}",
        "setpoint": setpoint,
        "sample": f"{finding.sample:,}",
        "error rate": "" if finding.error_rate is None else f"{finding.error_rate:g}",
        "reason": finding.reason,
    }


def _silent(name: str, why: str) -> dict[str, str]:
    nothing = dict.fromkeys(("value", "setpoint", "sample", "error rate"), "")
    return {"name": name, "outcome": NOT_DECLARED, **nothing, "reason": why}


def not_measured(
    name: str, reason: str, *, outcome: Outcome = Outcome.ERROR, slice: str = ""
) -> Finding:
    """A finding for what could not be seen: error by default, never passed.

    Raises:
        DataError: ``outcome`` is passed.
    """
    if outcome == Outcome.PASSED:
        raise DataError(
            "what was not measured cannot have passed",
            where=name,
            fix="use Outcome.ERROR or Outcome.INCONCLUSIVE",
        )
    return Finding(name, outcome, None, None, "", 0, None, reason, slice=slice)
