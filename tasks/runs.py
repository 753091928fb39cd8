"""Flow runs as Prefect knows them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound


def is_dead(run: str) -> bool:
    """Whether a flow run has ended, or never was."""
    found, state = _state(run)
    return not found or (state is not None and state.is_final())


def was_killed(run: str) -> bool:
    """As ``is_dead``, but not one that was cancelled: that was a person's will."""
    state = _state(run)[1]
    return is_dead(run) and not (state is not None and state.is_cancelled())


def _state(run: str) -> tuple[bool, State[Any] | None]:
    """Whether there is such a flow run, and its state."""
    with get_client(sync_client=True) as client:
        try:
            return True, client.read_flow_run(UUID(run)).state
        except (ObjectNotFound, ValueError):  # ValueError: no id of a run at all
            return False, None
