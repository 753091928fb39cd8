"""Ask whether somebody may do something, and write down where they may not."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from setpoint.domain.access import Actor, Permission, require
from setpoint.errors import AccessError, StateError
from setpoint.workspace import Workspace

REFUSED = "access_refused"
SPOKE_FOR = "spoke_for"
"""Kind of the ledger entry where one user did something in another person's name."""


def check(workspace: Workspace, actor: Actor, permission: Permission, doing: str) -> None:
    """Let somebody do something, or refuse it and say so in the ledger.

    Args:
        workspace: The project.
        actor: Who.
        permission: What it needs.
        doing: What, for the ledger: a command or a flow.

    Raises:
        AccessError: The permission is missing.
    """
    policy = workspace.project.access_policy()
    try:
        require(policy, actor, permission)
    except AccessError:
        _record(workspace, REFUSED, actor, permission, doing)
        raise
    if policy.declared and actor.spoken_for:
        _record(workspace, SPOKE_FOR, actor, permission, doing)


def check_service(workspace: Workspace, permission: Permission, doing: str) -> None:
    """The same for a flow run, which is the service that its environment names.

    Raises:
        AccessError: The permission is missing.
    """
    check(workspace, Actor(workspace.environment.service, "service"), permission, doing)


def _record(
    workspace: Workspace, kind: str, actor: Actor, permission: Permission, doing: str
) -> None:
    if not (workspace.root / "state.db").exists():
        return  # nothing happened here yet, and a refusal is no reason to begin
    evidence = {"permission": permission, "login": actor.login, "doing": doing}
    now = datetime.now(UTC)
    with suppress(StateError):  # a stream that has not begun has no time
        now = workspace.clock.now()
    workspace.state.record(now, kind, f"{actor.kind}/{actor.name}", evidence)
