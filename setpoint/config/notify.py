"""Who is told of incidents, where, and when somebody else is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from setpoint.config.fields import Fault, Name, PositiveDuration, Section, refuse
from setpoint.domain.escalation import Rule

_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_BLOCK = r"^[a-z0-9-]+/[a-z0-9-]+$"
_FORMS = {
    "url_from": (_VARIABLE, "is the name of an environment variable, e.g. ONCALL_URL"),
    "block": (_BLOCK, "is a type and a name, e.g. slack-webhook/oncall"),
}


class Channel(Section):
    """Where somebody is told. The address holds a secret, so it is never in this file."""

    url_from: str | None = Field(
        None,
        description="Environment variable that holds an Apprise URL.",
        json_schema_extra={"anyOf": [{"type": "string", "pattern": _VARIABLE}, {"type": "null"}]},
    )
    block: str | None = Field(
        None,
        description="Notification block of Prefect, TYPE/NAME.",
        json_schema_extra={"anyOf": [{"type": "string", "pattern": _BLOCK}, {"type": "null"}]},
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        refuse("Channel", list(self._faults()))
        return self

    def _faults(self) -> Iterator[Fault]:
        if (self.url_from is None) == (self.block is None):
            yield Fault((), None, "a channel has either url_from or block")
        for name, (form, rule) in _FORMS.items():
            value = getattr(self, name)
            if value is not None and not re.match(form, value):
                yield Fault((name,), None, f"{rule}; never the address itself: it holds a secret")


class Notify(Section):
    """Who is told of incidents, and who is if nobody acknowledges one."""

    channels: dict[Name, Channel] = Field({}, description="Where people are told, by name.")
    levels: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = Field(
        (), description="Channels of each level of escalation, lowest first; none: all in one."
    )
    escalate_after: PositiveDuration = Field(
        timedelta(hours=4), description="Wall time without acknowledgement before the next level."
    )
    on: tuple[Literal["opened", "needs_person", "resolved"], ...] = Field(
        ("opened", "needs_person", "resolved"), description="What is told."
    )

    @model_validator(mode="after")
    def _references(self) -> Self:
        refuse("Notify", list(self._faults()))
        return self

    def _faults(self) -> Iterator[Fault]:
        named = {name for level in self.levels for name in level}
        known = ", ".join(self.channels) or "none"
        for i, level in enumerate(self.levels):
            for j, name in enumerate(level):
                if name not in self.channels:
                    rule = f"is not in notify.channels; there are: {known}"
                    yield Fault(("levels", i, j), name, rule)
        if self.levels:
            for name in (one for one in self.channels if one not in named):
                yield Fault(("channels", name), None, "is in none of notify.levels")
        if "opened" not in self.on and "needs_person" not in self.on:
            rule = "has opened or needs_person: the end of what nobody was told of says nothing"
            yield Fault(("on",), list(self.on), rule)

    def rule(self) -> Rule:
        """What the domain gets of it."""
        one = (tuple(self.channels),) if self.channels else ()
        return Rule(self.levels or one, self.escalate_after, frozenset(self.on))
