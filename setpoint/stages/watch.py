"""Look at a window of decisions: drift and faults of inputs, the setpoints on ripe labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.drift import Counts, count, psi_findings
from setpoint.domain.faults import fault_of
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.incidents import (
    Cause,
    Incident,
    Status,
    cause_of,
    cooling,
    group,
    opening,
)
from setpoint.domain.multivariate import DOMAIN_CLASSIFIER, WINDOW, domain_classifier
from setpoint.domain.profile import Profile
from setpoint.domain.series import unusual
from setpoint.domain.windows import WindowRecord, apart
from setpoint.errors import StateError
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.broken import NEWEST, window_start
from setpoint.stages.clients import clients
from setpoint.stages.estimates import estimates
from setpoint.stages.performance import performance
from setpoint.stages.skew import skew
from setpoint.stages.triage import triaged
from setpoint.workspace import Workspace

TOGETHER = 0.1
"""Of the error rate of drift, for all columns at once."""
SHARES = {"labels": 0.5, "drift": 0.25, "estimates": 0.1, "series": 0.1, "clients": 0.05}
"""Of the error rate of a window. By labels is most, for that is what is acted on."""


@dataclass(frozen=True)
class Window:
    """What one look found.

    Attributes:
        end: Event time of the look.
        version: Champion looked at.
        drift: Findings about inputs and score.
        performance: Findings by labels: the setpoints first.
        faults: Those of the drift that look like broken data.
        estimates: Findings without labels.
        series: Figures that left their usual range.
        clients: Whether a client asks in order to copy the model.
    """

    end: datetime
    version: str
    drift: tuple[Finding, ...]
    performance: tuple[Finding, ...]
    faults: tuple[Finding, ...] = ()
    estimates: tuple[Finding, ...] = ()
    series: tuple[Finding, ...] = ()
    clients: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, setpoints first."""
        told = (*self.performance, *self.faults, *self.estimates, *self.series, *self.drift)
        return (*told, *self.clients)


def due(workspace: Workspace, now: datetime) -> bool:
    """Whether it is time for the next look."""
    last = workspace.state.newest_window()
    return last is None or now - last.end >= pause(workspace)


def pause(workspace: Workspace) -> timedelta:
    """Event time from one look to the next: as declared, or less while one has to look closer."""
    project, opened = workspace.project, workspace.state.incidents(only_open=True)
    return project.respond.policy().pause(opened, project.watch.every)


def look(
    workspace: Workspace, now: datetime, log: DecisionLog | None = None, version: str | None = None
) -> Window | None:
    """Judge the newest window of the champion's decisions.

    ``watch.error_rate`` is for the whole window; ``SHARES`` says what each kind has of it.

    Args:
        workspace: The project.
        now: Event time of the look.
        log: Decisions, if not the workspace's own.
        version: Champion, if not the registry's.

    Returns:
        What was found; ``None`` where nothing is in service.

    Raises:
        StateError: A later window was looked at before: the clock went backwards.
    """
    last = workspace.state.newest_window()
    if last is not None and now < last.end:
        raise StateError(
            f"a look at {now:%Y-%m-%d %H:%M} event time, after one at {last.end:%Y-%m-%d %H:%M}: "
            "the clock went backwards",
            where="look",
            fix="set the clock right; what was judged is not judged again",
        )
    version = version or workspace.champion()
    if version is None:
        return None
    log = log or workspace.decisions
    bundle = read_bundle(workspace.bundle(version))
    rates = {kind: share * workspace.project.watch.error_rate for kind, share in SHARES.items()}
    looked_at = workspace, log, bundle, now
    drift = _drift(*looked_at, rates["drift"])
    found = Window(
        now,
        version,
        tuple(drift),
        tuple(performance(*looked_at, rates["labels"])),
        tuple(_faults(*looked_at, drift)),
        (*estimates(*looked_at, rates["estimates"]), *_skew(*looked_at)),
    )
    series = tuple(_series(workspace, found, rates["series"]))
    return replace(found, series=series, clients=tuple(clients(*looked_at, rates["clients"])))


def _skew(workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime) -> list[Finding]:
    # a replay decides on what is recomputed: there is nothing to hold side by side
    sampled = workspace.project.watch.skew_sample and not workspace.replay
    return [skew(workspace, log, bundle, now)] if sampled else []


def _series(workspace: Workspace, window: Window, error_rate: float) -> list[Finding]:
    """Figures beside those of earlier windows that share no decision with it or each other."""
    length = workspace.project.watch.window
    same = [one for one in workspace.state.windows() if one.version == window.version]
    earlier = apart(same, window.end - length, length)
    return unusual(window.findings, earlier, error_rate)


def _drift(
    workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime, error_rate: float
) -> list[Finding]:
    rule = workspace.project.watch
    profile = Profile.from_dict(bundle.profile["psi"])
    begin = window_start(workspace, now)
    window = DecisionQuery(start=begin, end=now, version=bundle.manifest.version)
    counts = count_window(log, window, profile, bundle.features.names)
    bands = (rule.psi.watch, rule.psi.act)
    found = [f.finding for f in psi_findings(profile, counts, error_rate * (1 - TOGETHER), bands)]
    step = max(1, -(-counts.rows("score") // WINDOW))
    return [*found, *_together(log, bundle, window, step, error_rate * TOGETHER)]


def _together(
    log: DecisionLog, bundle: Bundle, window: DecisionQuery, step: int, error_rate: float
) -> list[Finding]:
    """All columns at once, by a sample of training and by every so many rows of the window."""
    kept = bundle.profile.get("sample")
    if kept is None:
        return [not_measured(DOMAIN_CLASSIFIER, "the bundle has no sample of its training rows")]
    names = [name for name in kept if name != "score"]
    columns: dict[str, list[Any]] = {name: [] for name in kept}
    seen = 0
    for batch in log.batches(replace(window, columns=("score",), features=names, request=())):
        rows = batch.take(np.arange(-seen % step, batch.num_rows, step))
        for name in names:
            columns[name] += rows[f"f_{name}"].to_pylist()
        columns["score"] += rows["score"].to_pylist()
        seen += batch.num_rows
    return [domain_classifier(kept, columns, error_rate)]


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
            start=max(now - workspace.project.watch.window / NEWEST, window_start(workspace, now)),
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


def respond_to(workspace: Workspace, window: Window) -> list[tuple[Incident, bool]]:
    """Turn a window's failed findings into incidents, and end what has passed by itself.

    Returns:
        Open incidents of this window and whether each is new.
    """
    policy = workspace.project.respond.policy()
    causes = group(window.findings)
    opened: list[tuple[Incident, bool]] = []
    for cause, findings in causes.items():
        if policy.action(cause) == "nothing":
            continue
        severity, status = opening(policy.action(cause))
        if status == Status.OPEN and cooling(policy, _last_response(workspace), window.end):
            continue
        incident = Incident("", cause, severity, status, window.end, window.version, findings)
        opened.append(workspace.state.open_incident(triaged(workspace, incident, window.findings)))
    if Cause.FAULT in causes:
        _explain(workspace, window, opened)
    else:
        _end_watching(workspace, window, set(causes))
    # Last: a look that was killed before it had its say is made again.
    workspace.state.keep_window(WindowRecord(window.end, window.version, window.findings))
    return opened


def _explain(workspace: Workspace, window: Window, opened: list[tuple[Incident, bool]]) -> None:
    """End what a fault had opened before it was told from drift: it must not be retrained on."""
    fault = next(one for one, _ in opened if one.cause == Cause.FAULT)
    since = fault.opened_at - workspace.project.watch.window / NEWEST
    for incident in workspace.state.incidents(only_open=True):
        idle = incident.status in (Status.OPEN, Status.WATCHING)
        if idle and incident.cause != Cause.FAULT and incident.opened_at >= since:
            note = f"explained by {fault.id}: the data were broken"
            ended = incident.move(Status.RESOLVED, note=note, at=window.end)
            workspace.state.move_incident(incident, ended, window.end)


def _end_watching(workspace: Workspace, window: Window, failing: set[Cause]) -> None:
    """End what is only watched and has passed: not failing, and all of its evidence seen not to."""
    seen = {cause_of(f) for f in window.findings if f.outcome == Outcome.PASSED}
    unseen = {(f.name, f.slice) for f in window.findings if f.outcome != Outcome.PASSED}
    for incident in workspace.state.incidents(only_open=True):
        own = {(f.name, f.slice) for f in incident.findings}
        over = incident.cause in seen - failing and not own & unseen
        if over and incident.status == Status.WATCHING:
            note = f"{incident.cause} has passed"
            ended = incident.move(Status.RESOLVED, note=note, at=window.end)
            workspace.state.move_incident(incident, ended, window.end)


def _last_response(workspace: Workspace) -> datetime | None:
    text = workspace.state.recall("last_response")
    return datetime.fromisoformat(text) if text else None
