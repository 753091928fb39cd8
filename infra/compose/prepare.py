"""What must be there before the first run on one host; doing it again changes nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import boto3
from botocore.exceptions import ClientError

from setpoint.adapters.envoy import EnvoyRouter
from setpoint.workspace import open_workspace

PORTS = {"gateway": 8080, "admin": 9901, "prefect": 4200, "mlflow": 5000}
BUCKETS = ("mlflow", "snapshots")


def main() -> int:
    """Make the buckets, the gateway's start file and the deployments."""
    workspace = open_workspace()
    if not workspace.platform():
        workspace.set_platform(
            {
                "ports": PORTS,
                "clock": "wall",
                "project_file": str(workspace.project_file),
                "started_at": datetime.now(UTC).isoformat(),
            }
        )
    # Reached from outside its network, unlike the embedded one.
    EnvoyRouter(workspace.root, PORTS["gateway"], PORTS["admin"], host="0.0.0.0").service_spec()
    if workspace.environment.s3_endpoint:
        make_buckets()
    workspace.champion()  # makes MLflow's tables too: two runs at once cannot
    return subprocess.run([sys.executable, "-m", "deployments.apply"], check=False).returncode


def make_buckets() -> None:
    """Make the buckets that are not there yet."""
    client = boto3.client("s3")
    for name in BUCKETS:
        try:
            client.create_bucket(Bucket=name)
        except ClientError as err:
            known = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
            if err.response["Error"]["Code"] not in known:
                raise


if __name__ == "__main__":
    sys.exit(main())
