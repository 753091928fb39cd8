"""Follows the ledger while the world is played, and tells what the loop does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from setpoint.demo.script import Script
from setpoint.demo.summary import Played
from setpoint.domain.experiment import NAME as SAVING
from setpoint.domain.ledger import Entry
from setpoint.stages.traffic import planned
from setpoint.workspace import Workspace

Say = Callable[[str, str, float], None]
"""How progress is shown: kind of the line, text, day."""


class Observer:
    """Reads the ledger and tells what the loop did, as it does it."""

    def __init__(self, workspace: Workspace, script: Script, played: Played, say: Say) -> None:
        self._workspace, self._script, self._played, self._say = workspace, script, played, say
        self._start = time.monotonic()
        self._seen = len(workspace.state.ledger())
        self._plans: dict[str, set[str]] = {}
        self._drifted = script.drift == "none"

    def allowed(self, plan: str) -> set[str]:
        """Versions that may answer under a plan."""
        if plan not in self._plans:
            self._plans[plan] = planned(self._workspace, plan)
        return self._plans[plan]

    def look(self, day: float) -> None:
        """Tell what is new in the ledger."""
        begin = self._script.history + self._script.drift_after
        if not self._drifted and day > begin:
            self._drifted = True
            self._mark("drift", day)
            self._say("drift", f"the world changes: {self._script.drift}", day)
        entries = self._workspace.state.ledger()[self._seen :]
        self._seen += len(entries)
        for entry in entries:
            self._tell(entry, day)

    def _mark(self, name: str, day: float) -> None:
        if not self._drifted:
            return  # an alarm before the drift is a false one, and heals nothing
        self._played.marks.setdefault(name, time.monotonic() - self._start)
        self._played.days.setdefault(name, day)

    def _tell(self, entry: Entry, day: float) -> None:
        name, evidence = entry.kind, entry.evidence
        say = self._say
        if name == "incident_opened":
            worst = evidence["findings"][0]
            serious = evidence["cause"] == "performance"
            about = f"{worst['name']} {worst['slice']}".strip()
            say(
                "alarm" if serious else "watching",
                f"{entry.subject}: {about} {worst['reason']}",
                day,
            )
            if serious:
                self._mark("alarm", day)
        elif name in ("accepted", "refused"):
            verdict = evidence["verdict"]
            passed = sum(f["outcome"] == "passed" for f in verdict["findings"])
            say(name, f"{entry.subject} {name}: {passed} of {len(verdict['findings'])} findings "
                f"passed{_first_refusal(verdict)}", day)  # fmt: skip
            self._mark("retrained", day)
        elif name == "release_step":
            say("step", f"{entry.subject} {evidence['stage']} {_step(evidence['evidence'])}", day)
        elif name in ("promoted", "roll_back", "fell_back", "rolled_back"):
            say(name, f"{entry.subject} {name.replace('_', ' ')} {evidence['reason']}", day)
        elif name == "drill":
            say(name, f"{entry.subject} a roll-back rehearsed: {_told(evidence)}", day)
            self._mark("drilled", day)
        elif name == "incident_resolved" and "promoted" in evidence["note"]:
            say("healed", f"{entry.subject} closed: {evidence['note']}", day)
            if "alarm" in self._played.marks:
                self._mark("healed", day)
        elif name in ("incident_needs_person", "incident_open"):
            say("waits", f"{entry.subject}: {evidence['note']}", day)
            if name == "incident_needs_person":
                self._mark("needs_person", day)


def _told(verdict: Mapping[str, Any]) -> str:
    """What each finding of a drill says."""
    return "; ".join(f"{f['name'].replace('_', ' ')}: {f['reason']}" for f in verdict["findings"])


def _step(judged: dict[str, Any]) -> str:
    """Outcome of a step, with what an experiment knows."""
    saving = [f["reason"] for f in judged["findings"] if f["name"] == SAVING]
    return "; ".join([judged["outcome"], *saving])


def _first_refusal(verdict: dict[str, Any]) -> str:
    bad = [f for f in verdict["findings"] if f["outcome"] != "passed"]
    return f"; {bad[0]['name']}: {bad[0]['reason']}" if bad else ""
