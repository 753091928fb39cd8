"""What must be signed before it is used: bundles before a release, snapshots before training."""

from __future__ import annotations

from setpoint.domain.bundle import read_bundle
from setpoint.domain.signatures import check_bundle
from setpoint.workspace import Workspace


def check_signed(workspace: Workspace, version: str) -> None:
    """Check that a version's bundle is the registered one and that a trusted key signed it.

    Raises:
        BundleError: It is not.
    """
    folder = workspace.bundle(version)
    bundle = read_bundle(folder, workspace.registry.digest(version))
    check_bundle(bundle.digest, bundle.signature, workspace.keys.trusted.check, str(folder))
