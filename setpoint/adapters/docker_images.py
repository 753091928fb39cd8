"""Builds the image of a model version and tries it, through a Docker engine's API.

Recipe: ``infra/scoring/Dockerfile``. The context holds what the service runs on and nothing
else: the locked requirements, the serving part of this package, the verified bundle.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, BuildError, DockerException, ImageNotFound

from setpoint.adapters.docker_context import (
    LABELS,
    assemble_context,
    default_recipes,
    image_labels,
)
from setpoint.adapters.docker_probe import (
    PORT,
    check_health,
    decide,
    first_line,
    log_lines,
    published_port,
    time_decisions,
    wait_ready,
)
from setpoint.adapters.processes import free_port
from setpoint.errors import PlatformError

DEFAULT_BASE = "python:3.11-slim-bookworm"
STATE = "/var/lib/setpoint"
BUILD_LINES = 15
TIMED_SECONDS = 30.0
NOTES = (
    "--->",
    "Removing intermediate container",
    "Sending build context",
    "Expected     or",  # a locked wheel has dozens of digests, which push the reason out
)

START_ENGINE = "start a Docker engine, or run models as processes, which needs none"


@dataclass(frozen=True)
class EngineInfo:
    """The Docker engine that answers.

    Attributes:
        version: The engine's version, e.g. ``20.10.24``.
        api_version: The API version agreed on.
        platform: ``os/architecture``, e.g. ``linux/x86_64``.
    """

    version: str
    api_version: str
    platform: str


@dataclass(frozen=True)
class BuiltImage:
    """An image in the engine's store.

    Attributes:
        id: Content digest of its configuration, ``sha256:...``.
        tag: The name it was given.
        size_bytes: Size of all its layers, bytes.
        labels: OCI labels, and under ``io.setpoint.`` the digests of bundle, snapshot,
            environment and lock.
    """

    id: str
    tag: str
    size_bytes: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class SmokeResult:
    """What a container of the image did, under the locks it is meant to run under.

    Attributes:
        ready_seconds: From start to the first 200 of ``/health/ready``.
        answer: The decision it gave; ``None`` if no row was sent.
        exit_code: How it ended on SIGTERM; 0 when it drained.
        seconds: Seconds to each timed answer, warm, one at a time; empty if none was timed.
        logs: Last lines it wrote.
    """

    ready_seconds: float
    answer: Mapping[str, Any] | None
    exit_code: int
    seconds: tuple[float, ...] = field(default=(), repr=False)
    logs: tuple[str, ...] = field(default=(), repr=False)


class DockerImages:
    """Images of model versions in one Docker engine.

    Args:
        base_url: The engine's address, e.g. ``unix:///run/docker.sock``; ``None`` for the
            address that Docker's own tools would use. The engine is on this machine: ``smoke``
            calls the loopback interface.
        network: ``host`` where the engine has no bridge; ``None`` for its default network.
        recipes: The folder ``infra`` of the source tree; ``None`` for the one beside this package.
        timeout: Longest wait for one answer of the engine, seconds.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        network: str | None = None,
        recipes: Path | None = None,
        timeout: float = 300.0,
    ) -> None:
        self._base_url = base_url
        self._network = network
        self._recipes = recipes or default_recipes()
        self._timeout = timeout
        self.reason = ""
        """Why the last ``available`` was ``None``; empty if it was not."""

    def available(self) -> EngineInfo | None:
        """The engine, or ``None`` where none answers; ``reason`` then says why."""
        try:
            with self._client() as client:
                version = client.version()
                api = client.api.api_version
        except PlatformError as err:
            self.reason = err.what
            return None
        self.reason = ""
        platform = f"{version.get('Os', '?')}/{version.get('Arch', '?')}"
        return EngineInfo(version.get("Version", "?"), api, platform)

    def build(
        self,
        bundle: Path,
        version: str,
        tag: str,
        base_image: str = DEFAULT_BASE,
        *,
        wheelhouse: Path | None = None,
        pip: Mapping[str, str] | None = None,
    ) -> BuiltImage:
        """Build the image of a model version; what was built before is taken from the cache.

        Args:
            bundle: The bundle; verified as it goes into the context.
            version: Model version, which the service reports.
            tag: Name of the image, e.g. ``setpoint/fraud:7``.
            base_image: Image with ``sh`` and the Python that the lock was made for; pulled if
                the engine lacks it. Give a digest (``name@sha256:...``) to rebuild the same.
            wheelhouse: Folder of wheels to install from; ``None`` to let pip ask its index.
            pip: Settings of pip during the build: ``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``,
                ``PIP_TRUSTED_HOST``, ``PIP_CERT``. They do not reach the image, but stay in the
                engine's build cache: no passwords.

        Raises:
            BundleError: The bundle is incomplete or altered.
            PlatformError: No engine answers, the base cannot be had, or the build fails; the
                message ends with the last lines of the build.
        """
        with self._client() as client, tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            manifest = assemble_context(context, bundle, self._recipes, wheelhouse)
            labels = image_labels(manifest, version, context) | _base_labels(client, base_image)
            arguments = {"BASE_IMAGE": base_image, "MODEL_VERSION": version}
            arguments |= {"BUNDLE_DIGEST": manifest.digest, **(pip or {})}
            image = self._build(client, context, tag, labels, arguments)
            return BuiltImage(image.id, tag, int(image.attrs["Size"]), dict(image.labels))

    def _build(
        self,
        client: Any,
        context: Path,
        tag: str,
        labels: Mapping[str, str],
        arguments: Mapping[str, str],
    ) -> Any:
        try:
            image, _ = client.images.build(
                path=str(context),
                tag=tag,
                labels=dict(labels),
                buildargs=dict(arguments),
                network_mode=self._network,
                rm=True,
                forcerm=True,
            )
        except BuildError as err:
            lines = "\n  ".join(build_lines(err.build_log)[-BUILD_LINES:])
            raise PlatformError(
                f"the image {tag} cannot be built; its last lines:\n  {lines}",
                where=str(self._recipes / "scoring" / "Dockerfile"),
                fix="correct what the last lines name; without an index, pass a wheelhouse",
            ) from err
        return image

    def smoke(
        self,
        image: str,
        request_row: Mapping[str, Any] | None = None,
        *,
        timed_rows: Sequence[Mapping[str, Any]] = (),
        cpus: float = 1.0,
        ready_within: float = 60.0,
    ) -> SmokeResult:
        """Run an image once, locked down as in production, and always remove the container.

        Locks: read-only root, memory file systems for state and ``/tmp``, no capabilities, no
        new privileges, ``cpus``, 512 MiB, 256 processes.

        Args:
            image: Id or tag.
            request_row: A row to ask one decision for, JSON values; ``None`` for none.
            timed_rows: Rows whose answers are timed, each with an event id of its own; for
                half a minute at most.
            cpus: Processor time that it may use, in cores.
            ready_within: Longest wait for ``/health/ready``, seconds.

        Raises:
            PlatformError: It does not get ready in time, refuses a row, or its own health
                check fails; the message ends with its last log lines.
        """
        with self._client() as client:
            container, port = self._create(client, image, cpus)
            try:
                started = time.monotonic()
                container.start()
                port = port or published_port(container)
                wait_ready(container, port, started + ready_within)
                ready = time.monotonic() - started
                check_health(container)
                answer = None if request_row is None else decide(container, port, request_row)
                took = time_decisions(container, port, timed_rows, TIMED_SECONDS)
                container.stop(timeout=15)
                code = int(container.wait()["StatusCode"])
                return SmokeResult(ready, answer, code, took, tuple(log_lines(container)))
            finally:
                container.remove(force=True, v=True)

    def push(self, image: str, repository: str, tag: str) -> str:
        """Send an image to a registry; the engine's own login is used.

        Args:
            image: Id or tag.
            repository: Where to, e.g. ``registry.example.org/fraud``.
            tag: Its tag there.

        Returns:
            The name that means this image and no other: ``repository@sha256:...``.

        Raises:
            PlatformError: The registry does not take it.
        """
        with self._client() as client:
            client.images.get(image).tag(repository, tag)
            answers = list(client.images.push(repository, tag, stream=True, decode=True))
        faults = [str(one["error"]) for one in answers if "error" in one]
        digests = [one["aux"]["Digest"] for one in answers if "Digest" in one.get("aux", {})]
        if faults or not digests:
            raise PlatformError(
                f"the image cannot be pushed: {(faults or ['the registry named no digest'])[0]}",
                where=f"{repository}:{tag}",
                fix="log the engine in to the registry ('docker login'), or correct the name",
            )
        return f"{repository}@{digests[0]}"

    def _create(self, client: Any, image: str, cpus: float) -> tuple[Any, int]:
        # The port is chosen here on the host's network, by the engine on a network of its own.
        port = free_port() if self._network == "host" else 0
        network: dict[str, Any] = (
            {
                "network_mode": "host",
                "environment": {"SETPOINT_HOST": "127.0.0.1", "SETPOINT_PORT": str(port)},
            }
            if port
            else {"network": self._network, "ports": {f"{PORT}/tcp": ("127.0.0.1", None)}}
        )
        memory = "rw,noexec,nosuid,nodev,size=64m"
        try:
            container = client.containers.create(
                image,
                read_only=True,
                tmpfs={STATE: f"{memory},uid=10001,gid=10001,mode=0700", "/tmp": memory},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                mem_limit="512m",
                nano_cpus=int(cpus * 1e9),
                pids_limit=256,
                labels={f"{LABELS}.smoke": "1"},
                **network,
            )
        except ImageNotFound as err:
            raise PlatformError(
                f"the engine has no image {image!r}", where="smoke test", fix="build it first"
            ) from err
        return container, port

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A client; what it raises inside the block becomes a ``PlatformError``."""
        where = self._base_url or "the default Docker engine"
        client: Any = None
        try:
            client = (
                docker.DockerClient(base_url=self._base_url, timeout=self._timeout)
                if self._base_url
                else docker.from_env(timeout=self._timeout)
            )
            client.ping()
            yield client
        except APIError as err:
            what = f"the Docker engine refused: {err.explanation or err}"
            raise PlatformError(what, where=where, fix="see the engine's own log") from err
        except (DockerException, requests.RequestException) as err:
            what = f"no Docker engine answers at {where}: {first_line(err)}"
            raise PlatformError(what, where=where, fix=START_ENGINE) from err
        finally:
            if client is not None:
                client.close()


def build_lines(log: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the steps of a build wrote, and its error; without colours and the engine's notes."""
    written = "".join(str(entry.get("stream") or entry.get("error") or "") for entry in log)
    # The engine repeats the whole failed command after what it wrote.
    written = re.sub(
        r"The command '.*?' returned a", "\nThe command returned a", written, flags=re.S
    )
    # Colours of the engine and of pip.
    text = re.sub(r"\x1b\[[0-9;]*m", "", written)
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line.strip() and not line.lstrip().startswith(NOTES)]


def _base_labels(client: Any, name: str) -> dict[str, str]:
    """Name and digest of the base image, which is pulled if the engine lacks it."""
    try:
        try:
            image = client.images.get(name)
        except ImageNotFound:
            image = client.images.pull(name)
    except APIError as err:
        raise PlatformError(
            f"the base image {name} is not in the engine and cannot be pulled: "
            f"{err.explanation or err}",
            where="image build",
            fix="load it into the engine, or name another base_image",
        ) from err
    # An image that came from no registry has no digest there; its id names its content as well.
    digests = image.attrs.get("RepoDigests") or [f"@{image.id}"]
    return {
        "org.opencontainers.image.base.name": name,
        "org.opencontainers.image.base.digest": str(digests[0]).rpartition("@")[2],
    }
