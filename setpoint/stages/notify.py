"""Tell people of incidents: what is due, once to each channel, and again where it was not taken.

Nothing is queued: what is due follows from the incident as it is and from what each channel took of
it last, and the latter is written only after the channel took it. A run that is killed in between
tells one notice twice; one that is killed before leaves it to the next sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from setpoint.adapters.notify import send
from setpoint.config import read_address
from setpoint.domain import escalation
from setpoint.domain.escalation import Notice
from setpoint.domain.incidents import Incident
from setpoint.errors import NotificationError
from setpoint.ports import Clock
from setpoint.workspace import Workspace

CLAIM = timedelta(minutes=2)
"""Wall time for one notice, longer than any channel is waited for; then its run counts as dead."""

FIRST = 3
"""Findings told of an incident that has no triage."""

SendBlock = Callable[[str, str, str, str], None]
"""Sends through a notification block: channel, block, title, body."""


def tell(workspace: Workspace, wall: Clock, send_block: SendBlock) -> None:
    """Let incidents climb that nobody looks after, and tell what is due.

    A channel that fails keeps none of the others from being told, and is tried once in a run.

    Args:
        workspace: The project.
        wall: Wall time.
        send_block: Sends through a notification block of Prefect.

    Raises:
        NotificationError: Channels did not take what they were told; the next sweep tells them.
        StateError: The state cannot be read, or a replay has no time yet.
    """
    now = workspace.clock.now()
    broken: dict[str, NotificationError] = {}
    for read in workspace.state.untold_incidents():
        incident = _attended(workspace, read, now, wall.now())
        for notice in _due(workspace, incident, now):
            if notice.channel in broken:
                continue
            try:
                _deliver(workspace, notice, wall, send_block)
            except NotificationError as err:
                broken[notice.channel] = err
        if not incident.is_open and not _due(workspace, incident, now):
            settled = replace(incident.attention, settled=True)
            workspace.state.attend_incident(incident, settled)
    if broken:
        raise _all_of(list(broken.values()))


def _attended(workspace: Workspace, incident: Incident, now: datetime, wall: datetime) -> Incident:
    rule = workspace.project.notify.rule()
    attention = escalation.attend(incident, rule, now, wall)
    if attention == incident.attention:
        return incident
    if workspace.state.attend_incident(incident, attention):
        return replace(incident, attention=attention)
    return workspace.state.incident(incident.id)  # it changed meanwhile; the next run attends to it


def _due(workspace: Workspace, incident: Incident, now: datetime) -> tuple[Notice, ...]:
    told = workspace.state.told(incident.id)
    return escalation.due(incident, told, workspace.project.notify.rule(), now)


def _deliver(workspace: Workspace, notice: Notice, wall: Clock, send_block: SendBlock) -> None:
    state, incident, started = workspace.state, notice.incident.id, wall.now()
    if not state.claim_telling(incident, notice.channel, started, started + CLAIM):
        return  # another run tells it
    taken = None
    try:
        last = state.told(incident).get(notice.channel)
        if last is None or last < notice.mark:
            _send(workspace, notice, send_block)
            taken = notice.mark
    finally:
        state.end_telling(incident, notice.channel, taken)


def _send(workspace: Workspace, notice: Notice, send_block: SendBlock) -> None:
    channel = workspace.project.notify.channels[notice.channel]
    title, body = told_as(notice)
    if channel.block is not None:
        send_block(notice.channel, channel.block, title, body)
        return
    variable = channel.url_from or ""
    url = read_address(variable)
    if not url:
        raise NotificationError(
            f"the environment variable {variable} is not set",
            where=f"notify.channels.{notice.channel}",
            fix="set it to an Apprise URL, run 'setpoint down' and 'setpoint up'",
        )
    send(notice.channel, url, title, body)


def told_as(notice: Notice) -> tuple[str, str]:
    """Title and text of a notice."""
    incident = notice.incident
    words = {"opened": "is open", "needs_person": "needs a person", "resolved": "is over"}
    climbed = f", level {notice.mark.level}: nobody acknowledged it" if _climbed(notice) else ""
    title = f"{incident.id} {words[notice.what]}: {incident.cause}, {incident.severity}{climbed}"
    lines = [f"model {incident.version}, since {incident.opened_at:%Y-%m-%d %H:%M} event time"]
    lines += [incident.note] if incident.note else []
    lines += incident.headlines or [f"{f.label}: {f.reason}" for f in incident.findings[:FIRST]]
    if incident.is_open:
        lines.append(f"setpoint acknowledge {incident.id}")
        lines.append(f"setpoint snooze {incident.id} --for 3d")
    if notice.what == "needs_person":
        lines.append(f"setpoint resolve {incident.id} --note WHY   (or --retry)")
    return title, "\n".join(lines)


def _climbed(notice: Notice) -> bool:
    return notice.incident.is_open and notice.mark.level > 0


def _all_of(errors: list[NotificationError]) -> NotificationError:
    if len(errors) == 1:
        return errors[0]
    return NotificationError(
        "; ".join(f"{one.where}: {one.what}" for one in errors),
        fix="; ".join(dict.fromkeys(one.fix for one in errors)),
    )
