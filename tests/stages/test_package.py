"""A version's image: built and tried where an engine answers, and said where none does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from setpoint.adapters.docker_images import DockerImages
from setpoint.errors import PlatformError
from setpoint.stages.ingest import ingest
from setpoint.stages.package import Packaged, build_image
from setpoint.stages.train import Candidate, assemble, fit, publish
from setpoint.workspace import Workspace
from tests import docker_engine
from tests.stages.small import deliver, make_frame, make_workspace

NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Candidate]:
    workspace = make_workspace(tmp_path_factory.mktemp("small"))
    deliver(workspace, "1.parquet", make_frame())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    return workspace, publish(workspace, training, snapshot, "first")


def _wanting(workspace: Workspace, image: str, base: str | None = None) -> Workspace:
    package = workspace.project.package.model_copy(update={"image": image, "base_image": base})
    return replace(workspace, project=workspace.project.model_copy(update={"package": package}))


def test_without_an_engine_a_version_runs_as_a_process_and_the_ledger_says_so(
    made: tuple[Workspace, Candidate],
) -> None:
    workspace, candidate = made
    packaged = build_image(_wanting(workspace, "auto"), candidate, DockerImages(NOWHERE))
    assert (packaged.runtime, packaged.image) == ("process", "")
    assert "no Docker engine answers" in packaged.note
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.evidence["note"]) == ("packaged", packaged.note)


def test_an_image_that_is_required_is_not_done_without(made: tuple[Workspace, Candidate]) -> None:
    workspace, candidate = made
    with pytest.raises(PlatformError, match="no Docker engine answers"):
        build_image(_wanting(workspace, "require"), candidate, DockerImages(NOWHERE))


@pytest.mark.docker
def test_with_an_engine_the_image_is_built_and_gives_a_decision_on_a_real_event(
    made: tuple[Workspace, Candidate], engine: str
) -> None:
    workspace, candidate = made
    base = docker_engine.import_base(engine)
    images = DockerImages(engine, network="host")
    packaged = build_image(_wanting(workspace, "require", base), candidate, images)
    assert packaged.image == f"setpoint/small:{candidate.version}"
    assert "built and smoke-tested" in packaged.note


@pytest.mark.docker
def test_an_image_that_fails_holds_up_no_release_unless_it_is_required(
    made: tuple[Workspace, Candidate], engine: str
) -> None:
    workspace, candidate = made
    images = DockerImages(engine, network="host")
    nowhere = "no-such-base:1"
    packaged: Packaged = build_image(_wanting(workspace, "auto", nowhere), candidate, images)
    assert packaged.image == "" and "The image failed" in packaged.note
    with pytest.raises(PlatformError):
        build_image(_wanting(workspace, "require", nowhere), candidate, images)
