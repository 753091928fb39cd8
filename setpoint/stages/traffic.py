"""Who answers: a traffic plan made true, with what people have stopped left out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from uuid import uuid4

from setpoint.adapters.envoy_config import answering
from setpoint.domain.oversight import RESUMED, STOPPED, Stop, answers_for, diverted, in_force
from setpoint.ports import TrafficPlan
from setpoint.stages.signed import entry_state
from setpoint.workspace import Workspace


def stops(workspace: Workspace) -> tuple[Stop, ...]:
    """The stops in force, oldest first, as the ledger tells them.

    Raises:
        StateError: An entry of a stop was altered.
    """
    entries = workspace.state.ledger_of(STOPPED, RESUMED)
    return in_force(entries, partial(entry_state, workspace))


def start(workspace: Workspace, version: str) -> None:
    """Run a version, or find it running.

    Raises:
        PlatformError: It does not get ready.
    """
    digest = workspace.registry.digest(version)
    workspace.runtime.start(version, workspace.bundle(version), digest)


def plan_id(about: str) -> str:
    """An id that no plan had before."""
    return f"{about}-{uuid4().hex[:8]}"


def steer(workspace: Workspace, plan: TrafficPlan) -> None:
    """Put a plan in force, but for what is stopped: there the stand-in answers.

    All versions that the plan names are running.

    Raises:
        PlatformError: A stand-in does not get ready.
        ReleaseError: The gateway does not take the plan.
    """
    now = stops(workspace)
    weights = diverted(plan.weights, now)
    for version in weights.keys() - plan.weights.keys():
        start(workspace, version)
    shadow = plan.shadow if plan.shadow and answers_for(plan.shadow, now) == plan.shadow else None
    told = replace(plan, weights=weights, stable=answers_for(plan.stable, now), shadow=shadow)
    may_answer = sorted({version for chain in answering(told).values() for version in chain})
    workspace.state.remember(f"plan:{told.id}", json.dumps(may_answer))
    running = workspace.runtime.endpoints()
    wanted = set(weights) | ({shadow} if shadow is not None else set())
    workspace.router.apply(told, {version: running[version] for version in wanted})


def planned(workspace: Workspace, plan: str) -> set[str]:
    """Versions that may answer under a traffic plan, standing in for another or not.

    Empty for a plan that never was.
    """
    return set(json.loads(workspace.state.recall(f"plan:{plan}") or "[]"))
