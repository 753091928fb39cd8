"""The manifests of ``infra/kubernetes``: rendered, valid, and with no more rights than are used."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.adapters import kubernetes_api, kubernetes_router, kubernetes_runtime
from setpoint.adapters.kubernetes_manifests import (
    Cluster,
    object_name,
    project_labels,
    read_cluster,
    route,
    trusted_keys,
    version_objects,
)
from setpoint.errors import PlatformError
from setpoint.ports import TrafficPlan
from tests.infra.schemas import check

ROOT = Path(__file__).parents[2]
HOME = ROOT / "infra" / "kubernetes"
OVERLAYS = ["small", "production"]
WIDE = Cluster(
    namespace="setpoint",
    gateway="setpoint",
    gateway_url="http://gateway",
    replicas=2,
    max_replicas=6,
    decisions_secret="setpoint-decisions",
    keys_secret="setpoint-keys",
    pull_secret="registry",
)
PLAN = TrafficPlan("p2", {"v1": 75, "v2": 25, "v0": 0}, "v1", shadow="v3", offset=7)


def rendered(folder: Path) -> list[dict[str, Any]]:
    """What ``kubectl apply -k`` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: it renders the overlays")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(HOME / "overlays" / request.param)


def made() -> list[dict[str, Any]]:
    """What the adapters make of a version and of a plan, in two clusters."""
    narrow = WIDE.model_copy(update={"claim": "setpoint-live", "max_replicas": 1})
    versions = [
        item
        for cluster in (WIDE, narrow)
        for item in version_objects(cluster, "cards", "v1", "registry/cards:v1", "/b", "d" * 64)
    ]
    keys = trusted_keys(WIDE, "cards", "v1", {"a1b2.pem": "-----BEGIN PUBLIC KEY-----"})
    return [*versions, keys, route(WIDE, "cards", PLAN)]


def pods(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pod templates among objects."""
    return [item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment"]


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["kind"] for item in items]


def test_every_object_of_an_overlay_keeps_to_its_schema(objects: list[dict[str, Any]]) -> None:
    pytest.importorskip("kubernetes_validate", reason="holds Kubernetes' schemas")
    for item in objects:
        check(item)


def test_every_object_of_a_version_keeps_to_its_schema() -> None:
    pytest.importorskip("kubernetes_validate", reason="holds Kubernetes' schemas")
    for item in made():
        check(item)
    assert kinds(made()).count("HorizontalPodAutoscaler") == 1


def test_the_schemas_refuse_a_misspelt_field() -> None:
    pytest.importorskip("kubernetes_validate", reason="holds Kubernetes' schemas")
    deployment = made()[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    with pytest.raises(ValueError, match="readyProbe"):
        check(deployment)


def test_the_schema_of_routes_refuses_what_the_gateway_api_refuses() -> None:
    good = route(WIDE, "cards", PLAN)
    check(good)
    for place, value in (("weight", -1), ("weight", 2_000_000), ("wait", 1), ("port", 0)):
        bad = route(WIDE, "cards", PLAN)
        bad["spec"]["rules"][0]["backendRefs"][0][place] = value
        with pytest.raises(ValueError, match=r"backendRefs\[0\]"):
            check(bad)


def test_every_container_is_locked_down(objects: list[dict[str, Any]]) -> None:
    for pod in pods([*objects, *made()]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["terminationGracePeriodSeconds"] >= 30
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            locks = container["securityContext"]
            assert locks["allowPrivilegeEscalation"] is False, container["name"]
            assert locks["readOnlyRootFilesystem"] is True
            assert locks["capabilities"] == {"drop": ["ALL"]}
            for side in ("requests", "limits"):
                assert set(container["resources"][side]) == {"cpu", "memory"}


def test_every_server_is_probed_and_drains(objects: list[dict[str, Any]]) -> None:
    for pod in pods([*objects, *made()]):
        for container in pod["containers"]:
            if not container.get("ports"):
                continue  # answers nothing
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    scoring = pods(made())[0]["containers"][0]
    assert scoring["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert scoring["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert "sleep" in scoring["lifecycle"]["preStop"]["exec"]["command"][-1]


def test_secrets_and_settings_that_pods_name_are_told_or_there(
    objects: list[dict[str, Any]],
) -> None:
    page = (ROOT / "docs" / "scaled-out.md").read_text("utf-8")
    there = {(item["kind"], item["metadata"]["name"]) for item in objects}
    for pod in pods(objects):
        text = yaml.safe_dump(pod)
        for kind, field in (("Secret", "secretKeyRef"), ("Secret", "secretRef")):
            for found in re.findall(rf"{field}:\n(?:\s+\w+: .*\n)*?\s+name: (\S+)", text):
                assert (kind, found) in there or f"`{found}`" in page, found
        for volume in pod["volumes"]:
            name = volume.get("configMap", {}).get("name")
            assert not name or ("ConfigMap", name) in there or f"`{name}`" in page, name
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert not claim or ("PersistentVolumeClaim", claim) in there, claim
        account = pod["serviceAccountName"]
        assert ("ServiceAccount", account) in there


def test_no_credential_stands_in_a_manifest(objects: list[dict[str, Any]]) -> None:
    assert "Secret" not in kinds(objects)
    text = yaml.safe_dump_all(objects).lower()
    assert not re.search(r"\b(password|secret_key|token): +\S", text)


def test_images_are_named_by_version_and_of_no_registry(objects: list[dict[str, Any]]) -> None:
    files = [yaml.safe_dump(pod) for pod in pods(objects)]
    images = {image for text in files for image in re.findall(r"image: (\S+)", text)}
    assert images == {"setpoint/platform:0.1.0"}


def test_the_platform_has_the_rights_that_its_adapters_use_and_no_others() -> None:
    (role,) = [
        item
        for item in yaml.safe_load_all((HOME / "base" / "rbac.yaml").read_text("utf-8"))
        if item["kind"] == "Role"
    ]
    granted = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == used()
    assert not any("*" in part for pair in granted for part in pair)


def used() -> set[tuple[str, str]]:
    """Rights that the calls in the adapters' source need."""
    plural = {kind: name for kind, (_, name) in kubernetes_api._GROUPS.items()}
    sources = [Path(m.__file__ or "").read_text() for m in (kubernetes_router, kubernetes_runtime)]
    found = {
        (plural[kind], "list" if call == "select" else call)
        for text in sources
        for call, kind in re.findall(r'_api\.(get|select|delete)\(\s*"(\w+)"', text)
    }
    found |= {(plural[kind], "delete") for kind in kubernetes_runtime.OWNED}
    for item in made():  # apply: an update of what is there, a create of what is not
        # The answer to an apply is the object, which the server lets those read who may get it.
        found |= {(plural[item["kind"]], verb) for verb in ("create", "patch", "get")}
    return found


def test_policies_select_the_pods_of_every_version(objects: list[dict[str, Any]]) -> None:
    labels = made()[0]["spec"]["template"]["metadata"]["labels"]
    policies = {
        item["metadata"]["name"]: item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
    }
    assert policies["nobody"]["podSelector"] == {}
    assert set(policies["nobody"]["policyTypes"]) == {"Ingress", "Egress"}
    wanted = policies["scoring"]["podSelector"]["matchLabels"]
    assert wanted.items() <= labels.items()


def test_the_cluster_file_of_an_overlay_can_be_read(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    maps = {item["metadata"]["name"]: item for item in objects if item["kind"] == "ConfigMap"}
    file = tmp_path / "cluster.yaml"
    file.write_text(maps["setpoint-cluster"]["data"]["cluster.yaml"])
    cluster = read_cluster(file)
    gateways = [item["metadata"]["name"] for item in objects if item["kind"] == "Gateway"]
    assert gateways == [cluster.gateway]
    proxies = [item for item in objects if item["kind"] == "EnvoyProxy"]
    service = proxies[0]["spec"]["provider"]["kubernetes"]["envoyService"]["name"]
    assert cluster.gateway_url == f"http://{service}.envoy-gateway-system.svc"
    claims = [i["metadata"]["name"] for i in objects if i["kind"] == "PersistentVolumeClaim"]
    assert cluster.claim in claims


def test_a_cluster_file_with_an_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("namespace: a\ngateway: b\ngateway_url: http://c\nreplicsa: 3\n")
    with pytest.raises(PlatformError, match="replicsa") as caught:
        read_cluster(file)
    assert "max_replicas" in caught.value.fix
    with pytest.raises(PlatformError, match=r"none\.yaml"):
        read_cluster(tmp_path / "none.yaml")


def test_every_field_of_the_cluster_file_is_told_with_its_default() -> None:
    page = (ROOT / "docs" / "scaled-out.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    told = {
        name: default
        for names, defaults in rows.items()
        for name, default in zip(names.split(", "), defaults.split(", "), strict=True)
    }
    for name, field in Cluster.model_fields.items():
        default = "required" if field.is_required() else field.default
        wanted = f"{default:g}" if isinstance(default, float) else str(default) or "none"
        assert told[f"`{name}`"].strip("`") == wanted, name


def test_the_builder_adds_an_engine_and_says_what_it_costs(tmp_path: Path) -> None:
    near = Path("../" * len(tmp_path.parts[1:])) / str(HOME).lstrip("/")
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{near}/overlays/small]\ncomponents: [{near}/builder]\n"
    )
    items = rendered(tmp_path)
    (worker,) = [
        item["spec"]["template"]["spec"]
        for item in items
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "worker"
    ]
    engine = next(one for one in worker["initContainers"] if one["name"] == "engine")
    assert engine["securityContext"]["privileged"] and engine["restartPolicy"] == "Always"
    (space,) = [item for item in items if item["kind"] == "Namespace"]
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


@pytest.mark.parametrize(
    "version", ["9", "v3", "V3", "v_3", "v.3", "v-3", "x" * 70, "X" * 70, "v3-"]
)
def test_names_are_dns_labels_and_no_two_versions_share_one(version: str) -> None:
    name = object_name("credit_card", version)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) and len(name) <= 63
    others = {"9", "v3", "V3", "v_3", "v.3", "v-3", "x" * 70, "X" * 70, "v3-"} - {version}
    assert name not in {object_name("credit_card", other) for other in others}
    assert name != object_name("credit-card", version)
    for value in project_labels("credit_card-").values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", value)
