"""Versions as Deployments, against the stand-in of ``cluster.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.adapters.kubernetes_runtime import is_ready
from setpoint.errors import PlatformError
from setpoint.ports import Endpoint
from tests.adapters.cluster import StandIn, cluster, signed_name


@pytest.fixture
def found() -> Iterator[StandIn]:
    with cluster(replicas=2, max_replicas=4) as stand_in:
        yield stand_in


def names(found: StandIn) -> set[str]:
    """Plural and name of what is there."""
    return {"/".join(path.split("/")[-2:]) for path in found.server.objects}


def test_a_version_is_four_objects_and_none_when_it_is_stopped(
    found: StandIn, tmp_path: Path
) -> None:
    where = found.runtime.start("v1", tmp_path / "b", "d" * 64)
    assert where == Endpoint("small-v1.setpoint.svc", 8080)
    assert names(found) == {
        "deployments/small-v1",
        "services/small-v1",
        "poddisruptionbudgets/small-v1",
        "horizontalpodautoscalers/small-v1",
    }
    found.runtime.stop("v1")
    assert names(found) == set()


def test_a_pod_runs_the_image_of_its_version_and_refuses_another_bundle(
    found: StandIn, tmp_path: Path
) -> None:
    found.runtime.start("v1", tmp_path / "b", "d" * 64)
    path = next(p for p in found.server.objects if p.endswith("deployments/small-v1"))
    (container,) = found.server.objects[path]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == signed_name("v1")
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment == {
        "SETPOINT_MODEL_VERSION": "v1",
        "SETPOINT_BUNDLE_DIGEST": "d" * 64,
    }


def test_a_version_without_a_signed_image_is_not_sent(found: StandIn, tmp_path: Path) -> None:
    def refuse(version: str) -> str:
        raise PlatformError(f"{version} has no signed image", where="here", fix="sign it")

    found.runtime._images = refuse
    with pytest.raises(PlatformError, match="v1 has no signed image"):
        found.runtime.start("v1", tmp_path / "b")
    assert names(found) == set()


def test_a_version_whose_image_was_changed_in_the_cluster_is_named(
    found: StandIn, tmp_path: Path
) -> None:
    first = found.runtime.start("v1", tmp_path / "b")
    path = next(p for p in found.server.objects if p.endswith("deployments/small-v1"))
    (container,) = found.server.objects[path]["spec"]["template"]["spec"]["containers"]
    container["image"] = signed_name("another")
    with pytest.raises(PlatformError, match="was signed") as caught:
        found.runtime.start("v1", tmp_path / "b")
    assert signed_name("another") in caught.value.what and signed_name("v1") in caught.value.what
    container["image"] = "registry.example.org/small:v1"  # by its tag, as before signatures
    assert found.runtime.start("v1", tmp_path / "b") == first


def test_a_bundle_is_known_by_its_digest_wherever_it_lies(found: StandIn, tmp_path: Path) -> None:
    first = found.runtime.start("v1", tmp_path / "here", "d" * 64)
    assert found.runtime.start("v1", tmp_path / "there", "d" * 64) == first
    with pytest.raises(PlatformError, match=r"runs already from d+, not from e+"):
        found.runtime.start("v1", tmp_path / "here", "e" * 64)


def test_replicas_that_an_autoscaler_set_are_not_put_back(found: StandIn, tmp_path: Path) -> None:
    found.runtime.start("v1", tmp_path / "b")
    path = next(p for p in found.server.objects if p.endswith("deployments/small-v1"))
    found.server.objects[path]["spec"]["replicas"] = 4
    found.runtime.start("v1", tmp_path / "b")
    assert found.server.objects[path]["spec"]["replicas"] == 4


def test_what_cannot_be_written_leaves_nothing_of_the_version(
    found: StandIn, tmp_path: Path
) -> None:
    found.server.deny.add("poddisruptionbudgets")
    with pytest.raises(PlatformError, match="403"):
        found.runtime.start("v1", tmp_path / "b")
    assert names(found) == set()


def test_a_version_of_another_project_is_not_seen(found: StandIn, tmp_path: Path) -> None:
    found.runtime.start("v1", tmp_path / "b")
    path = next(p for p in found.server.objects if p.endswith("deployments/small-v1"))
    found.server.objects[path]["metadata"]["labels"]["app.kubernetes.io/part-of"] = "other-all"
    assert found.runtime.endpoints() == {}


@pytest.mark.parametrize(
    ("generation", "seen", "replicas", "ready", "is_so"),
    [
        (1, 1, 2, 2, True),
        (1, 1, 2, 1, False),
        (2, 1, 2, 2, False),
        (1, 1, 0, 0, False),
        (1, 0, 1, 0, False),
    ],
)
def test_ready_is_all_pods_of_the_newest_state_and_at_least_one(
    generation: int, seen: int, replicas: int, ready: int, is_so: bool
) -> None:
    deployment = {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": seen, "readyReplicas": ready},
    }
    assert is_ready(deployment) is is_so
    assert not is_ready(None)
