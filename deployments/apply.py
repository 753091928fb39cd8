"""Apply ``prefect.yaml`` to the server that the environment names: pool, deployments, triggers.

Run as ``python -m deployments.apply``; applying it again changes nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import yaml

CODE = Path(__file__).resolve().parents[1]
POOL = "setpoint"


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
    # Applying again is allowed.
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(pool)
    file = scheduled(Path(os.environ["SETPOINT_ROOT"]), float(os.environ["SETPOINT_WATCH_SECONDS"]))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(file)]
    return subprocess.run(command, cwd=CODE, check=False).returncode


def scheduled(root: Path, watch_seconds: float) -> Path:
    """``prefect.yaml`` with the project's own watch schedule: Prefect takes no template there."""
    content = yaml.safe_load((CODE / "prefect.yaml").read_text("utf-8"))
    for deployment in content["deployments"]:
        if deployment["name"] == "watch":
            deployment["schedules"][0]["interval"] = watch_seconds
    file = root / "prefect.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return file


if __name__ == "__main__":
    sys.exit(main())
