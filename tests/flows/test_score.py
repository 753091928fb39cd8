"""Scoring a table as a flow."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from setpoint.workspace import open_workspace
from tests.stages.small import make_frame


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_scores_a_table_and_says_how_many(project: Path, tmp_path: Path) -> None:
    from flows.score import score

    workspace = open_workspace()
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    table = make_frame(50, 1, 5000)
    table.loc[0, "x"] = 99.0
    table.to_parquet(tmp_path / "in.parquet")
    output = tmp_path / "out.parquet"
    told = score(str(tmp_path / "in.parquet"), str(output), made.version)
    assert (told["rows"], told["refused"], told["version"]) == (50, 1, made.version)
    assert pq.read_table(output).num_rows == 49
    assert workspace.state.ledger()[-1].kind == "scored"
