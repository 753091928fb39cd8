"""What people may do at once: stop a version or every model, and say otherwise of a decision."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from setpoint.domain.ledger import Entry
from setpoint.domain.oversight import ALL, RESUMED, STOPPED, Stop, answers_for
from setpoint.errors import ReleaseError, StateError
from setpoint.ports import TrafficPlan
from setpoint.stages import fallback
from setpoint.stages.roll_back import last_good
from setpoint.stages.signed import entry_state
from setpoint.stages.traffic import plan_id, start, steer, stops
from setpoint.workspace import Workspace

OVERRIDDEN = "overridden"
"""Kind of the ledger entry that a person decided otherwise."""
SETTLING = 1.0
"""Seconds in which a plan that a release had begun to put in force may still come."""
_TRIES = 3


def stop(workspace: Workspace, scope: str, person: str, note: str) -> Stop:
    """Take a version, or every model, out of the traffic at once; requests go on being answered.

    It is written down first: where the gateway cannot be reached, the next sweep enforces it.

    Args:
        workspace: The project.
        scope: A version, or ``all``: the declared rule answers.
        person: Who orders it.
        note: Why.

    Raises:
        ReleaseError: Nothing could stand in, or the gateway does not take the plan.
        PlatformError: What stands in does not start.
        StateError: There is no such version, it is stopped already, or it is not known what is in
            service.
    """
    if scope != ALL and scope not in workspace.registry.versions():
        raise StateError(
            f"there is no version {scope}", where="stop", fix="'setpoint status' names them"
        )
    made = _stopped(workspace, scope, person, note)
    enforce(workspace, certain=True)
    return made


def resume(workspace: Workspace, scope: str, person: str, note: str) -> Stop:
    """End a stop: the champion answers again, a version may be released again.

    Args:
        workspace: The project.
        scope: As it was stopped.
        person: Who orders it.
        note: Why.

    Raises:
        ReleaseError, PlatformError: As for ``stop``.
        StateError: It is not stopped.
    """
    ended: list[Stop] = []

    def follows(_: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
        known = stops(workspace)
        ended[:] = [one for one in known if one.scope == scope]
        if not ended:
            there = ", ".join(one.scope for one in known) or "nothing"
            fix = f"what is stopped: {there}"
            raise StateError(f"{scope} is not stopped", where="resume", fix=fix)
        return RESUMED, replace(ended[0], person=person, note=note).evidence()

    workspace.state.record_after(workspace.clock.now(), _subject(workspace, scope), follows)
    _steer_anew(workspace)
    return ended[0]


def objection(workspace: Workspace, version: str) -> str:
    """Why a version may not be given traffic now; empty if it may."""
    for one in stops(workspace):
        if one.scope == version or (one.scope == ALL and one.stand_in != version):
            return f"{one.scope} stopped by {one.person}: {one.note}"
    return ""


def enforce(workspace: Workspace, *, certain: bool = False) -> bool:
    """Put the stops in force where the traffic does not follow them; whether it did not.

    Args:
        workspace: The project.
        certain: Look again after a moment, for a plan that a release had begun to put in force.

    Raises:
        ReleaseError, PlatformError: As for ``stop``.
    """
    if not stops(workspace):
        return False
    moved = False
    for _ in range(_TRIES):
        if not _obeyed(workspace):
            _steer_anew(workspace)
            moved = True
        if not certain:
            break
        time.sleep(SETTLING / _TRIES)
    return moved


def override(workspace: Workspace, decision_id: str, action: str, person: str, note: str) -> Entry:
    """A person decides otherwise than the model did; what was answered stays in the log.

    Args:
        workspace: The project.
        decision_id: A served decision.
        action: One of the project's two actions.
        person: Who decides.
        note: Why.

    Raises:
        StateError: There is no such decision, no such action, or it is what was answered.
    """
    known = workspace.decisions.find([decision_id]).get(decision_id)
    if known is None:
        raise StateError(
            f"there is no served decision {decision_id}",
            where="override",
            fix="give the id that the answer named",
        )
    allowed = list(workspace.project.actions.model_dump().values())
    before = overridden(workspace, decision_id) or known.action
    if action not in allowed or action == before:
        others = " or ".join(one for one in allowed if one != before)
        raise StateError(
            f"{decision_id} is {before} and cannot become {action}",
            where="override",
            fix=f"say {others}",
        )
    evidence = {"was": before, "action": action, "version": known.version, "score": known.score}
    return workspace.state.record(
        workspace.clock.now(),
        OVERRIDDEN,
        _subject(workspace, decision_id),
        evidence | {"person": person, "note": note},
    )


def overridden(workspace: Workspace, decision_id: str) -> str | None:
    """What a person decided last in place of the model; ``None`` where nobody did."""
    entries = workspace.state.ledger_about(_subject(workspace, decision_id))
    said = [one for one in entries
            if one.kind == OVERRIDDEN and entry_state(workspace, one) == "holds"]  # fmt: skip
    return str(said[-1].evidence["action"]) if said else None


def _stand_in(workspace: Workspace, scope: str) -> str:
    champion = workspace.champion()
    if champion is None:
        raise ReleaseError(
            "nothing is in service", where=f"stop of {scope}", fix="there is nothing to stop"
        )
    if scope == ALL:
        return champion if fallback.is_rule(workspace, champion) else _rule(workspace, champion)
    answering = answers_for(champion, stops(workspace))
    if scope not in (champion, answering):
        return answering
    try:
        return _fit(workspace, last_good(workspace, champion), scope)
    except ReleaseError as err:
        try:
            return _fit(workspace, _rule(workspace, champion), scope)
        except ReleaseError as none:
            raise ReleaseError(
                f"nothing can stand in: {err.what}; {none.what}",
                where=f"stop of {scope}",
                fix=none.fix,
            ) from err


def _fit(workspace: Workspace, version: str, scope: str) -> str:
    """The version, if it may stand in: a stopped one would hand the traffic back."""
    why = "it is what is to be stopped" if version == scope else objection(workspace, version)
    if why:
        raise ReleaseError(
            f"{version} may not stand in: {why}",
            where=f"stop of {scope}",
            fix="declare 'fallback' and run 'setpoint deliver' once, or resume another version",
        )
    return version


def _rule(workspace: Workspace, champion: str) -> str:
    return fallback.version_of(workspace, champion)


class _Moved(StateError):
    """Somebody else stopped or resumed something since the stand-in was chosen."""


def _stopped(workspace: Workspace, scope: str, person: str, note: str) -> Stop:
    """Write a stop down; who stands in is chosen again where the stops are others meanwhile."""
    for again in reversed(range(_TRIES)):
        known = stops(workspace)
        if any(one.scope == scope for one in known):
            raise StateError(
                f"{scope} is stopped already", where="stop", fix="'setpoint resume' ends a stop"
            )
        made = Stop(scope, _stand_in(workspace, scope), person, note, workspace.clock.now())
        try:
            _add(workspace, made, known)
        except _Moved:
            if not again:
                raise
        else:
            break
    return made


def _add(workspace: Workspace, made: Stop, known: tuple[Stop, ...]) -> None:
    """Add a stop to those that its stand-in was chosen by, and to no others."""

    def follows(_: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
        if stops(workspace) != known:
            what = f"what is stopped changed while {made.scope} was being stopped"
            raise _Moved(what, where="stop", fix="give the order again")
        return STOPPED, made.evidence()

    workspace.state.record_after(made.since, _subject(workspace, made.scope), follows)


def _subject(workspace: Workspace, scope: str) -> str:
    return f"{workspace.project.name}/{scope}"


def _obeyed(workspace: Workspace) -> bool:
    plan = workspace.router.current()
    if plan is None:
        return True
    now = stops(workspace)
    named = {v for v, weight in plan.weights.items() if weight} | {plan.stable}
    named |= {plan.shadow} if plan.shadow is not None else set()
    return all(answers_for(version, now) == version for version in named)


def _steer_anew(workspace: Workspace) -> None:
    """All traffic to the champion, or to who stands in for it."""
    champion = workspace.champion()
    if champion is None:
        return
    if answers_for(champion, stops(workspace)) == champion:
        start(workspace, champion)
    steer(workspace, TrafficPlan(plan_id("oversight"), {champion: 100}, champion))
