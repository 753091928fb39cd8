"""The container image of a version, where an engine answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from setpoint.adapters.docker_images import DEFAULT_BASE, DockerImages
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


def build_image(workspace: Workspace, candidate: Candidate) -> Packaged:
    """Build and smoke-test the image of a candidate, as the project file says.

    Raises:
        PlatformError: The image is required and cannot be built, or does not work.
    """
    plan = workspace.project.package
    name = workspace.project.name
    if plan.image == "never":
        made = Packaged("process", "", "No image: package.image is 'never'. Runs as a process.")
    else:
        made = _build(workspace, candidate)
    workspace.state.record(
        workspace.clock.now(),
        "packaged",
        f"{name}/{candidate.version}",
        {"runtime": made.runtime, "image": made.image, "note": made.note},
    )
    return made


def _build(workspace: Workspace, candidate: Candidate) -> Packaged:
    plan = workspace.project.package
    images = DockerImages()
    engine = images.available()
    if engine is None:
        reason = images.reason
        if plan.image == "require":
            raise PlatformError(
                f"no Docker engine answers: {reason}",
                where="package.image: require",
                fix="start an engine, or set package.image to auto or never",
            )
        return Packaged("process", "", f"No Docker engine answers ({reason}). Runs as a process.")
    base = plan.base_image or DEFAULT_BASE
    tag = f"setpoint/{workspace.project.name}:{candidate.version}"
    try:
        image = images.build(Path(candidate.bundle), candidate.version, tag, base)
        images.smoke(image.id, None)
    except PlatformError as err:
        if plan.image == "require":
            raise
        # The image is not what serves: a healing release does not wait for it.
        return Packaged("process", "", f"The image failed ({err.what}). Runs as a process.")
    note = f"{tag}, {image.size_bytes / 1e6:.0f} MB, built and smoke-tested. Runs as a process."
    return Packaged("process", tag, note)
