"""What a replay was worth, in figures and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from setpoint.backtest.log import Replayed
from setpoint.domain.findings import Verdict
from setpoint.domain.training import Rows
from setpoint.report import counted
from setpoint.workspace import Workspace

DAY = 86_400.0
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass
class Tally:
    """What a replay did.

    Attributes:
        alarms: Event time of each incident about performance.
        promoted: Event time of each promotion, or roll-back, after an incident.
        trained: Number of retrainings that came before the gates.
        gave_up: What each incident that needs a person says.
    """

    alarms: list[datetime] = field(default_factory=list)
    promoted: list[datetime] = field(default_factory=list)
    trained: int = 0
    gave_up: list[str] = field(default_factory=list)


def moment(micros: int) -> datetime:
    """Microseconds since the epoch as a time."""
    return EPOCH + timedelta(microseconds=micros)


def micros(time: datetime) -> int:
    """A time as microseconds since the epoch."""
    return (time - EPOCH) // timedelta(microseconds=1)


def streamed(rows: Rows, begin: datetime) -> npt.NDArray[np.bool_]:
    """Which rows come after the first part, [n]."""
    return rows.time >= micros(begin)


def cost_of(
    workspace: Workspace, rows: Rows, acted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Money that each decision cost, [n]."""
    return workspace.project.costs.matrix().of(rows.label, acted, rows.columns)


def baseline(
    workspace: Workspace, rows: Rows, acted: npt.NDArray[np.bool_], begin: datetime, trained: int
) -> dict[str, float]:
    """Money in all over the streamed rows, and how often was retrained."""
    cost = cost_of(workspace, rows, acted)[streamed(rows, begin)]
    return {"cost": round(float(cost.sum()), 2), "retrainings": trained}


def figures(
    workspace: Workspace, rows: Rows, log: Replayed, tally: Tally, begin: datetime, first: Verdict
) -> dict[str, Any]:
    """The keys of ``setpoint demo --summary``, without ``baselines``.

    A replay has no gateway and no wall time: ``lost`` and ``wrong_version`` are 0, and
    ``seconds_to_*`` null. ``event_time_to_*`` are days from the first streamed event, since nobody
    knows when a history drifts. ``cost`` is money a day of event time.
    """
    alarm = tally.alarms[0] if tally.alarms else None
    healed = next((p for p in tally.promoted if alarm and p >= alarm), None)
    end = moment(int(rows.time.max()) + 1)
    spans: dict[str, tuple[datetime, datetime] | None] = {
        "before": (begin, alarm or end),
        "during": (alarm, healed or end) if alarm else None,
        "after": (healed, end) if healed else None,
    }
    judged = {name: _judged(workspace, rows, log.acted, span) for name, span in spans.items()}
    sent = streamed(rows, begin)
    return {
        "healed": healed is not None,
        "first_gates": str(first.outcome),
        "retrainings": tally.trained,
        "needs_person": tally.gave_up,
        "alarms": [a.isoformat() for a in tally.alarms],
        "seconds_to_alarm": None,
        "seconds_to_heal": None,
        "event_time_to_alarm": _days(begin, alarm),
        "event_time_to_heal": _days(begin, healed),
        "requests": int(sent.sum()),
        "answered": int((log.version[sent] != "").sum()),
        "lost": 0,
        "wrong_version": 0,
        "detection_rate": {name: rate for name, (rate, _) in judged.items()},
        "cost": {name: cost for name, (_, cost) in judged.items()},
    }


def _judged(
    workspace: Workspace,
    rows: Rows,
    acted: npt.NDArray[np.bool_],
    span: tuple[datetime, datetime] | None,
) -> tuple[float | None, float | None]:
    """Share of the positives of a span that were acted on, and money a day."""
    if span is None:
        return None, None
    part = (rows.time >= micros(span[0])) & (rows.time < micros(span[1]))
    positive = part & (rows.label == 1)
    caught = int((acted & positive).sum())
    rate = round(caught / int(positive.sum()), 4) if positive.any() else None
    days = max((span[1] - span[0]).total_seconds() / DAY, 1e-9)
    money = float(cost_of(workspace, rows, acted)[part].sum())
    return rate, round(money / days, 2) if part.any() else None


def _days(begin: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - begin).total_seconds() / DAY, 3)


def show_backtest(told: dict[str, Any], console: Console) -> None:
    """What the loop would have done, and what it would have been worth."""
    table = Table(title="What it would have been worth", title_justify="left", header_style="bold")
    for name in ("policy", "cost", "retrainings", "against never"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    never = told["baselines"]["never"]["cost"]
    for name, row in told["baselines"].items():
        change = f"{(row['cost'] - never) / never:+.1%}" if never else "-"
        table.add_row(name, f"{row['cost']:,.0f}", str(int(row["retrainings"])), change)
    console.print(table)
    outcome = told["first_gates"]
    first = "passed its gates" if outcome == "passed" else f"would not have served: {outcome}"
    console.print(
        f"{counted(told['requests'], 'decision')} streamed; "
        f"{counted(len(told['alarms']), 'alarm')} about the setpoints, "
        f"{counted(told['retrainings'], 'retraining')}; the first model {first}",
        soft_wrap=True,
    )
    for note in told["needs_person"]:
        console.print(f"needs a person: {note}", soft_wrap=True, markup=False)
