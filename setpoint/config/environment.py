"""The environment variables of Setpoint, read here and nowhere else."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from pydantic import Field

from setpoint.config.fields import Section
from setpoint.domain.access import LOOP


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
        decisions: PostgreSQL that takes the decisions, with its password; empty for the
            embedded SQLite (``SETPOINT_DECISIONS``).
        key_file: File of the API keys that model versions ask for (``SETPOINT_KEYS``).
        api_key: The key that the platform itself sends them (``SETPOINT_API_KEY``).
        cluster: File that says which Kubernetes cluster runs the versions; none: this machine
            does (``SETPOINT_CLUSTER``).
        person: Who gives the commands, if not the user of the machine (``SETPOINT_PERSON``).
        service: Which service flow runs are (``SETPOINT_SERVICE``).
        signing_keys: Folder of the keys that sign, if not ``keys`` in the state folder
            (``SETPOINT_SIGNING_KEYS``).
        seals: Folder of the ledger's seals, if not ``seals`` in the state folder
            (``SETPOINT_SEALS``).
    """

    root: Path = Path(".setpoint")
    project_file: Path = Path("setpoint.yaml")
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: str = Field("", repr=False)
    tracking_uri: str = ""
    data_root: Path | None = None
    decisions: str = Field("", repr=False)
    key_file: Path | None = None
    api_key: str = Field("", repr=False)
    cluster: Path | None = None
    person: str = ""
    service: str = LOOP
    signing_keys: Path | None = None
    seals: Path | None = None


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
        decisions=env.get("SETPOINT_DECISIONS", ""),
        key_file=Path(env["SETPOINT_KEYS"]) if env.get("SETPOINT_KEYS") else None,
        api_key=env.get("SETPOINT_API_KEY", ""),
        cluster=Path(env["SETPOINT_CLUSTER"]) if env.get("SETPOINT_CLUSTER") else None,
        person=env.get("SETPOINT_PERSON", "").strip(),
        service=env.get("SETPOINT_SERVICE", "").strip() or LOOP,
        signing_keys=_folder(env.get("SETPOINT_SIGNING_KEYS")),
        seals=_folder(env.get("SETPOINT_SEALS")),
    )


def _folder(text: str | None) -> Path | None:
    return Path(text) if text else None


MACHINE = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
"""Variables of the machine that a clean process keeps."""
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def clean_variables(environment: Environment) -> dict[str, str]:
    """Variables of a process that starts anew: the machine's, one thread, and these settings.

    Nothing else is handed on, so that what it computes depends on nothing else.
    """
    kept = {name: os.environ[name] for name in MACHINE if name in os.environ}
    keys = environment.signing_keys
    settings = {
        "SETPOINT_DATA": str(environment.data_root.absolute()) if environment.data_root else "",
        "SETPOINT_DECISIONS": environment.decisions,
        "SETPOINT_SIGNING_KEYS": str(keys.absolute()) if keys else "",
        "AWS_ENDPOINT_URL": environment.s3_endpoint,
        "AWS_REGION": environment.s3_region,
        "AWS_ACCESS_KEY_ID": environment.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": environment.s3_secret_key,
    }
    return kept | SINGLE | {name: value for name, value in settings.items() if value}


def read_address(variable: str) -> str:
    """The address that a variable named by the project file holds; empty if it is not set.

    It holds a secret: it is handed to what sends and kept nowhere.
    """
    return os.environ.get(variable, "").strip()


def read_login() -> str:
    """The user of this process, as the machine knows them: by user id, and by no variable."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not be in its password file
        return f"uid-{os.getuid()}"
