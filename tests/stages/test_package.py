"""A version's image: built and tried where an engine answers, and said where none does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from setpoint.adapters.docker_images import DockerImages
from setpoint.domain.bundle import read_bundle, write_bundle
from setpoint.domain.findings import Outcome
from setpoint.errors import PlatformError
from setpoint.stages.ingest import ingest
from setpoint.stages.package import Packaged, build_image, latency_verdict
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.train import assemble, fit
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


@pytest.fixture(scope="module")
def images(engine: str) -> Iterator[DockerImages]:
    yield DockerImages(engine, network="host")


def _wanting(
    workspace: Workspace, image: str, base: str | None = None, **changes: object
) -> Workspace:
    changes |= {"image": image, "base_image": base}
    package = workspace.project.package.model_copy(update=changes)
    return replace(workspace, project=workspace.project.model_copy(update={"package": package}))


def test_without_an_engine_a_version_runs_as_a_process_and_the_ledger_says_so(
    made: tuple[Workspace, Candidate],
) -> None:
    workspace, candidate = made
    packaged = build_image(_wanting(workspace, "auto"), candidate.version, DockerImages(NOWHERE))
    assert (packaged.runtime, packaged.image) == ("process", "")
    assert "no Docker engine answers" in packaged.note
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.evidence["note"]) == ("packaged", packaged.note)


def test_an_image_that_is_required_is_not_done_without(made: tuple[Workspace, Candidate]) -> None:
    workspace, candidate = made
    with pytest.raises(PlatformError, match="no Docker engine answers"):
        build_image(_wanting(workspace, "require"), candidate.version, DockerImages(NOWHERE))


def test_a_refusal_stands_in_the_ledger(made: tuple[Workspace, Candidate]) -> None:
    workspace, candidate = made
    with pytest.raises(PlatformError):
        build_image(_wanting(workspace, "require"), candidate.version, DockerImages(NOWHERE))
    evidence = workspace.state.ledger()[-1].evidence
    assert (evidence["runtime"], evidence["image"]) == ("none", "")
    assert evidence["note"].endswith("Not released.")


@pytest.mark.parametrize(
    ("quick", "slow", "outcome"),
    [
        (1000, 0, Outcome.PASSED),
        (1000, 4, Outcome.PASSED),
        (1000, 10, Outcome.INCONCLUSIVE),
        (0, 5, Outcome.FAILED),
        (900, 100, Outcome.FAILED),
        (100, 0, Outcome.INCONCLUSIVE),
        (0, 0, Outcome.INCONCLUSIVE),
    ],
)
def test_quick_enough_is_passed_on_proof_only(quick: int, slow: int, outcome: Outcome) -> None:
    verdict = latency_verdict([0.002] * quick + [3.0] * slow, 50.0, 0.05)
    assert verdict.outcome == outcome
    for finding in verdict:
        assert (finding.sample, finding.error_rate) == (quick + slow, 0.05)
    p99, share = verdict.findings
    assert (p99.name, p99.setpoint, share.setpoint) == ("image_p99_ms", 50.0, 0.01)
    if quick + slow == 1000 and slow:
        assert p99.value == 3000.0 and share.value == 0.1


@pytest.mark.docker
def test_with_an_engine_the_image_is_built_timed_and_gives_a_decision_on_a_real_event(
    made: tuple[Workspace, Candidate], engine: str, images: DockerImages
) -> None:
    workspace, candidate = made
    base = docker_engine.import_base(engine)
    packaged = build_image(_wanting(workspace, "require", base), candidate.version, images)
    assert packaged.image == f"setpoint/small:{candidate.version}"
    assert packaged.signed == workspace.image(candidate.version)
    assert packaged.signed is not None and packaged.signed.id.startswith("sha256:")
    assert "built, smoke-tested" in packaged.note
    assert packaged.latency.passed and packaged.latency.findings[0].sample == 1000
    assert 50e6 < packaged.size_bytes < 1e9
    evidence = workspace.state.ledger()[-1].evidence
    assert evidence["latency"] == packaged.latency.to_dict()
    assert evidence["size_bytes"] == packaged.size_bytes
    assert evidence["image_id"] == packaged.signed.id
    assert evidence["image_signed_by"] == workspace.state.signing_key()


@pytest.mark.docker
def test_a_slow_model_is_refused_before_its_release_where_the_image_is_required(
    made: tuple[Workspace, Candidate],
    engine: str,
    images: DockerImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace, candidate = made
    base = docker_engine.import_base(engine)
    slow = slowed(Path(candidate.bundle), tmp_path / "bundle")
    monkeypatch.setattr(Workspace, "bundle", lambda *_: slow)
    with pytest.raises(PlatformError, match="not shown to be quick enough") as caught:
        build_image(_wanting(workspace, "require", base), candidate.version, images)
    assert "1 CPU" in caught.value.where and "max_p99_ms" in caught.value.fix
    evidence = workspace.state.ledger()[-1].evidence
    assert evidence["runtime"] == "none"
    assert evidence["latency"]["outcome"] == "failed"
    p99 = evidence["latency"]["findings"][0]
    assert p99["name"] == "image_p99_ms" and p99["value"] > 50 and p99["sample"] >= 5


def slowed(bundle: Path, folder: Path) -> Path:
    """The same bundle with a model that multiplies large matrices before it scores."""
    known = read_bundle(bundle)
    model = onnx.load_from_string(known.model)
    graph = model.graph
    numbers = next(one.name for one in graph.input if one.name == "numbers")
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == numbers:
                node.input[place] = "late_numbers"
    width, side = "slow_width", 2500
    graph.initializer.extend(
        [
            helper.make_tensor(width, TensorProto.INT64, [2], [side, side]),
            helper.make_tensor("slow_zero", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("slow_one", TensorProto.INT64, [1], [1]),
        ]
    )
    made = [
        helper.make_node("Shape", [numbers], ["slow_shape"]),
        helper.make_node("ReduceMax", ["slow_shape"], ["slow_most"], keepdims=0),
        helper.make_node("Cast", ["slow_most"], ["slow_float"], to=TensorProto.FLOAT),
        helper.make_node("Expand", ["slow_float", width], ["slow_square"]),
        helper.make_node("MatMul", ["slow_square", "slow_square"], ["slow_product"]),
        helper.make_node("ReduceMean", ["slow_product"], ["slow_mean"], keepdims=0),
        helper.make_node("Mul", ["slow_mean", "slow_zero"], ["slow_nothing"]),
        helper.make_node("Add", [numbers, "slow_nothing"], ["late_numbers"]),
    ]
    nodes = [*made, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    manifest = known.manifest
    write_bundle(
        folder,
        model.SerializeToString(),
        known.features,
        known.table,
        known.decision,
        known.profile,
        project=manifest.project,
        version=manifest.version,
        created_at=manifest.created_at,
        snapshot=manifest.snapshot,
        commit=manifest.commit,
        environment_digest=manifest.environment_digest,
        seeds=manifest.seeds,
        parameters=manifest.parameters,
    )
    return folder


@pytest.mark.docker
def test_an_image_that_fails_holds_up_no_release_unless_it_is_required(
    made: tuple[Workspace, Candidate], images: DockerImages
) -> None:
    workspace, candidate = made
    nowhere = "no-such-base:1"
    packaged: Packaged = build_image(
        _wanting(workspace, "auto", nowhere), candidate.version, images
    )
    assert packaged.image == "" and "The image failed" in packaged.note
    with pytest.raises(PlatformError):
        build_image(_wanting(workspace, "require", nowhere), candidate.version, images)
