"""The environment variables of Setpoint, read here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from setpoint.config.fields import Section


class Environment(Section):
    """What is read from the environment.

    Attributes:
        root: State folder of the platform (``SETPOINT_ROOT``).
        project_file: The project file (``SETPOINT_PROJECT``).
        s3_endpoint, s3_region, s3_access_key, s3_secret_key: For ``s3://`` addresses, from the
            variables every S3 client reads (``AWS_*``).
        data_root: Folder in which relative data addresses start, if not the project file's
            (``SETPOINT_DATA``).
        tracking_uri: MLflow; empty for the embedded SQLite (``MLFLOW_TRACKING_URI``).
    """

    root: Path = Path(".setpoint")
    project_file: Path = Path("setpoint.yaml")
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: str = Field("", repr=False)
    tracking_uri: str = ""
    data_root: Path | None = None


def read_environment() -> Environment:
    """The environment as it is now; the only place that reads it."""
    env = os.environ
    return Environment(
        root=Path(env.get("SETPOINT_ROOT", ".setpoint")),
        project_file=Path(env.get("SETPOINT_PROJECT", "setpoint.yaml")),
        s3_endpoint=env.get("AWS_ENDPOINT_URL", ""),
        s3_region=env.get("AWS_REGION", "us-east-1"),
        s3_access_key=env.get("AWS_ACCESS_KEY_ID", ""),
        s3_secret_key=env.get("AWS_SECRET_ACCESS_KEY", ""),
        tracking_uri=env.get("MLFLOW_TRACKING_URI", ""),
        data_root=Path(env["SETPOINT_DATA"]) if env.get("SETPOINT_DATA") else None,
    )
