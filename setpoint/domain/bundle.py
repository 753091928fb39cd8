"""The bundle: all that is deployed of a model version, as ONNX and JSON in one folder.

================== ==================================================================
``model.onnx``     inputs ``numbers`` float32 [N, k] and ``categories`` string [N, c]
                   (each left out when empty), output ``probabilities`` float [N, 2]
``features.json``  ``FeatureSpec``: the model's inputs in model order
``schema.json``    ``TableSpec``: the columns of a request (no label)
``decision.json``  ``DecisionSpec``: calibration, threshold, actions, reason codes
``profile.json``   the reference profile of the watch; not read here
``manifest.json``  ``Manifest``: where it came from and the digest of every file
``signature.json`` who signed the digest; bundles of before signatures lack it
================== ==================================================================

The bundle's digest is the SHA-256 of its canonical manifest, and so covers every byte but those of
its signature.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from setpoint.domain.bundle_parts import DecisionSpec, Knots, check_parts, request_table
from setpoint.domain.features import FeatureSpec
from setpoint.domain.plain import REWRITE, canonical_json, from_plain, parse_json, to_plain
from setpoint.domain.schema import TableSpec
from setpoint.domain.signatures import (
    SIGNATURE,
    Sign,
    Signature,
    bundle_message,
    read_signature,
    write_signature,
)
from setpoint.errors import BundleError

__all__ = [
    "FILES",
    "FORMAT",
    "MANIFEST",
    "MODEL",
    "Bundle",
    "DecisionSpec",
    "Knots",
    "Manifest",
    "SnapshotRef",
    "canonical_json",
    "check_parts",
    "from_plain",
    "read_bundle",
    "request_table",
    "to_plain",
    "write_bundle",
]

FORMAT = 1
MODEL = "model.onnx"
MANIFEST = "manifest.json"
FILES = ("decision.json", "features.json", MODEL, "profile.json", "schema.json")


@dataclass(frozen=True)
class SnapshotRef:
    """The training data: version and content digest."""

    version: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """Identity of a bundle: all that determined its bytes.

    Attributes:
        project: Name of the project.
        version: Model version.
        created_at: UTC, aware.
        snapshot: The training data.
        commit: Code commit.
        environment_digest: Digest of the locked environment.
        seeds: Random seeds by purpose.
        parameters: Model parameters; JSON values only.
        files: SHA-256 in hexadecimal, by file name.
        format: Version of this format.
    """

    project: str
    version: str
    created_at: datetime
    snapshot: SnapshotRef
    commit: str
    environment_digest: str
    seeds: dict[str, int]
    parameters: dict[str, Any]
    files: dict[str, str]
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """The bundle's digest: SHA-256 of the canonical manifest, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(to_plain(self), MANIFEST)).hexdigest()


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every byte was verified.

    Attributes:
        folder: Where it was read from.
        manifest: Its identity.
        digest: Digest of the manifest.
        model: The bytes of the ONNX model that were verified; load these, not the file.
        features: The model's inputs.
        table: The columns of a request.
        decision: Calibration, threshold, actions, reasons.
        profile: The reference profile, as stored.
        signature: Who signed it, not checked; ``None`` if nobody did.
    """

    folder: Path
    manifest: Manifest
    digest: str
    model: bytes
    features: FeatureSpec
    table: TableSpec
    decision: DecisionSpec
    profile: dict[str, Any]
    signature: Signature | None = None


def write_bundle(
    folder: Path,
    model: bytes,
    features: FeatureSpec,
    table: TableSpec,
    decision: DecisionSpec,
    profile: Mapping[str, Any],
    *,
    project: str,
    version: str,
    created_at: datetime,
    snapshot: SnapshotRef,
    commit: str,
    environment_digest: str,
    seeds: Mapping[str, int],
    parameters: Mapping[str, Any],
    sign: Sign | None = None,
) -> Manifest:
    """Write a bundle beside ``folder`` and rename it into place, so it is whole or absent.

    Writing the same bundle again changes nothing. The label column of ``table`` is left out.
    Signed with ``sign``, if that is given.

    Returns:
        The manifest; ``manifest.digest`` is the bundle's digest.

    Raises:
        BundleError: The parts contradict each other, cannot be written as JSON, or ``folder``
            holds something else.
    """
    table = request_table(table)
    check_parts(features, table, decision, created_at)
    contents = {
        "decision.json": canonical_json(to_plain(decision), "decision.json"),
        "features.json": canonical_json(to_plain(features), "features.json"),
        MODEL: model,
        "profile.json": canonical_json(dict(profile), "profile.json"),
        "schema.json": canonical_json(to_plain(table), "schema.json"),
    }
    manifest = Manifest(
        project=project,
        version=version,
        created_at=created_at.astimezone(UTC),
        snapshot=snapshot,
        commit=commit,
        environment_digest=environment_digest,
        seeds=dict(seeds),
        parameters=dict(parameters),
        files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    )
    contents[MANIFEST] = canonical_json(to_plain(manifest), MANIFEST)
    if sign is not None:
        contents[SIGNATURE] = write_signature(sign(bundle_message(manifest.digest)))
    _publish(folder, contents, manifest.digest)
    return manifest


def read_bundle(folder: Path, expect: str | None = None) -> Bundle:
    """Read a bundle and verify every byte of it.

    Args:
        folder: The bundle.
        expect: Digest that the bundle must have, e.g. from the registry; ``None`` for any.

    Raises:
        BundleError: A file is missing, extra or altered, the format is unknown, the digest is
            not the expected one, or the parts contradict each other.
    """
    contents = _read_files(folder)
    signed = contents.pop(SIGNATURE, None)
    manifest = _read_manifest(contents.pop(MANIFEST), folder)
    for name, data in sorted(contents.items()):
        found = hashlib.sha256(data).hexdigest()
        if found != manifest.files[name]:
            raise BundleError(
                f"{name} was altered: expected sha256 {manifest.files[name]}, found {found}",
                where=str(folder / name),
                fix=REWRITE,
            )
    if expect is not None and manifest.digest != expect:
        raise BundleError(
            f"manifest.json is another bundle's: expected digest {expect}, found {manifest.digest}",
            where=str(folder),
            fix=REWRITE,
        )
    bundle = Bundle(
        folder=folder,
        manifest=manifest,
        digest=manifest.digest,
        model=contents[MODEL],
        features=from_plain(
            FeatureSpec, parse_json(contents["features.json"], "features.json"), "features.json"
        ),
        table=from_plain(
            TableSpec, parse_json(contents["schema.json"], "schema.json"), "schema.json"
        ),
        decision=from_plain(
            DecisionSpec, parse_json(contents["decision.json"], "decision.json"), "decision.json"
        ),
        profile=from_plain(
            dict[str, Any], parse_json(contents["profile.json"], "profile.json"), "profile.json"
        ),
        signature=None if signed is None else read_signature(signed, str(folder)),
    )
    check_parts(bundle.features, bundle.table, bundle.decision, manifest.created_at)
    return bundle


def _publish(folder: Path, contents: Mapping[str, bytes], digest: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        found = read_bundle(folder).digest
        if found != digest:
            raise BundleError(
                f"another bundle is there: its digest is {found}, the new one's {digest}",
                where=str(folder),
                fix="write to a new folder; a bundle is never overwritten",
            )
        return
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name, data in contents.items():
            with (beside / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        beside.chmod(0o755)  # mkdtemp's 0700 would shut out the service's own user
        beside.rename(folder)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_files(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise BundleError("there is no bundle here", where=str(folder), fix="check the path")
    found = {path.name: path for path in folder.iterdir()}
    expected = {*FILES, MANIFEST}
    for name in sorted(expected ^ (found.keys() - {SIGNATURE})):
        what = "is missing" if name in expected else "does not belong to a bundle"
        raise BundleError(f"{name} {what}", where=str(folder), fix=REWRITE)
    for name, path in sorted(found.items()):
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{name} is not a regular file", where=str(folder), fix=REWRITE)
    return {name: path.read_bytes() for name, path in found.items()}


def _read_manifest(data: bytes, folder: Path) -> Manifest:
    plain = parse_json(data, MANIFEST)
    number = plain.get("format") if isinstance(plain, dict) else None
    if number != FORMAT:
        raise BundleError(
            f"manifest.json has format {number!r}, this program reads format {FORMAT}",
            where=str(folder),
            fix="use the program that the bundle was made for, or package the model again",
        )
    manifest = from_plain(Manifest, plain, MANIFEST)
    if set(manifest.files) != set(FILES):
        odd = sorted(set(manifest.files) ^ set(FILES))
        raise BundleError(
            f"manifest.json files differ from a bundle's: {odd}", where=str(folder), fix=REWRITE
        )
    return manifest
