"""The scoring image, on a real engine: what is in it, how it runs, how its making fails.

Tests marked ``docker`` start an engine of their own (about a minute for all of them) and are
skipped with the reason where none can be started.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

import setpoint
from setpoint.adapters.docker_context import (
    assemble_context,
    default_recipes,
    download_wheels,
)
from setpoint.adapters.docker_images import BuiltImage, DockerImages, build_lines
from setpoint.adapters.docker_probe import WARM_REQUESTS
from setpoint.adapters.processes import free_port
from setpoint.domain.bundle import read_bundle
from setpoint.errors import BundleError, PlatformError
from tests import docker_engine
from tests.serving.tiny import make_bundle, row

NOWHERE = "unix:///nowhere/docker.sock"
ROW = row(1, amount=950.0, country="CH")
LOCK = default_recipes() / "locks" / "serving.txt"
IMPORT_WITH_ONLY = """
import sys
class Absent:
    known = {*sys.argv[1:], *sys.stdlib_module_names, "setpoint"}
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] not in self.known:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
sys.meta_path.insert(0, Absent())
import setpoint.serving.__main__
"""
"""Imports the service where only the modules given are installed, as in the image."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("trained") / "tiny", "1")


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "bundle"))


# Without an engine


def test_where_no_engine_answers_there_is_a_reason_and_no_exception() -> None:
    images = DockerImages(NOWHERE)
    assert images.available() is None
    assert NOWHERE in images.reason


def test_a_build_without_an_engine_names_what_to_do(bundle: Path) -> None:
    with pytest.raises(PlatformError, match="no Docker engine answers") as caught:
        DockerImages(NOWHERE).build(bundle, "1", "tiny:1")
    assert "processes" in caught.value.fix


def test_the_context_holds_what_the_service_imports_and_nothing_else(
    bundle: Path, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    manifest = assemble_context(context, bundle, default_recipes())
    app = context / "app" / "setpoint"
    modules = {str(path.relative_to(app)) for path in app.rglob("*") if path.is_file()}
    service = Path(setpoint.__file__).parent / "serving"
    assert {f"serving/{path.name}" for path in service.glob("*.py")} <= modules
    assert {"errors.py", "domain/bundle.py"} <= modules
    assert not {"cli.py", "adapters/docker_images.py"} & modules
    assert not any(name.startswith("config/") for name in modules)
    assert manifest.digest == read_bundle(context / "bundle").digest
    top = {path.name for path in context.iterdir()}
    assert top == {"Dockerfile", "app", "bundle", "requirements.txt", "state", "wheelhouse"}


def test_the_service_imports_nothing_that_its_lock_does_not_install() -> None:
    requirements = re.findall(r"^([\w-]+)==", LOCK.read_text(), re.MULTILINE)
    modules = {name.replace("-", "_") for name in requirements} - {"protobuf"} | {"google"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_ONLY, *sorted(modules)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_service_s_own_user_can_read_the_context(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").chmod(0o600)
    bundle.chmod(0o700)
    assemble_context(tmp_path / "context", bundle, default_recipes())
    for path in (tmp_path / "context").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_an_altered_bundle_is_not_packed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        assemble_context(tmp_path / "context", bundle, default_recipes())


def test_an_empty_wheelhouse_is_refused_rather_than_replaced_by_the_index(
    bundle: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with pytest.raises(PlatformError, match="holds no wheels"):
        assemble_context(tmp_path / "context", bundle, default_recipes(), wheels)


def test_build_lines_keep_what_a_step_wrote_and_drop_the_engine_s_notes() -> None:
    log = [
        {"stream": "Step 1/2 : RUN x\n"},
        {"stream": " ---> Using cache\n"},
        {"stream": "\x1b[91mERROR: no\x1b[0m"},
        {"stream": "\n    Expected     or abc\n"},
        {"error": "The command '/bin/sh -c set -e;\n x' returned a non-zero code: 1"},
    ]
    assert build_lines(log) == [
        "Step 1/2 : RUN x",
        "ERROR: no",
        "The command returned a non-zero code: 1",
    ]


# On a private engine


@pytest.fixture(scope="module")
def base(engine: str) -> str:
    return docker_engine.import_base(engine)


@pytest.fixture(scope="module")
def wheelhouse(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return download_wheels(tmp_path_factory.mktemp("wheels"), default_recipes())
    except PlatformError as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def images(engine: str) -> DockerImages:
    return DockerImages(engine, network="host")


@pytest.fixture(scope="module")
def built(images: DockerImages, base: str, wheelhouse: Path, trained: Path) -> BuiltImage:
    return images.build(trained, "1", "setpoint-test/tiny:1", base, wheelhouse=wheelhouse)


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[Any]:
    client = docker.DockerClient(base_url=engine)
    yield client
    client.close()


@pytest.mark.docker
def test_an_engine_that_answers_is_named(images: DockerImages) -> None:
    info = images.available()
    assert info is not None and info.platform.startswith("linux/")
    assert images.reason == ""


@pytest.mark.docker
def test_labels_say_which_bundle_data_code_and_base_are_inside(
    built: BuiltImage, bundle: Path
) -> None:
    assert built.labels["io.setpoint.bundle.digest"] == f"sha256:{read_bundle(bundle).digest}"
    assert built.labels["io.setpoint.snapshot.digest"] == "a" * 64
    assert built.labels["org.opencontainers.image.revision"] == "b" * 40
    assert built.labels["org.opencontainers.image.created"] == "2024-05-01T00:00:00+00:00"
    assert built.labels["org.opencontainers.image.base.digest"].startswith("sha256:")


@pytest.mark.docker
def test_the_image_runs_as_a_numbered_user_and_its_environment_is_known(
    built: BuiltImage, client: Any
) -> None:
    config = client.images.get(built.id).attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    names = {entry.partition("=")[0] for entry in config["Env"]}
    ours = {"HOST", "PORT", "STORE", "MODEL_VERSION", "BUNDLE_DIGEST"}
    python = {"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert names == {f"SETPOINT_{name}" for name in ours} | python | {"OMP_NUM_THREADS"}


@pytest.mark.docker
def test_a_locked_down_container_decides_drains_and_is_removed(
    images: DockerImages, built: BuiltImage, client: Any
) -> None:
    result = images.smoke(built.tag, ROW)
    assert result.answer is not None
    assert result.answer["action"] == "review" and result.answer["score"] > 0.9
    assert result.answer["model_version"] == "1"
    assert built.labels["io.setpoint.bundle.digest"].endswith(result.answer["model_digest"])
    assert result.exit_code == 0
    assert client.containers.list(all=True) == []


@pytest.mark.docker
def test_the_next_model_s_image_is_one_new_layer(
    images: DockerImages,
    built: BuiltImage,
    base: str,
    wheelhouse: Path,
    client: Any,
    tmp_path: Path,
) -> None:
    bundle = make_bundle(tmp_path / "bundle", "2")
    second = images.build(bundle, "2", "setpoint-test/tiny:2", base, wheelhouse=wheelhouse)
    before, after = (
        client.images.get(image.id).attrs["RootFS"]["Layers"] for image in (built, second)
    )
    assert before[:-1] == after[:-1] and before[-1] != after[-1]
    answer = images.smoke(second.tag, ROW).answer
    assert answer is not None and answer["model_version"] == "2"
    assert answer["model_digest"] == read_bundle(bundle).digest


@pytest.mark.docker
def test_a_refused_row_fails_the_smoke_test_and_leaves_no_container(
    images: DockerImages, built: BuiltImage, client: Any
) -> None:
    with pytest.raises(PlatformError, match=r"refused the row with status 422.*amount"):
        images.smoke(built.tag, ROW | {"amount": "much"})
    assert client.containers.list(all=True) == []


@pytest.mark.docker
def test_a_container_that_ends_early_is_reported_with_its_last_words(
    images: DockerImages, built: BuiltImage, client: Any, tmp_path: Path
) -> None:
    lines = [f"FROM {built.tag}", 'ENTRYPOINT ["python", "-c", "raise SystemExit(\'no disk\')"]']
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    client.images.build(path=str(tmp_path), tag="setpoint-test/ends:1", rm=True)
    with pytest.raises(PlatformError, match=r"exit code 1 before it was ready\n  no disk"):
        images.smoke("setpoint-test/ends:1")
    assert client.containers.list(all=True) == []


@pytest.mark.docker
def test_a_model_altered_in_its_image_is_not_served(
    images: DockerImages, built: BuiltImage, client: Any, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {built.tag}\nCOPY m /bundle/model.onnx\n")
    (tmp_path / "m").write_bytes(b"other")
    client.images.build(path=str(tmp_path), tag="setpoint-test/altered:1", rm=True)
    with pytest.raises(PlatformError, match=r"(?s)before it was ready.*model\.onnx was altered"):
        images.smoke("setpoint-test/altered:1")


@pytest.mark.docker
def test_a_wheel_that_is_not_the_locked_one_fails_the_build_with_its_last_lines(
    images: DockerImages, base: str, wheelhouse: Path, bundle: Path, tmp_path: Path
) -> None:
    first = re.findall(r"^([\w-]+)==", LOCK.read_text(), re.MULTILINE)[0]  # looked for first
    wheel = tmp_path / next(wheelhouse.glob(f"{first.replace('-', '_')}-*.whl")).name
    wheel.write_bytes(b"not what was locked")
    with pytest.raises(PlatformError, match="DO NOT MATCH THE HASHES") as caught:
        images.build(bundle, "1", "setpoint-test/bad:1", base, wheelhouse=tmp_path)
    assert "The command returned a non-zero code: 1" in caught.value.what


@pytest.mark.docker
def test_an_image_that_is_not_there_is_named(images: DockerImages) -> None:
    with pytest.raises(PlatformError, match=r"no image 'setpoint-test/none:1'"):
        images.smoke("setpoint-test/none:1")


@pytest.mark.docker
def test_answers_are_timed_one_by_one_after_a_few_that_warm_up(
    images: DockerImages, built: BuiltImage
) -> None:
    rows = [row(number) for number in range(2, 107)]
    result = images.smoke(built.tag, ROW, timed_rows=rows)
    assert len(result.seconds) == len(rows) - WARM_REQUESTS
    assert all(0 < one < 10 for one in result.seconds)
    assert result.exit_code == 0


@pytest.mark.docker
def test_an_image_has_the_processor_time_it_is_timed_with(
    images: DockerImages, built: BuiltImage, client: Any
) -> None:
    container, _ = images._create(client, built.id, 0.5)
    try:
        assert container.attrs["HostConfig"]["NanoCpus"] == 500_000_000
    finally:
        container.remove(force=True)


@pytest.mark.docker
def test_a_refused_row_among_those_timed_fails_the_smoke_test(
    images: DockerImages, built: BuiltImage, client: Any
) -> None:
    rows = [row(2), row(3), row(4, amount="much")]
    with pytest.raises(PlatformError, match=r"refused the row with status 422.*amount"):
        images.smoke(built.tag, timed_rows=rows)
    assert client.containers.list(all=True) == []


@pytest.mark.docker
def test_a_registry_that_is_away_is_named(images: DockerImages, built: BuiltImage) -> None:
    with pytest.raises(PlatformError, match="cannot be pushed") as caught:
        images.push(built.id, f"127.0.0.1:{free_port()}/tiny", "1")
    assert "docker login" in caught.value.fix


@pytest.mark.docker
def test_a_pushed_image_is_named_by_its_digest_and_can_be_pulled(
    images: DockerImages, built: BuiltImage, client: Any, registry: str
) -> None:
    name = images.push(built.id, f"{registry}/tiny", "1")
    assert re.fullmatch(rf"{registry}/tiny@sha256:[0-9a-f]{{64}}", name)
    assert client.images.pull(name).id == built.id


@pytest.mark.docker
def test_an_image_altered_in_its_registry_is_not_pulled_by_the_name_that_was_signed(
    images: DockerImages, built: BuiltImage, registry: str, tmp_path: Path
) -> None:
    name = images.push(built.id, f"{registry}/tiny", "1")
    digest = name.rpartition(":")[2]
    kept = next((tmp_path / "images").rglob(f"sha256/{digest[:2]}/{digest}/data"))
    sound = kept.read_bytes()
    at = sound.rindex(b'"size":') + len(b'"size":') + 1
    with docker_engine.private_engine() as address:  # a node that has never seen it
        node: Any = docker.DockerClient(base_url=address)
        kept.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])  # another digit
        told = [
            one["error"] for one in node.api.pull(name, stream=True, decode=True) if "error" in one
        ]
        assert len(told) == 1 and "verification failed for digest" in told[0]
        assert node.images.list() == []
        kept.write_bytes(sound)
        assert node.images.pull(name).id == built.id
        node.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Address of a registry of this test's own, which Docker lets go without TLS on loopback."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/images}}}}\n"
        f"http: {{addr: {address}}}\n"
    )
    command = [program, "serve", str(tmp_path / "registry.yml")]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        host, _, port = address.partition(":")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=10)
