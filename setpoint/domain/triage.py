"""First-level triage of an incident: what moved, since when, where, what changed, what it costs.

Three to five lines for people, from what is known without asking anybody. They decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from setpoint.domain.faults import FAULT
from setpoint.domain.features import duration_label
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.ledger import Entry
from setpoint.domain.loss import LOSS
from setpoint.domain.windows import WindowRecord

PSI = "psi"
"""Name of the finding that an input, or the score, has moved."""
MAX = 5
"""Lines at most."""
MOST = 4
"""Findings named in one line; the others are counted."""
CHANGES = {
    "promoted": "promoted",
    "roll_back": "brought back",
    "fell_back": "fallen back to",
    "rolled_back": "rolled back",
    "accepted": "trained",
}
"""Ledger entries that are worth a look, in words."""


def headlines(
    findings: Sequence[Finding],
    windows: Sequence[WindowRecord],
    ledger: Iterable[Entry],
    opened_at: datetime,
    span: timedelta,
    loss: Finding | None = None,
) -> tuple[str, ...]:
    """The triage of an incident.

    Args:
        findings: Its evidence, of the newest window.
        windows: Earlier windows, oldest first; the newest may be among them.
        ledger: What changed; of any time.
        opened_at: Event time of the window that opened it.
        span: Event time that a window covers.
        loss: The window's estimate of what is lost a day, whatever came of it.

    Returns:
        Three to five lines: broken data, setpoints that do not hold, inputs that moved most, each
        since when; the worst part of the rows; when it was first seen; what changed in the window
        before; the estimated loss. What does not apply is left out.
    """
    failed = [f for f in findings if f.outcome == Outcome.FAILED]
    told_apart = (FAULT, PSI, LOSS)
    whole = [f for f in failed if f.name not in told_apart and not _is_segment(f)]
    began = {f: first_failed(f, windows, opened_at) for f in failed}
    # in the order in which they are shown, each with how soon it is left out
    lines = [
        (1, _broken([f for f in failed if f.name == FAULT], began)),
        (2, _not_held(whole, began)),
        (3, _moved([f for f in failed if f.name == PSI], began)),
        (6, _segment([f for f in failed if _is_segment(f)])),
        (7, _since(began, opened_at)),
        (5, _changed(ledger, opened_at, span)),
        (4, _loss(loss)),
    ]
    kept = sorted(rank for rank, line in lines if line)[:MAX]
    return tuple(line for rank, line in lines if line and rank in kept)


def first_failed(
    finding: Finding, windows: Sequence[WindowRecord], opened_at: datetime
) -> datetime:
    """End of the first window of the unbroken run of failures that the newest one belongs to.

    Windows in which it could not be judged do not break the run, and do not begin it.

    Args:
        finding: A failed finding of the newest window.
        windows: Earlier windows, oldest first.
        opened_at: What is answered where no earlier one failed.
    """
    first = opened_at
    for window in reversed(windows):
        found = window.of(finding.name, finding.slice)
        if found is not None and found.outcome == Outcome.PASSED:
            break
        if found is not None and found.outcome == Outcome.FAILED:
            first = min(first, window.end)
    return first


def _is_segment(finding: Finding) -> bool:
    """Whether it is about a part of the rows, as ``country=DE``, and not about a column."""
    return "=" in finding.slice


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _listed(head: str, items: Sequence[str]) -> str:
    more = [f"{len(items) - MOST} more"] if len(items) > MOST else []
    return f"{head}: {'; '.join([*items[:MOST], *more])}" if items else ""


def _broken(faults: Sequence[Finding], began: Mapping[Finding, datetime]) -> str:
    return _listed("broken data", [f"{f.reason}, since {_day(began[f])}" for f in faults])


def _not_held(failed: Sequence[Finding], began: Mapping[Finding, datetime]) -> str:
    worst = sorted(failed, key=_gap, reverse=True)
    return _listed("does not hold", [f"{_beside(f)}, since {_day(began[f])}" for f in worst])


def _moved(failed: Sequence[Finding], began: Mapping[Finding, datetime]) -> str:
    items = []
    for f in sorted(failed, key=lambda f: -(f.value or 0.0)):
        way = f" {f.moved}" if f.moved else ""
        items.append(f"{f.slice}{way} (PSI {f.value or 0.0:.2f}), since {_day(began[f])}")
    return _listed("moved most", items)


def _segment(failed: Sequence[Finding]) -> str:
    worst = max(failed, key=_gap, default=None)
    return f"worst part of the rows: {_beside(worst)}" if worst is not None else ""


def _since(began: Mapping[Finding, datetime], opened_at: datetime) -> str:
    first = min(began.values(), default=opened_at)
    return f"first seen in the window that ended {_day(first)} event time"


def _changed(ledger: Iterable[Entry], opened_at: datetime, span: timedelta) -> str:
    found = []
    for entry in ledger:
        time = datetime.fromisoformat(entry.time)
        if entry.kind in CHANGES and opened_at - span <= time <= opened_at:
            snapshot = str(entry.evidence.get("snapshot", ""))[:8]
            data = f" on snapshot {snapshot}" if snapshot else ""
            found.append(f"{entry.subject} {CHANGES[entry.kind]}{data} {_day(time)}")
    before = f"in the {duration_label(int(span.total_seconds()))} before"
    return _listed(f"changed {before}", found[::-1]) or (
        f"nothing was trained or released {before}: look upstream"
    )


def _loss(found: Finding | None) -> str:
    """Empty where nothing was measured or nothing is lost."""
    if found is None or found.value is None or found.value <= 0:
        return ""
    low, high = found.interval or (math.nan, math.nan)
    bounds = f" ({low:,.0f} to {high:,.0f})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"estimated loss {found.value:,.0f} a day{bounds}"


def _beside(finding: Finding) -> str:
    """A value beside its setpoint; the reason where there are not both."""
    if finding.value is None or finding.setpoint is None:
        return f"{finding.label}: {finding.reason}"
    side = finding.direction or "setpoint"
    return f"{finding.label} {finding.value:.3g}, {side} {finding.setpoint:.3g}"


def _gap(finding: Finding) -> float:
    """How far a value is from its setpoint, as a share of it; 0 where there are not both."""
    if finding.value is None or finding.setpoint is None:
        return 0.0
    return abs(finding.value - finding.setpoint) / max(abs(finding.setpoint), 1e-9)
