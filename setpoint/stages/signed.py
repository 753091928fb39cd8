"""What counts as signed: a bundle and an image before release, and entries of the ledger."""

from __future__ import annotations

from typing import Literal

from setpoint.adapters.mlflow_registry import IMAGE
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.ledger import Entry, entry_digest
from setpoint.domain.ledger_audit import is_since
from setpoint.domain.signatures import check_bundle, entry_message
from setpoint.errors import BundleError
from setpoint.workspace import Workspace

STATED = ("accepted", "refused", "fallback_ready")
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
    own_bundle(workspace, version)
    if workspace.runtime.kind == "kubernetes":
        workspace.pinned_image(version)
    elif IMAGE in workspace.registry.tags(version):
        workspace.image(version)


def own_bundle(workspace: Workspace, version: str, *, past: bool = False) -> Bundle:
    """The bundle of a version, which a trusted key signed as this version's.

    Args:
        workspace: The project.
        version: The version.
        past: Whether it is told of rather than released: then a key counts that was revoked since,
            and a bundle of before signatures is held by the ledger alone.

    Raises:
        BundleError: It is gone, altered, not signed, or another version's.
    """
    folder = workspace.bundle(version)
    bundle = read_bundle(folder, workspace.registry.digest(version))
    keys = workspace.keys.known if past else workspace.keys.trusted
    if bundle.signature is not None or not past:
        check_bundle(bundle.digest, bundle.signature, keys.check, str(folder))
    _check_own(workspace, version, bundle)
    return bundle


EntryState = Literal["holds", "void", "altered"]


def entry_state(workspace: Workspace, entry: Entry) -> EntryState:
    """What an entry of the ledger is worth by itself, as the audit has it.

    Args:
        workspace: The project.
        entry: The entry; its content is held against its digest, too.

    Returns:
        ``holds``: a key signed it that was not void then, or it is older than all signatures;
        ``void``: a key signed it that was; ``altered``: nobody who is known signed what it says.
    """
    if not _whole(entry):
        return "altered"
    if not entry.key and not entry.signature:
        first = workspace.state.first_signed()
        return "holds" if first is not None and entry.seq < first else "altered"
    if not workspace.keys.known.check(entry.key, entry_message(entry.digest), entry.signature):
        return "altered"
    since = workspace.state.revoked_keys().get(entry.key)
    return "void" if since is not None and is_since(entry.time, since) else "holds"


def vouched_entry(workspace: Workspace, entry: Entry) -> bool:
    """Whether a ledger entry says what a key signed that is trusted at present."""
    message = entry_message(entry.digest)
    return _whole(entry) and workspace.keys.trusted.check(entry.key, message, entry.signature)


def _whole(entry: Entry) -> bool:
    content = (entry.seq, entry.time, entry.kind, entry.subject, entry.evidence, entry.previous)
    try:
        return entry_digest(*content) == entry.digest
    except (TypeError, ValueError):  # evidence that is no strict JSON: nobody wrote it so
        return False


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
    stated = [one for one in entries if one.kind in STATED and "bundle" in one.evidence
              and entry_state(workspace, one) == "holds"]  # fmt: skip
    if stated and stated[-1].evidence["bundle"] != bundle.digest:
        last = stated[-1]
        raise BundleError(
            f"the bundle of {version} is not the one of ledger entry {last.seq} ({last.kind}): "
            f"expected digest {last.evidence['bundle']}, found {bundle.digest}",
            where=str(bundle.folder),
            fix=f"restore the bundle of {version} and its tag bundle_digest from a backup, or "
            "train again",
        )
