"""What must be signed before it is released: the bundle, and the image that serves it."""

from __future__ import annotations

from setpoint.adapters.mlflow_registry import IMAGE
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.ledger import Entry
from setpoint.domain.signatures import check_bundle, entry_message
from setpoint.errors import BundleError
from setpoint.workspace import Workspace

STATED = ("accepted", "fallback_ready")
"""Kinds of the ledger entries that name the bundle of a version: its gates', or the rule's."""


def check_signed(workspace: Workspace, version: str) -> None:
    """Check that a version's bundle is its own, as registered, and that a trusted key signed it.

    A signature covers the bundle's manifest, which names its version. What the registry says is
    not signed: whole and signed, the bundle of one version is refused in the folder of another.

    Where the image is what serves, there must be one, signed and named by its digest. Elsewhere
    there may be none, but what the record says of one must hold.

    Raises:
        BundleError: The bundle is not.
        PlatformError: The image is not.
    """
    folder = workspace.bundle(version)
    bundle = read_bundle(folder, workspace.registry.digest(version))
    check_bundle(bundle.digest, bundle.signature, workspace.keys.trusted.check, str(folder))
    _check_own(workspace, version, bundle)
    if workspace.runtime.kind == "kubernetes":
        workspace.pinned_image(version)
    elif IMAGE in workspace.registry.tags(version):
        workspace.image(version)


def vouched_entry(workspace: Workspace, entry: Entry) -> bool:
    """Whether a key signed a ledger entry that is not revoked; the audit takes revoked ones too."""
    return workspace.keys.trusted.check(entry.key, entry_message(entry.digest), entry.signature)


def _check_own(workspace: Workspace, version: str, bundle: Bundle) -> None:
    """Refuse a bundle that is not the one that was made, and judged, as this version.

    Raises:
        BundleError: Its manifest names another version, or the ledger another digest.
    """
    if bundle.manifest.version != version:
        raise BundleError(
            f"the bundle of {version} was made as {bundle.manifest.version}: so its manifest says, "
            "and its signature holds for no other version",
            where=str(bundle.folder),
            fix=f"restore the bundle of {version} and its tag bundle_digest from a backup, or "
            "train again",
        )
    entries = workspace.state.ledger_about(f"{workspace.project.name}/{version}")
    stated = [one for one in entries if one.kind in STATED and "bundle" in one.evidence]
    if stated and stated[-1].evidence["bundle"] != bundle.digest:
        last = stated[-1]
        raise BundleError(
            f"the bundle of {version} is not the one of ledger entry {last.seq} ({last.kind}): "
            f"expected digest {last.evidence['bundle']}, found {bundle.digest}",
            where=str(bundle.folder),
            fix=f"restore the bundle of {version} and its tag bundle_digest from a backup, or "
            "train again",
        )
