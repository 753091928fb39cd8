"""Flow runs as Prefect knows them."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound


def is_dead(run: str) -> bool:
    """Whether a flow run has ended, or never was."""
    with get_client(sync_client=True) as client:
        try:
            found = client.read_flow_run(UUID(run))
        except (ObjectNotFound, ValueError):  # ValueError: no id of a run at all
            return True
    return found.state is not None and found.state.is_final()
