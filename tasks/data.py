"""Ingest, validate, snapshot."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from setpoint.errors import ValidationFailed
from setpoint.stages import ingest as stage
from setpoint.workspace import Workspace
from tasks import show


@task(name="ingest, validate, snapshot", cache_policy=NO_CACHE)
def take_in(workspace: Workspace) -> stage.Ingested:
    """Take in new batches; a batch that breaks its schema stops the run.

    Raises:
        ValidationFailed: A batch was quarantined; the message is kept as an artifact.
    """
    try:
        done = stage.ingest(workspace)
    except ValidationFailed as err:
        show.text("quarantined-batch", f"## Batch refused\n```\n{err}\n```")
        raise
    new = "\n".join(f"- {name}" for name in done.batches) or "- none"
    show.text(
        "snapshot",
        f"## Snapshot `{done.digest[:16]}`\n{done.rows:,} events, Delta versions "
        f"{done.events_version} (events) and {done.labels_version} (labels).\n\n"
        f"New batches:\n{new}\n\n{done.labels_waiting} labels wait for their event; files passed "
        f"over as refused: {', '.join(done.refused) or 'none'}.",
    )
    return done
