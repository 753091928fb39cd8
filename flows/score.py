"""Score a table offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from setpoint.workspace import open_workspace
from tasks import scoring


@flow(name="score", persist_result=False)
def score(source: str, output: str, version: str | None = None) -> dict[str, Any]:
    """Score every row of a table into a Parquet file; see ``setpoint.stages.score``.

    Args:
        source: Parquet or CSV file, folder of them, Delta Lake table, or ``s3://`` address.
        output: The Parquet file to write.
        version: Model version; the champion if none.

    Returns:
        Version, digests and counts.
    """
    done = scoring.score_table(open_workspace(), source, Path(output), version)
    return {"version": done.version, "rows": done.rows, "refused": done.refused,
            "adverse": done.adverse, "output_digest": done.output_digest}  # fmt: skip
