"""The container image of a version, where an engine answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setpoint.adapters.docker_context import default_recipes, download_wheels
from setpoint.adapters.docker_images import DEFAULT_BASE, DockerImages
from setpoint.adapters.gateway_client import encode
from setpoint.errors import PlatformError
from setpoint.stages.train import Candidate
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Packaged:
    """How a version will run, and why.

    Attributes:
        runtime: What the platform runs the version as; ``process`` in the embedded home.
        image: Tag of the image; empty without one.
        note: One sentence for people.
    """

    runtime: str
    image: str
    note: str


def build_image(
    workspace: Workspace, candidate: Candidate, images: DockerImages | None = None
) -> Packaged:
    """Build and smoke-test the image of a candidate, as the project file says.

    Args:
        workspace: The project.
        candidate: What passed its gates.
        images: The engine, if not the one that Docker's own tools would use.

    Raises:
        PlatformError: The image is required and cannot be built, or does not work.
    """
    plan = workspace.project.package
    name = workspace.project.name
    if plan.image == "never":
        made = Packaged("process", "", "No image: package.image is 'never'. Runs as a process.")
    else:
        made = _build(workspace, candidate, images or DockerImages())
    workspace.state.record(
        workspace.clock.now(),
        "packaged",
        f"{name}/{candidate.version}",
        {"runtime": made.runtime, "image": made.image, "note": made.note},
    )
    return made


def _example_row(workspace: Workspace) -> dict[str, Any]:
    """The newest event, as a request."""
    names = [column.name for column in workspace.project.request_spec().columns]
    store = workspace.snapshots("events")
    latest = store.latest()
    if latest is None:
        raise PlatformError(
            "there is no event to try the image on", where="image", fix="ingest a batch first"
        )
    events = store.read(latest.version, columns=names)
    row: dict[str, Any] = json.loads(encode(events.slice(events.num_rows - 1).to_pylist()[0]))
    return row


def _build(workspace: Workspace, candidate: Candidate, images: DockerImages) -> Packaged:
    plan = workspace.project.package
    engine = images.available()
    if engine is None:
        reason = images.reason
        if plan.image == "require":
            raise PlatformError(
                f"no Docker engine answers: {reason}",
                where="package.image: require",
                fix="start an engine, or set package.image to auto or never",
            )
        short = reason.partition(": ")[0]  # the rest is the client's trace
        return Packaged("process", "", f"No image: {short}. Runs as a process.")
    base = plan.base_image or DEFAULT_BASE
    tag = f"setpoint/{workspace.project.name}:{candidate.version}"
    try:
        wheels = download_wheels(workspace.root / "wheels", default_recipes())
        image = images.build(
            Path(candidate.bundle), candidate.version, tag, base, wheelhouse=wheels
        )
        smoked = images.smoke(image.id, _example_row(workspace))
        if smoked.exit_code != 0:
            raise PlatformError(
                f"the container ended with {smoked.exit_code} when it was stopped",
                where=f"image {tag}",
                fix="see its log; a service that is stopped must end with 0",
            )
    except PlatformError as err:
        if plan.image == "require":
            raise
        # The image is not what serves: a healing release does not wait for it.
        return Packaged("process", "", f"The image failed ({err.what}). Runs as a process.")
    note = f"{tag}, {image.size_bytes / 1e6:.0f} MB, built and smoke-tested. Runs as a process."
    return Packaged("process", tag, note)
