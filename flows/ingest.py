"""Take in new batches on a schedule."""

from __future__ import annotations

from prefect import flow

from setpoint.workspace import open_workspace
from tasks import data


@flow(name="ingest", persist_result=False)
def ingest() -> str:
    """Ingest, validate, snapshot. Returns the digest of the training data."""
    return data.take_in(open_workspace()).digest
