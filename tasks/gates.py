"""Gates before production."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from setpoint.documents import publish_documents
from setpoint.domain.findings import Verdict
from setpoint.stages import supply
from setpoint.stages.gates import pictures
from setpoint.stages.gates import run as gate
from setpoint.stages.publish import Candidate
from setpoint.stages.train import Training
from setpoint.workspace import Workspace
from tasks import show


@task(name="gates", cache_policy=NO_CACHE)
def run_gates(
    workspace: Workspace, candidate: Candidate, training: Training, cause: str
) -> Verdict:
    """All gates; verdict, pictures, documents and bills are kept whether it opens or not."""
    verdict = gate.run_gates(workspace, candidate, training, cause)
    gate.record_verdict(workspace, candidate, verdict, cause)
    _show_pictures(workspace, candidate, training, verdict)
    publish_documents(workspace, candidate.version)
    supply.keep_bills(workspace, candidate.version, datetime.now(UTC))
    show.verdict("gates", verdict, f"Gates for {candidate.version}")
    get_run_logger().info("gates for %s: %s", candidate.version, verdict.summary())
    return verdict


def _show_pictures(
    workspace: Workspace, candidate: Candidate, training: Training, verdict: Verdict
) -> None:
    with TemporaryDirectory() as folder:
        try:
            kept = pictures.keep_pictures(workspace, candidate, training, verdict, Path(folder))
        except Exception:  # of whatever draws: the verdict stands, and is not kept from its release
            get_run_logger().exception(
                "there are no pictures of the verdict on %s", candidate.version
            )
            return
        for png in kept:
            show.picture(f"gates-{png.stem}", png, f"{candidate.version}: {verdict.outcome}")
