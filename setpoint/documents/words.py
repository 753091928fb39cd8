"""What several documents have in common: a person's words, findings, costs, setpoints."""

from __future__ import annotations

from collections.abc import Iterable

from setpoint.config import Project
from setpoint.documents.markup import Block, Missing, Text, table
from setpoint.documents.record import Record, link, number
from setpoint.domain.outcome import Finding

FINDING = ("finding", "outcome", "value", "setpoint", "interval", "rows", "error rate", "reason")
"""Columns of a table of findings."""

_SIGNS = {"floor": "≥ ", "ceiling": "≤ ", "": ""}


def written(record: Record, field: str, frame: str = "{}") -> Block:
    """A person's words in a sentence frame, or the place where they are missing."""
    words = record.words(field)
    return Text(frame.format(words)) if words else Missing(field)


def finding_row(finding: Finding) -> tuple[str, ...]:
    """A finding as cells under ``FINDING``."""
    bounds = finding.interval
    setpoint = number(finding.setpoint)
    return (
        finding.label,
        str(finding.outcome),
        number(finding.value),
        f"{_SIGNS[finding.direction]}{setpoint}" if setpoint else "",
        f"{number(bounds[0])} to {number(bounds[1])}" if bounds else "",
        f"{finding.sample:,}",
        number(finding.error_rate),
        finding.reason,
    )


def findings_table(findings: Iterable[Finding], empty: str) -> Block:
    """Findings in the order given."""
    return table(FINDING, [finding_row(f) for f in findings], empty)


def verdict_line(record: Record) -> str:
    """How the gates ended, and where that is recorded."""
    entry = record.verdict_entry
    if entry is None:
        return "No verdict of the gates is in the ledger."
    passed = sum(f.passed for f in record.findings)
    return f"{entry.kind}: {passed} of {len(record.findings)} findings passed ({link(entry)})"


def setpoint_rows(project: Project) -> list[tuple[str, ...]]:
    """Declared setpoints: name, metric, what it must hold, error rate of its gate."""
    return [
        (
            name,
            s.metric,
            f"≥ {number(s.floor)}" if s.floor is not None else f"≤ {number(s.ceiling)}",
            number(project.gates.setpoint_error_rate),
        )
        for name, s in project.setpoints.items()
    ]


def cost_rows(project: Project) -> list[tuple[str, ...]]:
    """What each outcome costs: outcome, money."""
    rows: list[tuple[str, ...]] = []
    for name in type(project.costs).model_fields:
        cell = getattr(project.costs, name)
        parts = [number(cell.fixed)] if cell.fixed or cell.column is None else []
        if cell.column is not None:
            parts.append(
                cell.column if cell.times == 1 else f"{number(cell.times)} × {cell.column}"
            )
        rows.append((name.replace("_", " "), " + ".join(parts)))
    return rows


def judged(findings: Iterable[Finding], *, slices: bool) -> list[Finding]:
    """Findings about all rows, or about parts of them."""
    return [f for f in findings if bool(f.slice) is slices]
