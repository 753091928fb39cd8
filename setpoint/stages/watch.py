"""Look at a window of decisions: drift and faults of inputs, the setpoints on ripe labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.drift import Counts, count, psi_findings
from setpoint.domain.faults import fault_of
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates import setpoint_finding
from setpoint.domain.incidents import (
    Cause,
    Incident,
    Policy,
    Status,
    cooling,
    group,
    opening,
)
from setpoint.domain.profile import Profile
from setpoint.domain.windows import WindowRecord
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.gate import targets
from setpoint.stages.ripe import judged_decisions, ripe_window
from setpoint.workspace import Workspace

NEWEST = 3
"""One part of so many of a window, its newest, shows a fault: it began at a moment."""


@dataclass(frozen=True)
class Window:
    """What one look found.

    Attributes:
        end: Event time of the look.
        version: Champion looked at.
        drift: Findings about inputs and score.
        performance: Findings about the setpoints.
        faults: Those of the drift that look like broken data.
    """

    end: datetime
    version: str
    drift: tuple[Finding, ...]
    performance: tuple[Finding, ...]
    faults: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, setpoints first."""
        return (*self.performance, *self.faults, *self.drift)


def due(workspace: Workspace, now: datetime) -> bool:
    """Whether the declared time has passed since the last look."""
    last = workspace.state.newest_window()
    return last is None or now - last.end >= workspace.project.watch.every


def look(
    workspace: Workspace, now: datetime, log: DecisionLog | None = None, version: str | None = None
) -> Window | None:
    """Judge the newest window of the champion's decisions.

    ``watch.error_rate`` is for the whole window: half for the setpoints, half for drift.

    Args:
        workspace: The project.
        now: Event time of the look.
        log: Decisions, if not the workspace's own.
        version: Champion, if not the registry's.

    Returns:
        What was found; ``None`` where nothing is in service.
    """
    version = version or workspace.champion()
    if version is None:
        return None
    log = log or workspace.decisions
    bundle = read_bundle(workspace.bundle(version))
    drift = _drift(workspace, log, bundle, now)
    return Window(
        now,
        version,
        tuple(drift),
        tuple(_performance(workspace, log, bundle, now)),
        tuple(_faults(workspace, log, bundle, now, drift)),
    )


def _drift(workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime) -> list[Finding]:
    rule = workspace.project.watch
    profile = Profile.from_dict(bundle.profile["psi"])
    window = DecisionQuery(start=now - rule.window, end=now, version=bundle.manifest.version)
    counts = count_window(log, window, profile, bundle.features.names)
    bands = (rule.psi.watch, rule.psi.act)
    return [f.finding for f in psi_findings(profile, counts, rule.error_rate / 2, bands)]


def _faults(
    workspace: Workspace,
    log: DecisionLog,
    bundle: Bundle,
    now: datetime,
    drift: Sequence[Finding],
) -> list[Finding]:
    """Drifted inputs that look broken, by the newest rows of the window."""
    profile = {one.name: one for one in Profile.from_dict(bundle.profile["psi"]).columns}
    inputs = set(bundle.features.names)
    drifted = [f for f in drift if f.outcome == Outcome.FAILED and f.slice in inputs]
    if not drifted:
        return []
    newest = log.read(
        DecisionQuery(
            start=now - workspace.project.watch.window / NEWEST,
            end=now,
            version=bundle.manifest.version,
            columns=("score",),
            features=tuple(f.slice for f in drifted),
            request=(),
        )
    )
    found = [fault_of(profile[f.slice], newest[f"f_{f.slice}"], f) for f in drifted]
    return [one for one in found if one is not None]


def count_window(
    log: DecisionLog, window: DecisionQuery, profile: Profile, names: Sequence[str]
) -> Counts:
    """Count inputs and score of a window against a profile, batch by batch.

    Args:
        log: The decisions.
        window: Which of them; its columns do not matter.
        profile: The reference profile.
        names: The model's inputs.

    Raises:
        DataError: An input that the profile knows as a number was logged as text.
        StateError: The log cannot be read.
    """
    counts = Counts({})
    for batch in log.batches(replace(window, columns=("score",), features=names, request=())):
        columns = {name: batch[f"f_{name}"] for name in names}
        counts += count(profile, columns | {"score": batch["score"]})
    return counts


def _performance(
    workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime
) -> list[Finding]:
    rule = workspace.project.watch
    table = ripe_window(workspace, log, bundle.manifest.version, now)
    judged = judged_decisions(workspace, table)
    declared = targets(workspace)
    return [
        setpoint_finding(
            target,
            judged,
            reading="watch",
            error_rate=rule.error_rate / 2 / len(declared),
            min_sample=rule.min_positives,
        )
        for target in declared
    ]


def respond_to(workspace: Workspace, window: Window) -> list[tuple[Incident, bool]]:
    """Turn a window's failed findings into incidents, and end what has passed by itself.

    Returns:
        Open incidents of this window and whether each is new.
    """
    rule = workspace.project.respond
    policy = Policy(rule.performance, rule.drift, rule.cooldown)
    drift_names = {f.name for f in window.drift}
    causes = group(window.findings, drift_names)
    opened: list[tuple[Incident, bool]] = []
    for cause, findings in causes.items():
        severity, status = opening(policy.action(cause))
        if status == Status.OPEN and cooling(policy, _last_response(workspace), window.end):
            continue
        incident = Incident("", cause, severity, status, window.end, window.version, findings)
        opened.append(workspace.state.open_incident(incident))
    if not {Cause.DRIFT, Cause.FAULT} & set(causes) and _seen(window.drift):
        _end_watching(workspace, window)
    # Last: a look that was killed before it had its say is made again.
    workspace.state.keep_window(WindowRecord(window.end, window.version, window.findings))
    return opened


def _seen(findings: tuple[Finding, ...]) -> bool:
    return any(f.outcome == Outcome.PASSED for f in findings)


def _end_watching(workspace: Workspace, window: Window) -> None:
    for incident in workspace.state.incidents(only_open=True):
        if incident.cause == Cause.DRIFT and incident.status == Status.WATCHING:
            ended = incident.move(Status.RESOLVED, note="drift has passed", at=window.end)
            workspace.state.move_incident(incident, ended, window.end)


def _last_response(workspace: Workspace) -> datetime | None:
    text = workspace.state.recall("last_response")
    return datetime.fromisoformat(text) if text else None
