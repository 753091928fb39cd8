"""What must be signed before it is released: the bundle, and the image that serves it."""

from __future__ import annotations

from setpoint.adapters.mlflow_registry import IMAGE
from setpoint.domain.bundle import read_bundle
from setpoint.domain.signatures import check_bundle
from setpoint.workspace import Workspace


def check_signed(workspace: Workspace, version: str) -> None:
    """Check that a version's bundle is the registered one and that a trusted key signed it.

    Where the image is what serves, there must be one, signed and named by its digest. Elsewhere
    there may be none, but what the record says of one must hold.

    Raises:
        BundleError: The bundle is not.
        PlatformError: The image is not.
    """
    folder = workspace.bundle(version)
    bundle = read_bundle(folder, workspace.registry.digest(version))
    check_bundle(bundle.digest, bundle.signature, workspace.keys.trusted.check, str(folder))
    if workspace.runtime.kind == "kubernetes":
        workspace.pinned_image(version)
    elif IMAGE in workspace.registry.tags(version):
        workspace.image(version)
