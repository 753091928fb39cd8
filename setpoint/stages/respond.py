"""Take an incident up, and bring it to an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.changes import rise_at
from setpoint.domain.follow_up import grown
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.oversight import ALL
from setpoint.domain.rollout import Rollout, Stage
from setpoint.domain.split import hash_share
from setpoint.errors import StateError
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages import broken, follow_up
from setpoint.stages.assemble import cost_columns
from setpoint.stages.fallback import is_rule
from setpoint.stages.ripe import judged_decisions, ripe_decisions
from setpoint.stages.traffic import stops
from setpoint.workspace import Workspace

UNLABELLED = frozenset({Cause.DRIFT, Cause.ESTIMATE, Cause.UNUSUAL, Cause.COVERAGE})
"""Causes that show before any label does."""
SWITCHES = ("roll_back", "fall_back")
"""Answers that another version is switched to at once for: no training, no label is waited for."""
PARTS = 8
"""A change is dated so that each side has so large a part of the watch window, at least."""
CAP = 0.9
"""Quantile of what costly decisions cost at which a cost is capped to date a change."""


def take(workspace: Workspace, incident_id: str, run: str) -> Incident | None:
    """Take up an incident for a run; ``None`` if there is nothing (more) to do, or not yet.

    Raises:
        StateError: There is no such incident.
    """
    if not _ripe(workspace, workspace.state.incident(incident_id), workspace.clock.now()):
        return None
    return workspace.state.take_incident(incident_id, run)


def _ripe(workspace: Workspace, incident: Incident, now: datetime) -> bool:
    """Whether its time has come, and no data are broken.

    What was seen without labels is retrained on once half a window since then has some: before, a
    model would be trained on what the one in service knows.
    """
    if any(one.cause == Cause.FAULT for one in workspace.state.incidents(only_open=True)):
        return False
    if workspace.state.unsettled_releases():
        return False  # another cannot begin beside it, and the attempt would be lost
    if any(one.scope == ALL for one in stops(workspace)):
        return False  # no model may serve
    after = workspace.state.recall(f"retry_after:{incident.id}")
    if after is not None:
        return now >= datetime.fromisoformat(after)
    if incident.cause not in UNLABELLED or answer_to(workspace, incident) in SWITCHES:
        return True
    project = workspace.project
    return now >= incident.opened_at - project.watch.window / 2 + project.target.delay


def answer_to(workspace: Workspace, incident: Incident) -> str:
    """What answers it. Where the rule serves already, only a new model does."""
    action = workspace.project.respond.policy().action(incident.cause)
    if action == "fall_back" and is_rule(workspace, workspace.champion()):
        return "retrain"
    return "retrain" if action not in SWITCHES else action


def taken(workspace: Workspace) -> list[Incident]:
    """Incidents that a run has taken up."""
    found = workspace.state.incidents(only_open=True)
    return [incident for incident in found if incident.status == Status.RESPONDING]


def broken_off(
    workspace: Workspace, incident: Incident, reason: str, since: datetime | None = None
) -> None:
    """A response ended in an error: open again, unless its release goes on without it.

    Args:
        workspace: The project.
        incident: What was responded to.
        reason: The error.
        since: As for ``failed``, where its rows did not allow a training.
    """
    releases = workspace.state.releases_for(incident.id)
    if not releases or releases[-1].settled:
        failed(workspace, incident, reason, since)


def left_behind(workspace: Workspace, incident: Incident) -> None:
    """End or open again an incident whose run died, by what became of its release."""
    releases = workspace.state.releases_for(incident.id)
    last = releases[-1] if releases else None
    if last is not None and last.stage == Stage.HELD:
        held(workspace, incident, last.reason)
        return
    if last is not None and not last.settled:
        return  # another run walks it on
    if last is not None and last.back:
        switched(workspace, incident, last)
    elif last is not None and last.stage == Stage.PROMOTED:
        promoted(workspace, incident, last.challenger)
    else:
        failed(workspace, incident, f"run {incident.taken_by} died")


def waiting(workspace: Workspace, now: datetime) -> list[Incident]:
    """Incidents that want a response and that no run has taken up."""
    found = []
    for incident in workspace.state.incidents(only_open=True):
        urgent = incident.status == Status.OPEN and incident.severity == Severity.HIGH
        if urgent and _ripe(workspace, incident, now):
            found.append(incident)
    return found


def began(
    workspace: Workspace, incident: Incident, now: datetime, log: DecisionLog | None = None
) -> datetime:
    """From when on candidates are judged: when the decisions of the champion became dearer.

    A fault that takes more than one window to be proven began before the window that proved it, so
    it is looked for in that one and the one before. The customers that judge candidates have no
    say: rows chosen because the champion did badly on them would flatter whoever it is held beside.
    What was seen without labels began with the window that showed it. It is remembered, for whoever
    brings the response to its end.

    Args:
        workspace: The project.
        incident: What is responded to.
        now: Event time; labels that are ripe by then count.
        log: Decisions, if not the workspace's own.
    """
    found = _dated(workspace, incident, now, log or workspace.decisions)
    workspace.state.remember(f"began:{incident.id}", found.isoformat())
    return found


def _dated(workspace: Workspace, incident: Incident, now: datetime, log: DecisionLog) -> datetime:
    project = workspace.project
    window = project.watch.window
    if incident.cause in UNLABELLED:
        return incident.opened_at - window
    earliest = incident.opened_at - project.label_age - 2 * window
    sticky = project.sticky_column
    wanted = tuple(sorted({*cost_columns(workspace), sticky}))
    query = DecisionQuery(start=earliest, version=incident.version, request=wanted)
    table = ripe_decisions(workspace, log, query, now)
    table = table.filter(pc.is_valid(table[sticky]))
    shares = [hash_share(str(value)) for value in table[sticky].to_pylist()]
    table = table.filter(pa.array([share >= project.train.holdout for share in shares], pa.bool_()))
    # Two windows hold as many rows as this or more: a side has an eighth of a window at least.
    least = table.num_rows // (2 * PARTS)
    if not least:
        return earliest
    cost = judged_decisions(workspace, table).cost
    # One large fraud must not date the change.
    capped = np.minimum(cost, np.quantile(cost[cost > 0], CAP)) if (cost > 0).any() else cost
    found: datetime = table["event_time"][rise_at(capped, least)].as_py()
    return found


def dated(workspace: Workspace, incident: Incident) -> datetime | None:
    """What ``began`` found last; ``None`` where nobody has asked it."""
    since = workspace.state.recall(f"began:{incident.id}")
    return None if since is None else datetime.fromisoformat(since)


def promoted(workspace: Workspace, incident: Incident, version: str) -> Incident:
    """The challenger was promoted: the incident is over, and more trainings follow."""
    now, since = workspace.clock.now(), dated(workspace, incident)
    if since is not None:
        follow_up.begin(workspace, incident.id, since, now)
    note = f"retrained; {version} promoted"
    return _move(workspace, incident, incident.move(Status.RESOLVED, note=note, at=now), now)


def switched(workspace: Workspace, incident: Incident, rollout: Rollout) -> Incident:
    """Another version serves in one switch, or it could not be made to.

    The last good version ends the incident. The rule does not: a person says how it goes on.

    Args:
        workspace: The project.
        incident: What it answers.
        rollout: The release that switched, ended.
    """
    to = "the fallback rule" if rollout.rule else "a former version"
    if rollout.stage != Stage.PROMOTED:
        reason = f"{to}, {rollout.challenger}, did not take over: {rollout.reason}"
        return held(workspace, incident, reason)
    if rollout.rule:
        reason = f"{to} serves as {rollout.challenger} until a model is promoted over it"
        return held(workspace, incident, reason)
    now, note = workspace.clock.now(), f"rolled back to {rollout.challenger}"
    return _move(workspace, incident, incident.move(Status.RESOLVED, note=note, at=now), now)


def not_approved(workspace: Workspace, cause: str, reason: str) -> None:
    """What should heal an incident is not approved: the incident says why."""
    for incident in workspace.state.incidents(only_open=True):
        if incident.id == cause and incident.status == Status.NEEDS_PERSON:
            now = workspace.clock.now()
            workspace.state.move_incident(incident, replace(incident, note=reason), now)


def held(workspace: Workspace, incident: Incident, reason: str) -> Incident:
    """What should heal it waits for a person, or there is nothing: so does the incident."""
    moved = incident.move(Status.NEEDS_PERSON, note=reason)
    return _move(workspace, incident, moved, workspace.clock.now())


def after_release(workspace: Workspace, rollout: Rollout) -> None:
    """Close the incident that a promotion answers, where no run responds to it any more.

    The rule answers none.
    """
    if rollout.stage != Stage.PROMOTED or rollout.rule:
        return
    for incident in workspace.state.incidents(only_open=True):
        if incident.id != rollout.cause or incident.status != Status.NEEDS_PERSON:
            continue
        if rollout.back:
            switched(workspace, incident, rollout)
        else:
            promoted(workspace, incident, rollout.challenger)


def by_person(
    workspace: Workspace,
    incident_id: str,
    note: str,
    *,
    retry: bool,
    person: str = "",
    sound: bool = False,
) -> Incident:
    """A person ends an incident, or has it responded to again.

    Args:
        workspace: The project.
        incident_id: The incident.
        note: Why, in the person's words.
        retry: Open it again, with all attempts, instead of ending it.
        person: Who it is, for the note and the ledger.
        sound: Of a fault: the data were right all the time, so what was decided on them meanwhile
            is judged and trained on.

    Raises:
        StateError: There is no such incident, it has ended, it moved meanwhile, or it is a fault
            that is to be responded to.
    """
    incident = workspace.state.incident(incident_id)
    if retry and incident.cause == Cause.FAULT:
        raise StateError(
            f"{incident_id} is about broken data: no training answers it",
            where="incidents",
            fix="end it once the data are repaired; with --sound, if they were right",
        )
    now = workspace.clock.now()
    status = Status.OPEN if retry else Status.RESOLVED
    moved = incident.move(status, note=f"by {person or 'a person'}: {note}", at=now)
    if retry:
        workspace.state.remember(f"attempts:{incident.id}", "0")
        workspace.state.remember(f"retry_after:{incident.id}", now.isoformat())
        moved = replace(moved, severity=Severity.HIGH)
    # with the end, not after it: a look in between would pass over these rows for good
    facts = {broken.sound(incident.id): now.isoformat()} if sound else {}
    if not workspace.state.move_incident(incident, moved, now, person, facts):
        raise StateError(
            f"{incident_id} has moved meanwhile", where="incidents", fix="look at it again"
        )
    return moved


def failed(
    workspace: Workspace, incident: Incident, reason: str, since: datetime | None = None
) -> Incident:
    """A response came to nothing: open again for the next run, or for a person.

    Args:
        workspace: The project.
        incident: What was responded to.
        reason: Why it came to nothing.
        since: From when on the candidate was judged, where that is known: it is tried again when
            the rows since then have grown by enough to say more (``domain.follow_up``).
    """
    now = workspace.clock.now()
    rule = workspace.project.respond
    key = f"attempts:{incident.id}"
    attempts = int(workspace.state.recall(key) or 0) + 1
    workspace.state.remember(key, str(attempts))
    note = f"attempt {attempts} of {rule.attempts}: {reason}"
    if attempts >= rule.attempts:
        return _move(workspace, incident, incident.move(Status.NEEDS_PERSON, note=note), now)
    again = now + rule.retry_after
    if since is not None:
        again = max(again, grown(since, now, now - workspace.project.target.delay))
    workspace.state.remember(f"retry_after:{incident.id}", again.isoformat())
    return _move(workspace, incident, incident.move(Status.OPEN, note=note), now)


def _move(workspace: Workspace, was: Incident, incident: Incident, now: datetime) -> Incident:
    """The incident as it is then: moved, unless somebody else has moved it meanwhile."""
    if not workspace.state.move_incident(was, incident, now):
        return workspace.state.incident(was.id)
    if incident.status in (Status.RESOLVED, Status.NEEDS_PERSON):
        workspace.state.remember("last_response", now.isoformat())
    return incident
