"""Scoring a table offline."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from setpoint.stages import score as stage
from setpoint.workspace import Workspace
from tasks import show


@task(name="score a table", cache_policy=NO_CACHE)
def score_table(
    workspace: Workspace, source: str, output: Path, version: str | None
) -> stage.Scoring:
    """Score every row; what got no score is counted and lies beside the output."""
    done = stage.score(workspace, source, output, version)
    show.text("scoring", f"## Scoring\n{done}")
    return done
