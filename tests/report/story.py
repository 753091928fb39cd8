"""A small history of the loop, written where the loop writes it: drift, alarm, release, healed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.windows import WindowRecord
from setpoint.ports import Decision, Label
from setpoint.workspace import StreamClock, Workspace

BEGIN = datetime(2026, 2, 1, tzinfo=UTC)
DAYS = 14
ALARM = BEGIN + timedelta(days=7)
HEALED = BEGIN + timedelta(days=10, hours=12)
HOSTILE = "retrained; v2 promoted <script>alert(1)</script> & more"
LONG = "customer_amount_mean_of_the_last_30_days"
STEPS = ("pending", "shadow", "canary 5 %", "canary 25 %", "canary 100 %")


def drifting(column: str, psi: float | None) -> Finding:
    """PSI of a column with the outcome that it has in enough rows; none could not be told."""
    if psi is None:
        return Finding("psi", Outcome.INCONCLUSIVE, None, 0.25, "ceiling", 9, 0.001, "inconclusive",
                       slice=column)  # fmt: skip
    outcome = Outcome.FAILED if psi > 0.25 else Outcome.PASSED
    band = "act" if psi > 0.25 else "watch" if psi > 0.1 else "safe"
    return Finding("psi", outcome, psi, 0.25, "ceiling", 400, 0.001, f"{band}: PSI {psi:.3f}",
                   (psi * 0.8, psi * 1.2), column)  # fmt: skip


def ranking(name: str, value: float, bounds: tuple[float, float]) -> Finding:
    """A setpoint of ``tests.stages.small``, or its estimate."""
    outcome = Outcome.FAILED if bounds[1] < 0.6 else Outcome.PASSED
    return Finding(name, outcome, value, 0.6, "floor", 300, 0.001, f"bounds {bounds}", bounds)


def window(day: int) -> WindowRecord:
    """What was found on a day: x moves, y cannot be told, sex is personal, ranking falls."""
    value = 0.8 if day < 7 else 0.5 if day < 11 else 0.82
    psi = 0.02 + 0.06 * day if day < 11 else 0.03
    found = (
        ranking("ranking", value, (value - 0.05, value + 0.05)),
        ranking("estimated_ranking", value + 0.02, (float("nan"), float("inf"))),
        Finding(
            "loss_a_day",
            Outcome.PASSED,
            3.0 * day,
            90.0,
            "ceiling",
            300,
            0.001,
            "little",
            (2.0 * day, 4.0 * day),
        ),
        drifting("x", psi),
        drifting("y", None),
        drifting(LONG, 0.01),
        drifting("sex", 0.6),
    )
    version = "v1" if day < 11 else "v2"
    return WindowRecord(BEGIN + timedelta(days=day), version, found)


def tell(workspace: Workspace) -> Incident:
    """Write the whole history; returns its incident."""
    state = workspace.state
    for day in range(1, DAYS):
        state.keep_window(window(day))
    verdict = {"outcome": "passed", "findings": [ranking("ranking", 0.8, (0.7, 0.9)).to_dict()]}
    state.record(BEGIN, "accepted", "small/v1", {"cause": "first", "verdict": verdict})
    state.record(BEGIN, "promoted", "small/v1", _release("promoted", verdict))
    broken = ranking("ranking", 0.5, (0.45, 0.55))
    cause, open_ = Cause.PERFORMANCE, Status.OPEN
    opened, _ = state.open_incident(
        Incident("", cause, Severity.HIGH, open_, ALARM, "v1", (broken,))
    )
    at = ALARM + timedelta(hours=6)
    state.record(at, "accepted", "small/v2", {"cause": opened.id, "verdict": verdict})
    for i, stage in enumerate(STEPS):
        kind = "release_step" if i else "release_started"
        at = ALARM + timedelta(hours=12 + 12 * i)
        state.record(at, kind, "small/v2", _release(stage, verdict))
    state.record(HEALED, "promoted", "small/v2", _release("promoted", verdict))
    taken = state.take_incident(opened.id, "run")
    assert taken is not None
    healed = taken.move(Status.RESOLVED, note=HOSTILE, at=HEALED)
    state.move_incident(taken, healed, HEALED)
    _decide(workspace)
    now = BEGIN + timedelta(days=DAYS)
    StreamClock(state).advance(now)
    workspace.set_platform({"clock": "stream", "project_file": str(workspace.project_file)})
    return healed


def _release(stage: str, verdict: dict[str, object]) -> dict[str, object]:
    return {"stage": stage, "champion": "v1", "cause": "", "reason": "", "evidence": verdict}


def _decide(workspace: Workspace) -> None:
    """40 decisions a day: v1 until the alarm, then a quarter by v2, then all; half are positive."""
    decisions, labels = [], []
    for i in range(40 * DAYS):
        at = BEGIN + timedelta(minutes=36 * i)
        new = at >= HEALED or (at >= ALARM + timedelta(days=2) and i % 4 == 0)
        decisions.append(
            Decision(f"d{i}", at, {}, {"x": 1.0}, 0.7 if i % 3 else 0.2, 0.5,
                     "review" if i % 3 else "approve", (), "v2" if new else "v1", "0" * 64)
        )  # fmt: skip
        labels.append(Label(f"d{i}", i % 2, at + timedelta(hours=1)))
    workspace.decisions.append(decisions)
    workspace.decisions.add_labels(labels)
