"""No image is released that nobody signed, or that is not the one that was signed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import IMAGE
from setpoint.adapters.signing import Keys
from setpoint.domain.images import SignedImage, sign_image
from setpoint.errors import PlatformError, ReleaseError
from setpoint.stages import release, roll_back
from setpoint.workspace import Workspace
from tests.stages.releasing import replaced, two_versions

ID = "sha256:" + "a" * 64
PUSHED = "registry.example.org/small@sha256:" + "b" * 64
TAG = "setpoint/small:v2"


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """Two versions where the image is what serves; ``v2`` has one."""
    workspace, _, runtime = two_versions(tmp_path)
    runtime.kind = "kubernetes"
    sign(workspace, "v2")
    return workspace


def sign(workspace: Workspace, version: str, name: str = PUSHED) -> SignedImage:
    signed = sign_image(workspace.registry.digest(version), name, ID, workspace.sign)
    workspace.registry.tag(version, IMAGE, signed.text())
    return signed


def refused(workspace: Workspace, match: str) -> PlatformError:
    with pytest.raises(PlatformError, match=match) as caught:
        release.begin(workspace, "v2", "manual", "a run")
    assert workspace.state.release("v2") is None and workspace.state.ledger() == []
    assert "v2" in caught.value.where and "deliver" in caught.value.fix
    return caught.value


def test_a_signed_image_is_released_by_its_digest(made: Workspace) -> None:
    assert release.begin(made, "v2", "manual", "a run").challenger == "v2"
    assert made.pinned_image("v2") == PUSHED


def test_a_version_without_an_image_is_not_released_to_a_cluster(made: Workspace) -> None:
    made.registry.tag("v2", IMAGE, "")
    refused(made, "record of the image was altered")
    made.registry._client().delete_model_version_tag("small", "2", IMAGE)
    refused(made, "has no signed image")


def test_an_image_that_was_never_pushed_is_not_released_to_a_cluster(made: Workspace) -> None:
    sign(made, "v2", TAG)
    refused(made, "was never pushed")


def test_a_flipped_bit_of_the_record_stops_the_release(made: Workspace) -> None:
    rng, kept = random.Random(4), made.registry.tags("v2")[IMAGE]
    for at in rng.sample(range(len(kept)), 25):
        changed = chr(ord(kept[at]) ^ (1 << rng.randrange(1, 5)))
        made.registry.tag("v2", IMAGE, kept[:at] + changed + kept[at + 1 :])
        refused(made, "altered|does not hold")
    made.registry.tag("v2", IMAGE, kept)
    release.begin(made, "v2", "manual", "a run")


@pytest.mark.parametrize("field", ["name", "id"])
def test_another_image_under_the_old_signature_is_refused(made: Workspace, field: str) -> None:
    plain = json.loads(made.registry.tags("v2")[IMAGE])
    plain[field] = plain[field][:-1] + "c"
    made.registry.tag("v2", IMAGE, SignedImage(**plain).text())
    refused(made, "did not sign this image of this version")


def test_the_signed_image_of_another_version_is_refused(made: Workspace) -> None:
    signed = sign_image("0" * 64, PUSHED, ID, made.sign)
    made.registry.tag("v2", IMAGE, signed.text())
    refused(made, "did not sign this image of this version")


def test_an_image_signed_by_a_stranger_is_refused(made: Workspace, tmp_path: Path) -> None:
    stranger = Keys(tmp_path / "stranger")
    key, digest = stranger.make(), made.registry.digest("v2")
    foreign = sign_image(digest, PUSHED, ID, lambda said: stranger.sign(key, said))
    made.registry.tag("v2", IMAGE, foreign.text())
    refused(made, f"key {key} is not trusted here")


def test_an_image_of_a_key_that_was_replaced_is_released_and_of_a_revoked_one_is_not(
    made: Workspace,
) -> None:
    now = made.clock.now()
    old, _ = made.state.rotate_key(now, "ann")
    assert made.pinned_image("v2") == PUSHED
    made.state.revoke_key(old, now, now, "ann")
    with pytest.raises(PlatformError, match="is not trusted here"):
        made.pinned_image("v2")


def test_where_processes_serve_an_image_may_be_missing_but_not_altered(tmp_path: Path) -> None:
    workspace, _, _ = two_versions(tmp_path)
    signed = sign(workspace, "v2", TAG)
    workspace.registry.tag("v2", IMAGE, signed.text().replace(TAG, "setpoint/small:v3"))
    refused(workspace, "does not hold")
    sign(workspace, "v2", TAG)
    assert release.begin(workspace, "v2", "manual", "a run").challenger == "v2"


def test_a_version_whose_image_is_not_signed_is_not_rolled_back_to(tmp_path: Path) -> None:
    workspace, _, runtime = replaced(tmp_path)
    runtime.kind = "kubernetes"
    with pytest.raises(ReleaseError, match="v1: the version has no signed image"):
        roll_back.last_good(workspace, "v2")
