"""A software bill of materials in CycloneDX, of a lock."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from setpoint.domain.locks import Locked
from setpoint.errors import StateError


def bill(name: str, version: str, lock: str, packages: Sequence[Locked], now: datetime) -> str:
    """A CycloneDX 1.6 document, JSON.

    One component a locked package, with its purl, its environment marker, and the SHA-256 of every
    file that may be installed for it as those of its distribution. Which package needs which is not
    in a lock: all are needed by the root. The serial number is that of the lock's content.

    Args:
        name: What is made of the packages.
        version: Its version.
        lock: The lock's text.
        packages: What it locks.
        now: When this is written, aware.

    Raises:
        StateError: The CycloneDX library is not installed.
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as err:
        raise StateError(
            "cyclonedx-python-lib is not installed",
            where="sbom",
            fix="install the locked environment: make setup",
        ) from err
    digest = hashlib.sha256(lock.encode()).hexdigest()
    root = Component(name=name, version=version, type=ComponentType.APPLICATION, bom_ref=name)
    bom = Bom(
        components=[_component(one) for one in packages],
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, digest),
        properties=[_property("setpoint:lock:sha256", digest)],
    )
    bom.metadata.component = root
    bom.metadata.timestamp = now
    bom.register_dependency(root, bom.components)
    return str(JsonV1Dot6(bom).output_as_string(indent=1))


def _component(one: Locked) -> Any:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashType, XsUri
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    purl = PackageURL("pypi", None, one.name, one.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(purl)),
        comment="one of these files",
        hashes=[HashType.from_composite_str(f"sha256:{digest}") for digest in one.hashes],
    )
    return Component(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        external_references=[files],
        properties=[_property("setpoint:marker", one.marker)] if one.marker else [],
    )


def _property(name: str, value: str) -> Any:
    from cyclonedx.model import Property

    return Property(name=name, value=value)
