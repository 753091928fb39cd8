"""The container image of a version, where an engine answers: built, tried, pushed, signed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from setpoint.adapters.docker_context import LABELS, default_recipes, download_wheels
from setpoint.adapters.docker_images import DEFAULT_BASE, BuiltImage, DockerImages, SmokeResult
from setpoint.adapters.docker_probe import WARM_REQUESTS
from setpoint.adapters.gateway_client import encode
from setpoint.adapters.mlflow_registry import IMAGE
from setpoint.domain.findings import Finding, Verdict, check_ceiling
from setpoint.domain.images import SignedImage, sign_image
from setpoint.errors import PlatformError
from setpoint.workspace import Workspace

SLOW_SHARE = 0.01
"""What may be slower than the 99th percentile."""
CPUS = 1.0
"""Cores that an image has while it is timed."""


@dataclass(frozen=True)
class Packaged:
    """How a version will run, and why.

    Attributes:
        runtime: What the platform runs the version as; ``process`` in the embedded home.
        image: Tag of the image, or its name with digest in its registry; empty without one.
        note: One sentence for people.
        latency: How quickly its image answers; empty if that was not measured.
        size_bytes: Size of all layers of the image, bytes; 0 without one.
        signed: Its digests and their signature; ``None`` without an image that may be released.
    """

    runtime: str
    image: str
    note: str
    latency: Verdict = field(default_factory=Verdict)
    size_bytes: int = 0
    signed: SignedImage | None = None


class _Refused(PlatformError):
    """A working image that may not be released; ``made`` says why."""

    made: Packaged


def build_image(workspace: Workspace, version: str, images: DockerImages | None = None) -> Packaged:
    """Build, smoke-test, time and sign the image of a version, as the project file says.

    The signature is kept with the version's record. The ledger entry ``packaged`` tells how it
    went, a refusal too.

    Args:
        workspace: The project.
        version: What passed its gates, or is the declared rule.
        images: The engine, if not the one that Docker's own tools would use.

    Raises:
        PlatformError: The image is required and cannot be built, does not work, or is not shown
            to be quick enough.
    """
    required = workspace.project.package.image == "require"
    if workspace.project.package.image == "never":
        made = Packaged("process", "", "No image: package.image is 'never'. Runs as a process.")
        return _recorded(workspace, version, made)
    try:
        made = _build(workspace, version, images or DockerImages())
    except PlatformError as err:
        seen = err.made if isinstance(err, _Refused) else Packaged("", "", "")
        runtime, end = ("none", "Not released.") if required else ("process", "Runs as a process.")
        note = f"The image failed ({err.what}). {end}"
        made = Packaged(runtime, "", note, seen.latency, seen.size_bytes)
        _recorded(workspace, version, made)
        if required:
            raise
        # The image is not what serves: a healing release does not wait for it.
        return made
    return _recorded(workspace, version, made)


def latency_verdict(seconds: Sequence[float], max_p99_ms: float, error_rate: float) -> Verdict:
    """Whether at most one answer in a hundred is slower than a limit.

    The 99th percentile keeps to the limit just when that is so; the bounds are those of the share.

    Args:
        seconds: Seconds to each answer, one request at a time.
        max_p99_ms: The limit, milliseconds.
        error_rate: Chance that an image just over the limit passes; one-sided.
    """
    slow = sum(one * 1000 > max_p99_ms for one in seconds)
    share = check_ceiling(
        "image_slow_share", slow, len(seconds), SLOW_SHARE, error_rate, min_sample=1
    )
    p99 = float(np.quantile(seconds, 0.99, method="higher")) * 1000 if seconds else None
    told = "nothing was timed" if p99 is None else f"99 of 100 answers took {p99:.3g} ms or less"
    reason = f"{told}; limit {max_p99_ms:g} ms; {slow} of {len(seconds)} over it"
    quantile = Finding(
        "image_p99_ms",
        share.outcome,
        p99,
        max_p99_ms,
        "ceiling",
        len(seconds),
        error_rate,
        reason,
    )
    return Verdict((quantile, share))


def _recorded(workspace: Workspace, version: str, made: Packaged) -> Packaged:
    workspace.state.record(
        workspace.clock.now(),
        "packaged",
        f"{workspace.project.name}/{version}",
        {
            "runtime": made.runtime,
            "image": made.image,
            "note": made.note,
            "size_bytes": made.size_bytes,
            "latency": made.latency.to_dict(),
            "image_id": made.signed.id if made.signed else "",
            "image_signed_by": made.signed.key if made.signed else "",
        },
    )
    return made


def _example_rows(workspace: Workspace) -> list[dict[str, Any]]:
    """The newest events, as requests."""
    names = [column.name for column in workspace.project.request_spec().columns]
    store = workspace.snapshots("events")
    latest = store.latest()
    if latest is None:
        raise PlatformError(
            "there is no event to try the image on", where="image", fix="ingest a batch first"
        )
    events = store.read(latest.version, columns=names)
    # One is asked for its answer and a few more to warm up, before the timing.
    wanted = 1 + WARM_REQUESTS + workspace.project.package.latency_requests
    newest = events.slice(max(0, events.num_rows - wanted)).to_pylist()
    return [json.loads(encode(row)) for row in newest]


def _build(workspace: Workspace, version: str, images: DockerImages) -> Packaged:
    plan = workspace.project.package
    if images.available() is None:
        if plan.image == "require":
            raise PlatformError(
                f"no Docker engine answers: {images.reason}",
                where="package.image: require",
                fix="start an engine, or set package.image to auto or never",
            )
        short = images.reason.partition(": ")[0]  # the rest is the client's trace
        return Packaged("process", "", f"No image: {short}. Runs as a process.")
    base = plan.base_image or DEFAULT_BASE
    tag = f"setpoint/{workspace.project.name}:{version}"
    wheels = download_wheels(workspace.root / "wheels", default_recipes())
    image = images.build(workspace.bundle(version), version, tag, base, wheelhouse=wheels)
    rows = _example_rows(workspace)
    smoked = images.smoke(image.id, rows[-1], timed_rows=rows[:-1], cpus=CPUS)
    latency = _judged(workspace, image, smoked)
    name = tag
    if plan.repository is not None:
        name = images.push(image.id, plan.repository, version)
    p99 = latency.findings[0].value
    note = (
        f"{name}, {image.size_bytes / 1e6:.0f} MB, built, smoke-tested, 99 of 100 answers within "
        f"{p99:.3g} ms. Runs as a process."
    )
    # What is signed is what was tried, the smoke test ran this id, and the bundle that is in it.
    bundle = image.labels[f"{LABELS}.bundle.digest"].removeprefix("sha256:")
    signed = sign_image(bundle, name, image.id, workspace.sign)
    workspace.registry.tag(version, IMAGE, signed.text())
    return Packaged("process", name, note, latency, image.size_bytes, signed)


def _judged(workspace: Workspace, image: BuiltImage, smoked: SmokeResult) -> Verdict:
    if smoked.exit_code != 0:
        raise PlatformError(
            f"the container ended with {smoked.exit_code} when it was stopped",
            where=f"image {image.tag}",
            fix="see its log; a service that is stopped must end with 0",
        )
    project = workspace.project
    verdict = latency_verdict(
        smoked.seconds, project.package.max_p99_ms, project.gates.setpoint_error_rate
    )
    if not verdict.passed:
        refused = _Refused(
            f"it is not shown to be quick enough: {verdict.findings[0].reason}",
            where=f"image {image.tag}, {CPUS:g} CPU, one request at a time",
            fix="make the model smaller, raise package.max_p99_ms, or, where too few were timed, "
            "package.latency_requests",
        )
        refused.made = Packaged("", image.tag, "", verdict, image.size_bytes)
        raise refused
    return verdict
