"""Incidents, and what people say to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from setpoint.cli.common import PlainTable, ProjectFile, Root, app, console, person_of, workspace_of
from setpoint.config import parse_duration

IncidentId = Annotated[str, typer.Argument(help="Its id, as 'setpoint incidents' shows it.")]
Person = Annotated[str | None, typer.Option(help="Who says so; default: the user.")]
FIRST = 3
"""Findings shown of an incident that has no triage."""


def _span(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as err:
        raise typer.BadParameter(str(err)) from err
    if span <= timedelta(0):
        raise typer.BadParameter("must be longer than 0")
    return span


@app.command()
def incidents(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that are resolved, too.")
    ] = False,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """List incidents with their triage: the open ones, or all."""
    found = workspace_of(project, root, None).state.incidents(only_open=not everything)
    if not found:
        console.print("no incident" if everything else "no open incident")
        return
    table = PlainTable()
    names = ["id", "cause", "severity", "status", "since", "level", "acknowledged by"]
    for name in [*names, "snoozed until"]:
        table.add_column(name, no_wrap=name == "id")
    for one in found:
        attention = one.attention
        row = [one.id, one.cause, one.severity, one.status, _time(one.opened_at)]
        row += [str(attention.level), attention.acknowledged_by, _time(attention.snoozed_until)]
        table.add_row(*row)
    console.print(table)
    for one in found:
        console.print()
        for line in _told(one):
            console.print(line, markup=False, soft_wrap=True)


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment is not None else ""


def _told(incident: Any) -> list[str]:
    lines = incident.headlines or [f"{f.label}: {f.reason}" for f in incident.findings[:FIRST]]
    head = f"{incident.id}: {incident.note}" if incident.note else incident.id
    return [head, *(f"  {line}" for line in lines)]


@app.command()
def acknowledge(
    incident: IncidentId,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Say that somebody looks after an incident: nobody else is told until it gets worse."""
    from setpoint.stages.attention import acknowledge as say

    workspace = workspace_of(project, root, "admin", person)
    said = say(workspace, incident, person_of(person))
    console.print(f"{said.id} is looked after by {said.attention.acknowledged_by}", markup=False)


@app.command()
def snooze(
    incident: IncidentId,
    span: Annotated[str, typer.Option("--for", help="Event time, as 12h or 3d.")],
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """Have an incident keep silent for a while, unless it gets worse."""
    from setpoint.stages.attention import snooze as say

    length = _span(span)
    workspace = workspace_of(project, root, "admin", person)
    said = say(workspace, incident, person_of(person), length)
    until = _time(said.attention.snoozed_until)
    console.print(f"{said.id} is silent until {until} event time", markup=False)


@app.command()
def resolve(
    incident: IncidentId,
    note: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    retry: Annotated[
        bool, typer.Option("--retry", help="Have it responded to again instead of ending it.")
    ] = False,
    sound: Annotated[
        bool,
        typer.Option(
            "--sound", help="Of a fault: the data were right; judge and train on them after all."
        ),
    ] = False,
    person: Person = None,
    project: ProjectFile = None,
    root: Root = None,
) -> None:
    """End an incident that needs a person, or have it responded to again."""
    from setpoint.stages.respond import by_person

    who = person_of(person)
    # what is trained on, and when, is more than to end what is over
    workspace = workspace_of(project, root, "train" if retry or sound else "admin", person)
    moved = by_person(workspace, incident, note, retry=retry, person=who, sound=sound)
    console.print(f"{moved.id} is {moved.status}: {moved.note}", markup=False)
