"""Who may do what: permissions of people and services, and the question whether one has one.

No permission contains another (least privilege, NIST SP 800-53 AC-6), and who is not named has
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from setpoint.errors import AccessError

Permission = Literal["score", "label", "train", "release", "approve", "audit", "admin"]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
LOOP = "setpoint"
"""The service that flow runs are, unless they are told to be another."""

Grants = Mapping[str, frozenset[Permission]]


@dataclass(frozen=True)
class Actor:
    """Who does something.

    Attributes:
        name: Whose permission is asked for.
        kind: ``person`` or ``service``.
        login: The user of the machine who says so; empty for a service.
    """

    name: str
    kind: Literal["person", "service"]
    login: str = ""

    @property
    def spoken_for(self) -> bool:
        """Whether another one says to be this person."""
        return self.kind == "person" and self.login not in ("", self.name)


@dataclass(frozen=True)
class Policy:
    """What everybody may do.

    Attributes:
        people: Permissions by login.
        services: Permissions by name.
        declared: Whether somebody wrote it down. If nobody did, everybody may do everything that
            is not ``reserved``.
        reserved: What nobody may do while nobody is named for it.
    """

    people: Grants = field(default_factory=dict)
    services: Grants = field(default_factory=dict)
    declared: bool = True
    reserved: frozenset[Permission] = frozenset()

    def of(self, actor: Actor) -> frozenset[Permission]:
        """What somebody named may do; nothing if not named."""
        grants = self.people if actor.kind == "person" else self.services
        return grants.get(actor.name, frozenset())


def undeclared(*, high_risk: bool) -> Policy:
    """What holds where no one is named: one user and their machine.

    Args:
        high_risk: Whether the model is of the high tier. Then nobody approves: an approval by
            somebody whom nobody named is none.
    """
    return Policy(declared=False, reserved=frozenset(("approve",)) if high_risk else frozenset())


def require(policy: Policy, actor: Actor, permission: Permission) -> None:
    """Ask whether somebody may do something.

    Who says to be another person needs ``admin`` besides: else a permission would be had by typing
    the name of one who has it. To approve in another's name, ``approve`` as well: ``admin`` does
    not contain it, and may not lend it from others.

    Args:
        policy: What everybody may do.
        actor: Who asks.
        permission: What it needs.

    Raises:
        AccessError: The permission is missing.
    """
    if not policy.declared:
        if permission in policy.reserved:
            raise _missing(policy, actor, permission, "nobody is named who has it")
        return
    own = policy.of(Actor(actor.login, "person", actor.login))
    needed = ("admin", "approve") if permission == "approve" else ("admin",)
    lacking = [one for one in needed if one not in own]
    if actor.spoken_for and lacking:
        raise AccessError(
            f"{actor.login} says to be {actor.name}, and has not the permission {lacking[0]}",
            where="access.people",
            fix=f"do it as the user {actor.name}, or name {actor.login} with "
            f"{' and '.join(lacking)} in the project file",
        )
    held = policy.of(actor)
    if permission not in held:
        has = ", ".join(sorted(held)) or "none"
        raise _missing(policy, actor, permission, f"it has {has}")


def _missing(policy: Policy, actor: Actor, permission: Permission, has: str) -> AccessError:
    part, grants = (
        ("people", policy.people) if actor.kind == "person" else ("services", policy.services)
    )
    others = ", ".join(sorted(name for name, held in grants.items() if permission in held))
    ask = f", or ask {others}" if others and actor.kind == "person" else ""
    return AccessError(
        f"the {actor.kind} {actor.name} has not the permission {permission}: {has}",
        where=f"access.{part}",
        fix=f"add {permission} to access.{part}.{actor.name} of the project file{ask}",
    )
