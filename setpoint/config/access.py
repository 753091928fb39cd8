"""Who may do what, as the project file names them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from setpoint.config.fields import Fault, Section, refuse
from setpoint.domain.access import LOOP, Permission, Policy

Who = Annotated[str, Field(min_length=1, max_length=100)]


class Access(Section):
    """People and services with their permissions; who is not named has none."""

    people: dict[Who, tuple[Permission, ...]] = Field(
        min_length=1, description="By login of the machine on which the commands are given."
    )
    services: dict[Who, tuple[Permission, ...]] = Field(
        description="By name of the API key; the loop itself is setpoint."
    )

    @model_validator(mode="after")
    def _loop_is_named(self) -> Self:
        if LOOP not in self.services:
            rule = f"says what the loop itself may do: {LOOP}: [train, release], or [] for nothing"
            refuse("Access", [Fault(("services",), list(self.services), rule)])
        return self

    def policy(self) -> Policy:
        """What the domain gets of it."""
        people, services = (
            {name: frozenset(held) for name, held in grants.items()}
            for grants in (self.people, self.services)
        )
        return Policy(people, services)
