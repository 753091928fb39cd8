"""Apply ``prefect.yaml`` to the server that the environment names: pool, deployments, triggers.

Run as ``python -m deployments.apply``; applying it again changes nothing. With ``--fresh``, said
when nothing of the platform was running before, runs of its earlier life are brought to an end
first: nobody walks them any more, and each would hold its deployment's slot for ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

CODE = Path(__file__).resolve().parents[1]
POOL = "setpoint"
GONE = "The platform ended while this run was on its way."


def main() -> int:
    """Create the work pool and deploy everything."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(
        name=POOL,
        type="process",
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=4,
    )
    with get_client(sync_client=True) as client:
        if "--fresh" in sys.argv[1:]:
            end_leftovers(client)
        with suppress(ObjectAlreadyExists):  # applying again is allowed
            client.create_work_pool(pool)
    train = os.environ.get("SETPOINT_TRAIN_SECONDS")
    file = scheduled(
        Path(os.environ["SETPOINT_ROOT"]),
        float(os.environ["SETPOINT_WATCH_SECONDS"]),
        float(train) if train else None,
    )
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(file)]
    return subprocess.run(command, cwd=CODE, check=False).returncode


def end_leftovers(client: Any) -> None:
    """Mark runs crashed that nobody walks any more, and drop what was scheduled for the past."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    for run in _runs(client, StateType.RUNNING, StateType.PENDING, StateType.CANCELLING):
        client.set_flow_run_state(run.id, Crashed(message=GONE), force=True)
    for run in _runs(client, StateType.SCHEDULED):
        due = run.next_scheduled_start_time
        if run.auto_scheduled and due is not None and due < datetime.now(UTC):
            client.delete_flow_run(run.id)


def _runs(client: Any, *types: Any) -> list[FlowRun]:
    """All flow runs in states of these types; a page is 200 at most."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )

    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=len(found)):
        found += page
    return found


def scheduled(root: Path, watch_seconds: float, train_seconds: float | None = None) -> Path:
    """``prefect.yaml`` with the project's own schedules: Prefect takes no template there.

    Args:
        root: Where it is written.
        watch_seconds: Between looks.
        train_seconds: Between trainings; none: training has no schedule.
    """
    content = yaml.safe_load((CODE / "prefect.yaml").read_text("utf-8"))
    for deployment in content["deployments"]:
        if deployment["name"] == "watch":
            deployment["schedules"][0]["interval"] = watch_seconds
        if deployment["name"] == "deliver":
            # Prefect keeps one that is left out: what is no longer wanted is switched off.
            schedule = deployment["schedules"][0]
            schedule["active"] = train_seconds is not None
            schedule["interval"] = train_seconds or schedule["interval"]
    file = root / "prefect.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return file


if __name__ == "__main__":
    sys.exit(main())
