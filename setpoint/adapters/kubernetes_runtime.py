"""A Deployment per model version: the scaled-out home of ``ModelRuntime`` on Kubernetes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setpoint.adapters.kubernetes_api import KubernetesApi
from setpoint.adapters.kubernetes_manifests import (
    BUNDLE,
    DIGEST,
    PORT,
    VERSION,
    Cluster,
    object_name,
    project_labels,
    trusted_keys,
    version_objects,
)
from setpoint.errors import PlatformError
from setpoint.ports import Endpoint

POLL_SECONDS = 0.25
KNOWN_SECONDS = 10.0
OWNED = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "Deployment", "ConfigMap")


class KubernetesRuntime:
    """Runs the image of a version as a Deployment behind a Service of its own.

    Args:
        cluster: The cluster.
        project: Name of the project.
        images: Name by digest of a version's image, once its signature was found to hold; raises
            ``PlatformError`` if it does not.
        trusted: Folder of the public keys, ``ID.pem``, one of which must have signed a bundle.
        api: The API server; ``None`` for the one that ``cluster`` names, with the account that
            the platform runs under.
    """

    kind: str = "kubernetes"

    def __init__(
        self,
        cluster: Cluster,
        project: str,
        images: Callable[[str], str],
        trusted: Path,
        api: KubernetesApi | None = None,
    ) -> None:
        self._cluster = cluster
        self._project = project
        self._images = images
        self._trusted = trusted
        self._api = api or KubernetesApi(cluster.namespace, cluster.server)

    def start(self, version: str, bundle: Path, digest: str = "") -> Endpoint:
        """Start a version and wait until all its pods are ready, or find it; see the port.

        The bundle is the one inside the image; a pod whose bundle has another digest than
        ``digest`` does not start. The image is asked for by digest: what its registry holds under
        another content is refused by the node that pulls it.

        Raises:
            PlatformError: Its image is not signed, and nothing is sent; a new one does not get
                ready, and nothing of it is left; it runs already from another bundle or image,
                and goes on; or the API server refuses.
        """
        name = object_name(self._project, version)
        known = self._api.get("Deployment", name)
        if known is not None:
            self._check_same(known, bundle.absolute(), digest)
            self._check_image(known, version)
            self._api.apply(self._keys(version))  # which are trusted may have changed since
            # Slow or between two starts: taking it away would not make it better.
            self._wait_ready(name, KNOWN_SECONDS)
            return self._endpoint(name)
        image = self._images(version)
        try:
            self._api.apply(self._keys(version))
            for item in version_objects(
                self._cluster, self._project, version, image, str(bundle.absolute()), digest
            ):
                self._api.apply(item)
            if not self._wait_ready(name, self._cluster.ready_seconds):
                raise PlatformError(
                    f"it is not ready after {self._cluster.ready_seconds:g} s: {self._why(name)}",
                    where=f"version {version}, image {image}",
                    fix=f"kubectl -n {self._cluster.namespace} describe pods "
                    f"-l app.kubernetes.io/name={name}; is the image in its repository, unaltered?",
                )
        except PlatformError:
            self.stop(version)
            raise
        return self._endpoint(name)

    def stop(self, version: str) -> None:
        """Drain and stop a version; its pods answer what they hold before they end.

        Raises:
            PlatformError: The API server refuses.
        """
        name = object_name(self._project, version)
        refused: list[PlatformError] = []
        for kind in OWNED:
            try:
                self._api.delete(kind, name)
            except PlatformError as err:
                refused.append(err)  # the others go all the same
        if refused:
            raise refused[0]

    def endpoints(self) -> dict[str, Endpoint]:
        """All versions that should be running.

        Raises:
            PlatformError: The API server refuses.
        """
        found = self._api.select("Deployment", project_labels(self._project))
        return {
            item["metadata"]["annotations"][VERSION]: self._endpoint(item["metadata"]["name"])
            for item in found
            # Held by a finalizer it may be seen for a while after it was stopped.
            if not item["metadata"].get("deletionTimestamp")
        }

    def _endpoint(self, name: str) -> Endpoint:
        return Endpoint(f"{name}.{self._cluster.namespace}.svc", PORT)

    def _check_same(self, known: dict[str, Any], bundle: Path, digest: str) -> None:
        """A version is one bundle: another one under its name would change what it answers."""
        notes = known["metadata"].get("annotations", {})
        there, wanted = (notes.get(DIGEST), digest) if digest else (notes.get(BUNDLE), str(bundle))
        if there == wanted:
            return
        raise PlatformError(
            f"it runs already from {there or 'a bundle that nobody named'}, not from {wanted}",
            where=f"Deployment {known['metadata']['name']}",
            fix="stop that version first, or give this bundle a version of its own",
        )

    def _keys(self, version: str) -> dict[str, Any]:
        try:
            found = {path.name: path.read_text("ascii") for path in self._trusted.glob("*.pem")}
        except (OSError, ValueError) as err:
            raise PlatformError(
                f"a trusted key cannot be read: {err}",
                where=str(self._trusted),
                fix="restore the file from a backup",
            ) from err
        return trusted_keys(self._cluster, self._project, version, found)

    def _check_image(self, known: dict[str, Any], version: str) -> None:
        """A version is one image, too; one that was started by its tag goes on."""
        (container,) = known["spec"]["template"]["spec"]["containers"]
        there = str(container["image"])
        if "@" not in there or there == (wanted := self._images(version)):
            return
        raise PlatformError(
            f"it runs from the image {there}, and {wanted} was signed",
            where=f"Deployment {known['metadata']['name']}",
            fix="somebody changed the Deployment: delete it, the next step starts the version anew",
        )

    def _wait_ready(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not is_ready(self._api.get("Deployment", name)):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _why(self, name: str) -> str:
        """What its pods wait for, as the cluster tells it."""
        pods = self._api.select("Pod", {"app.kubernetes.io/name": name})
        told = []
        for pod in pods:
            status = pod.get("status", {})
            states = [one.get("state", {}) for one in status.get("containerStatuses", [])]
            told += [
                state[key] for state in states for key in ("waiting", "terminated") if key in state
            ]
            told += [c for c in status.get("conditions", []) if c.get("status") == "False"]
        lines = [f"{one.get('reason', '?')}: {one.get('message', '')}"[:200] for one in told]
        return "; ".join(lines[:3]) or f"{len(pods)} pods, none of which says why"


def is_ready(deployment: dict[str, Any] | None) -> bool:
    """Whether the pods of the newest state of a Deployment are all ready, and at least one."""
    if deployment is None:
        return False
    status = deployment.get("status", {})
    wanted = deployment.get("spec", {}).get("replicas", 1)
    seen = int(status.get("observedGeneration", 0)) >= deployment["metadata"].get("generation", 1)
    return bool(seen and status.get("readyReplicas", 0) >= max(1, wanted))
