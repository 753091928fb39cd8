"""Versions as Deployments, against the stand-in of ``cluster.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from setpoint.adapters.kubernetes_runtime import is_ready
from setpoint.adapters.signing import TRUSTED, Keys, Trusted
from setpoint.errors import BundleError, PlatformError
from setpoint.ports import Endpoint
from setpoint.serving import __main__ as service
from setpoint.serving import server
from tests.adapters.cluster import StandIn, cluster, signed_name
from tests.serving.test_bundle_format import write


@pytest.fixture
def found() -> Iterator[StandIn]:
    with cluster(replicas=2, max_replicas=4) as stand_in:
        yield stand_in


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
def trusting(keys: Keys) -> Iterator[StandIn]:
    with cluster(trusted=keys.folder / TRUSTED) as stand_in:
        yield stand_in


def mounted(found: StandIn, folder: Path) -> Path:
    """The keys of ``v1`` as a node lays them out: links into a folder that is replaced whole."""
    path = next(p for p in found.server.objects if p.endswith("configmaps/small-v1"))
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    for name, text in found.server.objects[path].get("data", {}).items():
        (folder / "..2026" / name).write_text(text, "ascii")
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def names(found: StandIn) -> set[str]:
    """Plural and name of what is there."""
    return {"/".join(path.split("/")[-2:]) for path in found.server.objects}


def test_a_version_is_five_objects_and_none_when_it_is_stopped(
    found: StandIn, tmp_path: Path
) -> None:
    where = found.runtime.start("v1", tmp_path / "b", "d" * 64)
    assert where == Endpoint("small-v1.setpoint.svc", 8080)
    assert names(found) == {
        "configmaps/small-v1",
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
        "SETPOINT_TRUSTED": "/etc/setpoint/trusted",
    }


def test_a_pod_has_the_trusted_keys_where_the_service_looks_for_them_and_cannot_write_them(
    trusting: StandIn, keys: Keys, tmp_path: Path
) -> None:
    keys.make()
    trusting.runtime.start("v1", tmp_path / "b")
    path = next(p for p in trusting.server.objects if p.endswith("deployments/small-v1"))
    pod = trusting.server.objects[path]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "trusted"]
    assert environment[service.TRUSTED] == mount["mountPath"] and mount["readOnly"] is True
    (volume,) = [one for one in pod["volumes"] if one["name"] == "trusted"]
    assert volume["configMap"]["name"] == "small-v1"
    text = json.dumps(trusting.server.objects)
    assert "PUBLIC KEY" in text and "PRIVATE" not in text


def test_a_service_in_a_pod_takes_the_bundle_of_a_trusted_key_and_no_other(
    trusting: StandIn, keys: Keys, tmp_path: Path
) -> None:
    key, stranger = keys.make(), Keys(tmp_path / "stranger")
    other = stranger.make()
    trusting.runtime.start("v1", tmp_path / "b")
    folder = mounted(trusting, tmp_path / "mount")
    write(tmp_path / "ours", sign=lambda said: keys.sign(key, said))
    write(tmp_path / "theirs", sign=lambda said: stranger.sign(other, said))
    load = partial(server.Settings, store=tmp_path / "s", host="", port=1, trusted=folder)
    assert server._read(load(bundle=tmp_path / "ours")).signature is not None
    with pytest.raises(BundleError, match="is not trusted here"):
        server._read(load(bundle=tmp_path / "theirs"))


def test_a_key_that_was_revoked_is_gone_from_the_pods_with_the_next_step(
    trusting: StandIn, keys: Keys, tmp_path: Path
) -> None:
    old, new = keys.make(), keys.make()
    trusting.runtime.start("v1", tmp_path / "b")
    keys.revoke(old)
    trusting.runtime.start("v1", tmp_path / "b")
    assert Trusted(mounted(trusting, tmp_path / "mount")).ids() == [new]


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
