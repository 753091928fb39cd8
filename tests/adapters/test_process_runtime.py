from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.adapters.services import ServiceSpec, declare, declared, service_status, wait_ready
from setpoint.errors import PlatformError
from setpoint.ports import Endpoint
from tests.adapters.supervised import STUB, supervised, until


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[ProcessRuntime]:
    with supervised(tmp_path):
        yield ProcessRuntime(tmp_path, tmp_path / "live.db", STUB, ready_seconds=30)


def who_answers(endpoint: Endpoint) -> str:
    url = f"http://{endpoint.host}:{endpoint.port}/health/ready"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(json.load(answer)["version"])


def test_versions_run_side_by_side_each_on_its_own_port(runtime: ProcessRuntime) -> None:
    first = runtime.start("3", runtime.state / "b3")
    second = runtime.start("4", runtime.state / "b4")
    assert (who_answers(first), who_answers(second)) == ("3", "4")
    assert runtime.endpoints() == {"3": first, "4": second}


def test_the_scoring_service_gets_all_its_flags_and_one_openmp_thread(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path, tmp_path / "live.db", ready_seconds=0.1)
    with pytest.raises(PlatformError, match="no supervisor runs"):
        runtime.start("3", tmp_path / "b3")
    assert runtime.endpoints() == {}
    spec = runtime._spec("model-3", "3", tmp_path / "b3", "20007", "ab12")
    assert spec.argv[1:3] == ("-m", "setpoint.serving")
    assert dict(zip(spec.argv[3::2], spec.argv[4::2], strict=True)) == {
        "--bundle": str(tmp_path / "b3"),
        "--store": str(tmp_path / "live.db"),
        "--host": "127.0.0.1",
        "--port": "20007",
        "--version": "3",
        "--digest": "ab12",
    }
    assert spec.env == {"OMP_NUM_THREADS": "1"}


def test_a_version_comes_back_on_the_same_port_after_a_kill(runtime: ProcessRuntime) -> None:
    endpoint = runtime.start("3", runtime.state / "b3")
    pid = service_status(runtime.state, "model-3").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: service_status(runtime.state, "model-3").restarts == 1)
    assert runtime.start("3", runtime.state / "b3") == endpoint
    assert who_answers(endpoint) == "3"


def test_versions_are_known_to_another_process_and_outlive_the_supervisor(tmp_path: Path) -> None:
    with supervised(tmp_path):
        runtime = ProcessRuntime(tmp_path, tmp_path / "live.db", STUB)
        endpoint = runtime.start("3", tmp_path / "b3")
    with supervised(tmp_path):
        again = ProcessRuntime(tmp_path, tmp_path / "live.db", STUB)
        assert again.endpoints() == {"3": endpoint}
        assert again.start("3", tmp_path / "b3") == endpoint
        assert who_answers(endpoint) == "3"


def test_a_bundle_that_cannot_be_served_is_told_by_the_services_own_words(
    runtime: ProcessRuntime,
) -> None:
    with pytest.raises(PlatformError, match=r"model\.onnx is missing"):
        runtime.start("3", runtime.state / "broken")
    assert "model-3" not in declared(runtime.state)
    assert service_status(runtime.state, "model-3").pid is None


def test_services_that_are_no_models_are_no_endpoints(runtime: ProcessRuntime) -> None:
    declare(runtime.state, ServiceSpec("prefect-server", ("sleep", "600")))
    wait_ready(runtime.state, "prefect-server", 20)
    assert runtime.endpoints() == {}
