"""Bring what the scoring services refused for its key into the ledger, summed up."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from setpoint.adapters.scoring_metrics import read_denied
from setpoint.adapters.sqlite_state import Line
from setpoint.domain.refusals import Tally, tally_of
from setpoint.errors import PlatformError
from setpoint.workspace import Workspace

REFUSED = "requests_refused"
"""Kind of the ledger entry."""
_TALLY = "denied"
"""Name of the fact that holds what was counted."""


def tell(workspace: Workspace, now: datetime) -> bool:
    """Add up what each running service refused, and tell the ledger at most once an hour.

    A service that does not answer is read the next time; what one refused after it was last read
    is lost with its process.

    Args:
        workspace: The project.
        now: Event time.

    Returns:
        Whether there is an entry.
    """
    found = []
    for version, endpoint in sorted(workspace.runtime.endpoints().items()):
        with suppress(PlatformError):  # releases and watches say what is wrong with it
            found.append((version, *read_denied(endpoint)))

    if workspace.state.recall(_TALLY) is None and not any(counts for *_, counts in found):
        return False
    tally = Tally()

    def change(kept: str | None) -> str:
        nonlocal tally
        tally = tally_of(kept)
        for version, started, counts in found:
            tally = tally.read(f"{version}@{started:.3f}", counts, now)
        return (tally.emptied(now) if tally.due(now) else tally).text()

    def entry() -> Line | None:
        subject = f"{workspace.project.name}/scoring"
        return (now, REFUSED, subject, tally.evidence(now)) if tally.due(now) else None

    workspace.state.amend(_TALLY, change, entry)
    return tally.due(now)
