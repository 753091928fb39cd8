"""Refusals and failures as problem JSON (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec

from setpoint.errors import RequestError, StateError

PREFIX = "urn:setpoint:problem:"
"""What the ``type`` of every problem starts with; the rule follows."""
RETRY = "send the same request again in a second"


class Refusal(RequestError):
    """A request that is refused, with the rule it breaks (a fixed set, so it can be counted).

    Args:
        rule: Short name of the rule, e.g. ``range``.
        what: What is wrong, with field and value.
        field: The field; empty if it is no single one.
        fix: What is allowed.
        status: HTTP status, 400 to 499.
        extra: Further members of the problem.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        rule: str,
        what: str,
        *,
        field: str = "",
        fix: str = "",
        status: int = 422,
        extra: dict[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(what, where=field, fix=fix, status=status)
        self.rule = rule
        self.extra = extra or {}
        self.headers = headers


class Unavailable(StateError):
    """The service cannot answer now; the same request can be sent again.

    Args:
        what: What is wrong.
        fix: What the client can do.
        status: 503, or 500 for a fault of the service itself.
        rule: Short name, ``unavailable`` (nothing was recorded) or ``timeout`` (it may be).
    """

    extra: ClassVar[dict[str, Any]] = {}
    headers: ClassVar[Sequence[tuple[str, str]]] = (("retry-after", "1"),)

    def __init__(
        self, what: str, fix: str = RETRY, status: int = 503, rule: str = "unavailable"
    ) -> None:
        self.status = status
        self.rule = rule
        super().__init__(what, where="scoring service", fix=fix)


def problem(error: Refusal | Unavailable) -> bytes:
    """The body of the answer: ``{type, title, status, detail, field, fix, ...}``."""
    body = {
        "type": PREFIX + error.rule,
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.what,
        "field": error.where if isinstance(error, Refusal) else "",
        "fix": error.fix,
    }
    return msgspec.json.encode(body | error.extra)


def shown(value: Any) -> str:
    """A value as shown in a message: JSON, at most 80 characters."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
