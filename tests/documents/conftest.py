"""A small project whose first version was trained, judged and recorded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from setpoint.documents.record import Record, read_record
from setpoint.domain.outcome import Verdict
from setpoint.stages.gates.pictures import keep_pictures
from setpoint.stages.gates.run import record_verdict, run_gates
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.train import assemble, fit
from setpoint.workspace import StreamClock, Workspace
from tests.stages.small import APART, T0, deliver, make_frame, make_workspace

HOSTILE = "Loans | to <script>alert(1)</script> `people` & [more](http://x)"
"""Words that are no markup wherever they stand."""
TEXT = (
    APART
    + f"""documents:
  use: fraud_detection
  intended_use: "{HOSTILE}"
  caveats: "# no heading"
"""
)


@dataclass(frozen=True)
class Made:
    """What the documents are about."""

    workspace: Workspace
    candidate: Candidate
    verdict: Verdict

    @property
    def record(self) -> Record:
        """The record of its version."""
        return read_record(self.workspace, self.candidate.version)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    # Once for the folder: tracking database and training cost seconds. Nothing changes it.
    workspace = make_workspace(tmp_path_factory.mktemp("documented"), TEXT)
    frame = make_frame()
    labels = frame[["id", "bad"]].assign(known_at=frame["at"])
    deliver(workspace, "1.parquet", frame.drop(columns="bad"))
    deliver(workspace, "1.parquet", labels, "labels")
    StreamClock(workspace.state).advance(T0)
    workspace.set_platform({"clock": "stream", "project_file": str(workspace.project_file)})
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    verdict = run_gates(workspace, candidate, training, "first")
    record_verdict(workspace, candidate, verdict, "first")
    folder = tmp_path_factory.mktemp("pictures")
    keep_pictures(workspace, candidate, training, verdict, folder)
    return Made(workspace, candidate, verdict)
