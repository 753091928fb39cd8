"""Apply ``prefect.yaml`` to the server that the environment names: pool, deployments, triggers.

Run as ``python -m deployments.apply``; applying it again changes nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
POOL = "setpoint"


def main() -> int:
    """Create the work pool and deploy everything."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(
                WorkPoolCreate(
                    name=POOL,
                    type="process",
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                    concurrency_limit=4,
                )
            )
        except ObjectAlreadyExists:
            pass  # applying again is allowed
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(CODE / "prefect.yaml")]
    return subprocess.run(command, cwd=CODE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
